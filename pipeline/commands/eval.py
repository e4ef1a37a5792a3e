"""`retort eval`: a model asked problem sets, graded and counted, outside of any recipe; resumable."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eval.answers import Local
from eval.choosing import CONFIDENCE, chooser, compares
from eval.effort import OPTIONS, with_effort_for_server
from eval.engine import engine_for
from eval.engine.types import Sampling
from eval.errors import ProblemSetError, PromptError, ServerError
from eval.language_model import Tokenizer
from eval.problems import load, set_names
from eval.problems.data_folder import use_data_folder
from eval.prompts import encode_prompts, ended, settled
from eval.protocol import Prompting, Protocol, Shot
from eval.server import Server
from eval.shots import shots_of
from eval.suites import SUITES
from eval.ways import budgets_of, called, ways
from pipeline.commands import prompt_flags, tool_flags
from pipeline.contract.errors import CommandError, StageError
from pipeline.contract.room import beyond
from pipeline.contract.tools import having_tools
from pipeline.disk.durable import JsonObject
from pipeline.store.model_reference import model_of
from rewards.lazy import lazy
from rewards.registry import RegistryError, did_you_mean
from rewards.rules import RULES
from rewards.terminal import one_line, raw

with lazy:
    from eval.scaling import efforts_table, lines
    from eval.table import table
    from pipeline.models import pretrained
    from pipeline.results.measure import Asked, Measured, measure
    from pipeline.results.report import efforts_of
    from pipeline.training.placement import own_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eval.answers import Source
    from eval.choosing import Chooser
    from eval.protocol import Protocol
    from eval.suites import Suite
    from pipeline.results.measure import Asked, Measured

_DEFAULTS: JsonObject = {
    "rollouts": 1, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "max_tokens": 64
}
_OF_SERVERS: JsonObject = {"jobs": 8, "timeout": 600.0, "tries": 5}
FOLDER = Path("evals")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a folder that transformers loads, an artifact, RUN:STAGE, or a hub id; with "
                                      "--server "
                                      "the server's name for it")
    parser.add_argument("--problems", nargs="+", default=[], metavar="SET:SPLIT", help="such as gsm8k:test")
    parser.add_argument("--suite", help="sets that belong together, with their own defaults: r1")
    parser.add_argument("--n", type=int, default=None, help="problems of each set (default: all of them)")
    parser.add_argument("--rollouts", type=int, help="completions a problem (default: 1)")
    parser.add_argument("--temperature", type=float, help="0 is greedy (default: 1)")
    parser.add_argument(
        "--top-p", type=float, help="draw from the likeliest tokens of so much probability (default: 1)"
    )
    parser.add_argument("--top-k", type=int, help="draw from so many of the likeliest tokens (default: 0, all of them)")
    parser.add_argument(
        "--min-p", type=float, help="draw from tokens with this share of the likeliest one's probability (default: 0)"
    )
    parser.add_argument("--max-tokens", type=int, help="longest completion (default: 64)")
    prompt_flags.add(parser)
    tool_flags.add(parser)
    parser.add_argument("--shots", type=int, default=0, help="worked examples from the set's train split (default: 0)")
    parser.add_argument("--thinking-budget", type=int, metavar="TOKENS", help="close the thinking after so many tokens")
    parser.add_argument("--effort", type=prompt_flags.efforts, default=[], metavar="LOW,..",
                        help="ask everything with each of these efforts, such as low,medium,high")
    parser.add_argument("--budgets", type=prompt_flags.budgets, default=[], metavar="TOKENS,..",
                        help="ask everything freely, then with thinking closed after each of these, such as 8,16,24")
    parser.add_argument(
        "--best-by", metavar="RULE", help="what chooses the best of k rollouts: a reward rule, or confidence, the mean "
                                          "log-probability"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("auto", "plain"), default="auto", help="plain: transformers' own cache")
    parser.add_argument(
        "--server", metavar="URL", help="ask an OpenAI-compatible server, such as http://localhost:8000/v1"
    )
    parser.add_argument("--jobs", type=int, help="requests to the server at once (default: 8)")
    parser.add_argument(
        "--timeout", type=float, help="seconds for one answer of the server (default: 600)"
    )
    parser.add_argument(
        "--tries", type=int, help="how often the server is asked for one answer (default: 5)"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=None,
                        help="what the weights are in (default: as they were saved)")
    parser.add_argument("--data", type=Path, default=None, help="folder of benchmark files (default: $RETORT_DATA)")
    parser.add_argument("--out", type=Path, default=None,
                        help="folder for the report and the rollouts (default: one under evals/, named after all of "
                             "this)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def main(args: argparse.Namespace) -> int:
    suite = _settle(args)
    # The model is looked for before problems are, so that a name that leads nowhere is what is told.
    place = None if args.server else model_of(args.model)
    sets = _sets(args, suite)
    model, asked = _loaded(args, sets, *place) if place else _served(args, sets)
    out, report = measure(model, asked, args.out, FOLDER, _progress)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print(table(report["models"]))
        for model in report["models"].values():
            for name, points in model["curves"].items():
                print("", *lines(name, points), sep="\n")
        if asked_with := efforts_of(report["models"]):
            print(f"\n{efforts_table(asked_with)}")
        print(f"\nreport and rollouts: {out}")
    return 0


def _settle(args: argparse.Namespace) -> "Suite | None":
    """Fill in what was not given, from the suite first, and check what was."""
    suite = None
    if args.suite is not None:
        if args.suite not in SUITES:
            raise CommandError(f"there is no suite {args.suite!r}{did_you_mean(args.suite, SUITES)}")
        suite = SUITES[args.suite]
    if not args.problems and suite is None:
        raise CommandError(
            "say what to ask: --problems gsm8k:test, or --suite r1; retort list problems tells what there is"
        )
    of_servers = [f"--{option}" for option in _OF_SERVERS if getattr(args, option) is not None]
    if of_servers and not args.server:
        raise CommandError(f"{' and '.join(of_servers)}: only with --server; leave them out")
    for option, value in {**_DEFAULTS, **_OF_SERVERS, **(suite.options if suite else {})}.items():
        if getattr(args, option) is None:
            setattr(args, option, value)
    least = {"rollouts": 1, "max_tokens": 1, "temperature": 0, "top_k": 0, "shots": 0, "jobs": 1, "tries": 1}
    for option, bound in least.items():
        if not bound <= getattr(args, option) < math.inf:  # nan neither
            raise CommandError(f"--{option.replace('_', '-')} must be at least {bound}, not {getattr(args, option)}")
    if not 0 < args.timeout < math.inf:
        raise CommandError(f"--timeout must be a number of seconds above 0, not {args.timeout}")
    if not 0 < args.top_p <= 1:
        raise CommandError(f"--top-p must lie above 0 and at most 1, not {args.top_p}")
    if not 0 <= args.min_p < 1:
        raise CommandError(f"--min-p must be at least 0 and below 1, not {args.min_p}")
    if args.server and (args.dtype or args.engine != "auto"):
        raise CommandError("--dtype and --engine are of a model in this process; a server has its own: leave them out")
    _settle_ways(args)
    tool_flags.require_usable(args)
    return suite


def _settle_ways(args: argparse.Namespace) -> None:
    """Raises CommandError where efforts and budgets do not go together with what is asked besides."""
    alone = args.thinking_budget
    if alone is not None and alone < 1:
        raise CommandError(f"--thinking-budget must be at least 1, not {alone}")
    if args.budgets and alone:
        raise CommandError("--budgets asks freely and with each budget, and --thinking-budget with one; leave one out")
    if (longest := max([*args.budgets, alone or 0])) >= args.max_tokens:
        raise CommandError(f"a thinking budget of {longest} leaves nothing of --max-tokens {args.max_tokens} for the "
                           "answer")
    if args.effort and (taken := sorted({key for key, _ in args.template_option} & set(OPTIONS))):
        raise CommandError(f"--effort sets the template's option {taken[0]} itself; leave one of them out")


def _sets(args: argparse.Namespace, suite: "Suite | None") -> JsonObject:
    try:
        if args.data is not None:
            use_data_folder(args.data)
        references = dict.fromkeys([*(suite.problems if suite else ()), *args.problems])
        return {reference: load(reference, args.n, args.seed) for reference in references}
    except (ProblemSetError, RegistryError) as error:
        raise CommandError(str(error)) from error


def _asked(
    args: argparse.Namespace, sets: JsonObject, settle: "Callable[[Prompting], Prompting]",
    source_of: "Callable[[Protocol], Source]",
) -> "list[Asked]":
    """Everything that is to be asked: each set, with each effort and thinking budget."""
    names, found, best_by = set_names(sets), [], _best_by(args)
    compared, tools = bool(args.budgets), tool_flags.sha256(args)
    for reference in sets:
        try:
            shots = shots_of(reference, args.shots)
        except ProblemSetError as error:
            raise CommandError(str(error)) from error
        for way in ways(args.effort, budgets_of(args.thinking_budget, args.budgets)):
            effort, budget = way
            name = called(names[reference], way, compared=compared)
            prompting = _prompting(args, shots, budget).asking(effort)
            sampling = Sampling(args.max_tokens, args.temperature, args.top_p, args.top_k, args.min_p)
            protocol = Protocol(settle(prompting), sampling, args.rollouts, args.seed)
            of = names[reference] if args.effort or compared else ""
            found.append(Asked(name, sets[reference], protocol, source_of(protocol), best_by, of, tools))
    return found


def _prompting(args: argparse.Namespace, shots: "Sequence[Shot]" = (), budget: int | None = None) -> Prompting:
    return having_tools(prompt_flags.prompting(args, shots, budget), tool_flags.tools(args), tool_flags.HERE)


def _best_by(args: argparse.Namespace) -> "tuple[str, Chooser] | None":
    name, server = args.best_by, args.server
    if name is None:
        return None
    if name == CONFIDENCE and server:
        raise CommandError("--best-by: confidence is known of models in this process; name a rule")
    try:
        chosen, at_once = chooser(name), compares(name)
    except ValueError as error:
        raise CommandError(f"--best-by: {str(error).removeprefix('best_by: ')}") from error
    if args.rollouts == 1:
        raise CommandError("--best-by chooses among the rollouts of a problem, and there is one; give --rollouts")
    if at_once and server:
        raise CommandError(f"--best-by: {name} compares the rollouts of a problem, and a server's come one by one; "
                           "name a rule that looks at one alone")
    if name == CONFIDENCE or (entry := RULES.resolve(name)).origin == "built-in":
        return name, chosen
    # With the hash an edited rule of one's own is another evaluation.
    return f"{name} {entry.source_hash()[:10]}", chosen


def _loaded(
    args: argparse.Namespace, sets: JsonObject, place: Path | str, label: str
) -> "tuple[Measured, list[Asked]]":
    try:
        model, tokenizer = pretrained.load(place, args.dtype)
    except StageError as error:
        raise CommandError(str(error)) from error
    if args.template == "chat" and tokenizer.chat_template is None:
        raise CommandError(f"{args.model} has no chat template; leave --template out, or give r1 or qa")
    try:
        settled(tokenizer, _prompting(args).asking(args.effort[0] if args.effort else None))
    except PromptError as error:
        raise CommandError(str(error)) from error
    device = own_device()
    engine = engine_for(model.to(device), tokenizer, args.engine)
    context = pretrained.context_length(model)
    asked = _asked(args, sets, lambda how: ended(settled(tokenizer, how)),
                   lambda protocol: Local(engine, tokenizer, protocol, context))
    _tell_what_does_not_fit(asked, tokenizer, pretrained.trained_context(model), args.max_tokens)
    facts = {
        "sha256": pretrained.sha256(place), "engine": type(engine).__name__, "parameters": pretrained.parameters(model),
        **({"dtype": args.dtype} if args.dtype else {}), **({"device": device.type} if device.type != "cpu" else {}),
    }
    return Measured(label, facts), asked


def _tell_what_does_not_fit(asked: "list[Asked]", tokenizer: Tokenizer, context: int | None, completion: int) -> None:
    """A line on standard error for each set whose prompts and answers are longer than the model was made for. They are
    asked all the same: how a model does beyond its context may be what is to be measured."""
    for one in asked:
        count, longest = beyond(encode_prompts(tokenizer, one.problems, one.protocol.prompting), completion, context)
        if count:
            print(
                f"{one.name}: {count:,} of {len(one.problems):,} prompts, the longest of {longest:,} tokens, and "
                f"answers of up to {completion:,} do not fit in the model's context of {context:,}; lower --max-tokens",
                file=sys.stderr,
            )


def _served(args: argparse.Namespace, sets: JsonObject) -> "tuple[Measured, list[Asked]]":
    args.template = "chat" if args.template == "auto" else args.template
    if args.template != "chat" and args.template_option:
        raise CommandError(f"--template-option is for a chat template, and --template is {args.template}")
    if args.template != "chat" and args.effort:
        raise CommandError("a server is told of an effort by reasoning_effort, which goes with chats; leave --template "
                           "or --effort out")
    try:
        asked = _asked(
            args, sets, with_effort_for_server,
            lambda protocol: Server(args.server, args.model, protocol, args.jobs, args.timeout, args.tries),
        )
    except ServerError as error:
        raise CommandError(str(error)) from error
    return Measured(args.model.rstrip("/").rpartition("/")[2], {"server": args.server, "at_server": args.model}), asked


def _progress(name: str) -> "_Line | None":
    return _Line(name) if sys.stderr.isatty() else None


class _Line:
    """One line on standard error that counts rollouts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, done: int, total: int) -> None:
        end = "\n" if done >= total else ""
        # The carriage return is ours, so it goes around what would escape it.
        line = f"\r{one_line(self.name)}: {done} of {total} rollouts"
        print(line, end=end, file=raw(sys.stderr), flush=True)
