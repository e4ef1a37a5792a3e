"""Every field of every shipped recipe, changed for the worse one at a time: `retort plan` ends with one line that has
the line's number and exit code 2, or the value is one that a run works with."""

import contextlib
import copy
import io
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.commands import cli
from pipeline.recipe import inputs, recipe

Where = tuple[str | int, ...]

HUGE = 10**11
SLOW = 5.0  # seconds

TEXTS = ("system", "instruction")  # what a model is told, in anybody's words
OPEN = ("stop", "template_options")  # what a model's template knows, which is not at hand
ALLOWED = {
    "a fraction more": {
        # rates, shares, weights and rotary factors that are as good as the ones written
        "learning_rate", "adam_learning_rate", "format", "language", "correct", "initializer_range", "short", "epochs",
        "routed_scaling_factor", "rope_theta", "mscale", "mscale_all_dim", "factor", "beta_slow", "beta_fast",
        "gate_at_least", "probe_at_least", "words", "needles", "lists", "foreign", "facts", "corrected",
        "weight_decay", "warmup", "floor", "temperature",
    },
    "negated": {"format", "language"},  # a rule may punish
    "huge": {"rope_theta"},
    "null": {"rope_parameters", "num_key_value_heads", "q_lora_rank", "scaling", "problems_each", "learning_rate",
             "adam_learning_rate", "tokenizer", "limit", "betas", "shape", "warmup", "floor", "dtype", "accelerate",
             "micro_batch_tokens", "max_length", "data", *TEXTS},
    "empty": {"rules", "reward", "prompt", "rope_parameters", "corpus", "lessons", "reports", "models", "optimizer",
              "schedule", *TEXTS},
    # the hub has every repository here; a vLLM need not be where a plan is made
    "misspelt": {"name", "model", "student", "data", "url", "python", *TEXTS},
    "long": {"python", *TEXTS},
    "a path": {"python", *TEXTS},
    # a stage that no other reads may have another name
    "misspelt key": {"score", "length", "after", "gsm8k", "needles_128k"},
}
"""The last keys of fields with which a spoilt recipe may pass: what they hold then is what a run works with. That this
is so of architectures, test_architecture.py shows by training them."""

INPUTS = ("model", "data", "student", "traces", "models", "reports")


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that has every repository."""
    monkeypatch.setattr(inputs, "resolve_hub", lambda _: "0" * 40)


def document(name: str) -> Any:
    return yaml.safe_load(recipe.shipped()[name].read_text())


def fields(block: Any, above: Where = ()) -> Iterator[tuple[Where, Any]]:
    """Every key and every item of a list, from the outside in."""
    pairs = block.items() if isinstance(block, dict) else enumerate(block) if isinstance(block, list) else ()
    for key, value in pairs:
        yield (*above, key), value
        yield from fields(value, (*above, key))


def changes(key: str | int, value: Any) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Ways to spoil a block at `key`, each with what it is called."""

    def put(new: Any) -> Callable[[Any], None]:
        return lambda block: block.__setitem__(key, new)

    if isinstance(key, str):
        def misspell(block: Any) -> None:
            items = [(key[:-1] + key[-1] * 2 + "q" if k == key else k, v) for k, v in block.items()]
            block.clear()
            block.update(items)

        yield "misspelt key", misspell
    yield "null", put(None)
    if isinstance(value, bool):
        yield from (("a number", put(2)), ("text", put("perhaps")), ("a list", put([value])))
    elif isinstance(value, int | float):
        yield from (
            ("negated", put(-value if value else -1)), ("huge", put(HUGE)), ("huge and negative", put(-HUGE)),
            ("infinite", put(float("inf"))), ("no number", put(float("nan"))), ("beyond 64 bits", put(10**30)),
            ("true", put(True)), ("in quotes", put(f"{value:.8f}")), ("text", put("many")), ("a list", put([value])),
            ("a block", put({"a": value})), ("a fraction more", put(value + 0.5)),
        )
    elif isinstance(value, str):
        yield from (
            ("misspelt", put(value[:-1] + value[-1] * 2 + "q")), ("a number", put(7)), ("empty", put("")),
            ("long", put("x" * 5000)), ("a list", put([value])), ("true", put(True)), ("a block", put({value: 1})),
            ("a path", put("../" * 40 + "etc/shadow")),
        )
    elif isinstance(value, list):
        yield from (
            ("empty", put([])), ("a number", put(3)), ("text", put("x")), ("a block", put({"a": 1})),
            ("nested", put([value])), ("with null", put([*value, None])),
        )
    elif isinstance(value, dict):
        yield from (
            ("empty", put({})), ("a number", put(3)), ("text", put("x")), ("a list", put([value])),
            ("with another key", put({**value, "anotherr": 1})),
        )


def needed(stages: dict[str, Any], name: str) -> set[str]:
    """A stage and all that it reads from."""
    read = [stages[name].get(key, []) for key in INPUTS]
    above = [one for value in read for one in (value if isinstance(value, list) else [value]) if one in stages]
    return {name}.union(*(needed(stages, one) for one in above))


def cases(*, alike: bool) -> Iterator[tuple[str, Where, str, Any]]:
    """(recipe, field, change, the spoilt recipe). Unless `alike`, a change is made once for each field of a kind of
    stage, of which every third is tried, and what the stage does not need is left out of the recipe, which is then read
    in a third of the time."""
    seen = set()
    for name in recipe.shipped():
        whole = document(name)
        for where, value in fields(whole):
            if any(part in OPEN for part in where):
                continue
            inside = len(where) > 2
            stage = whole["stages"][where[1]] if inside else {}
            for told, change in changes(where[-1], value):
                names = tuple(part for part in where if isinstance(part, str))
                key = (stage.get("kind"), names[2:], told) if inside else (name, where, told)
                if not alike and key in seen:
                    continue
                seen.add(key)
                if not alike and len(seen) % 3:
                    continue
                spoilt = copy.deepcopy(whole)
                if inside and not alike:
                    kept = needed(whole["stages"], str(where[1]))
                    spoilt["stages"] = {one: block for one, block in spoilt["stages"].items() if one in kept}
                block = spoilt
                for part in where[:-1]:
                    block = block[part]
                change(block)
                yield name, where, told, spoilt


def plan(folder: Path, spoilt: Any) -> tuple[int, list[str], float]:
    """The exit code, the lines of the complaint, and the seconds that it took."""
    file = folder / "spoilt.yaml"
    recipes = recipe.shipped()["own_model"].parent
    if not (folder / "accelerate").exists():  # what lies beside a recipe that names it
        for rows in recipes.glob("*.jsonl"):
            shutil.copy(rows, folder)
        shutil.copytree(recipes / "accelerate", folder / "accelerate")
    # Numbers as YAML 1.2 has them, a field a line, so that lines mean something.
    file.write_text(yaml.safe_dump(spoilt, sort_keys=False, allow_unicode=True, width=10_000))
    said = io.StringIO()
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = cli.main(["plan", str(file), "--runs", str(folder / "runs")])
    return code, said.getvalue().splitlines(), time.monotonic() - began


def verdict(folder: Path, spoilt: Any) -> str:
    """ "passes", "refused", or what is wrong with the answer."""
    try:
        code, lines, seconds = plan(folder, spoilt)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if seconds > SLOW:
        return f"took {seconds:.1f} s"
    if code == 0:
        return "passes" if not lines else f"exit 0 and {lines}"
    if code != 2:
        return f"exit {code}: {lines}"
    if not lines or any(not re.match(r".*spoilt\.yaml:\d+: .", line) for line in lines):
        return f"not told with a line: {lines[:3]}"
    if any(len(line) > 600 for line in lines):
        return f"a line of {max(map(len, lines))} characters"
    return "refused"


@pytest.mark.parametrize("alike", [False, pytest.param(True, marks=pytest.mark.faults)], ids=["each once", "all"])
def test_every_field_of_every_recipe_spoilt(tmp_path: Path, alike: bool) -> None:
    wrong, tried = [], 0
    for name, where, told, spoilt in cases(alike=alike):
        tried += 1
        expected = ("passes", "refused") if where[-1] in ALLOWED.get(told, ()) else ("refused",)
        found = verdict(tmp_path, spoilt)
        if found not in expected:
            wrong.append(f"{name} {'.'.join(map(str, where))} {told}: {found[:300]}")
    assert wrong == []
    assert tried > 1000


@pytest.mark.parametrize("name", recipe.shipped())
def test_the_recipes_themselves_pass(tmp_path: Path, name: str) -> None:
    assert verdict(tmp_path, document(name)) == "passes"


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    spoilt = document("quickstart")
    spoilt["seed"] = -1
    spoilt["stages"]["base"]["architecture"]["n_routed_expert"] = 8
    spoilt["stages"]["base"]["lessons"][1]["corpus"]["behaviours"] = {"corect": 1.0}
    spoilt["stages"]["zero"]["learning_rate"] = float("inf")
    spoilt["stages"]["zero"]["problems"] = ["programs:trian", "word_problems:train"]
    spoilt["stages"]["r1"]["reward"]["rules"] = {"fromat": 0.2}
    spoilt["stages"]["score"]["problems_each"] = 10**9
    code, lines, _ = plan(tmp_path, spoilt)
    assert code == 2
    told = [re.sub(r".*spoilt\.yaml:\d+: ", "", line) for line in lines]
    assert sorted(line.partition(":")[0] for line in told) == [
        "base.architecture.n_routed_expert", "base.lessons.1.corpus.behaviours.corect", "r1.reward.rules.fromat",
        "score.problems_each", "seed", "zero.learning_rate",
    ]


KEYS = (
    "seed=", "name=", "leaks=", "checkpoints=", "sandbox_at_least=", "checkpoints.every_steps=", "zero.steps=", "zero.",
    "zero.problems.0=", "zero.reward.rules=", "base.corpus.facts=", "base.corpus.facts.0=", "stages=", "=", "",
    "zero.model=", "base.architecture.rope_parameters.rope_type=",
)
VALUES = (
    "", "-1", ".nan", "1e999", "[1", "{a: 1}", "~nobody/x", "'", "&a [*a]", "\0", "x" * 5000, "[" * 99, "!!x 1"
)


def test_bad_values_of_sets_are_one_line(tmp_path: Path) -> None:
    wrong = []
    for override in (f"{key}{value}" for key in KEYS for value in VALUES):
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = cli.main(["plan", "smoke", "--runs", str(tmp_path), "--set", override])
        lines = said.getvalue().splitlines()
        one = code == 2 and len(lines) == 1 and lines[0].startswith("--set ")
        if not one and override not in PASSING:
            wrong.append((override[:60], code, lines))
    assert wrong == []


PASSING = {"checkpoints.every_steps="}
"""Nothing is null, which this field takes."""

BOMBS = {
    "aliases": "a0: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
    ),
    "deep": "stages: " + "[" * 5000,
    "deep blocks": "".join(" " * i + "a:\n" for i in range(400)),
    "a chain of aliases": "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 900)),
    "long": "# " + "x" * 10**6,
    "no text": "\0\1\2",
    "questions": "? " * 20_000,
    "quotes": "a: '" + "''" * 40_000,
    "keys": "{" + ", ".join(f"k{i}: {i}" for i in range(9000)) + "}",
    "a list": "- kind: pretrain\n",
    "stages as a list": "stages:\n  - base: {kind: pretrain}\n",
    "stages as text": "stages: base\n",
    "a stage as a list": "stages:\n  base:\n    - kind: pretrain\n",
    "a number for a kind": "stages:\n  base: {kind: 3}\n",
    "home of nobody": "accelerate: ~nobody-at-all/x\nstages:\n  base: {kind: sft, model: ~nobody-at-all/x, data: x}\n",
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_text_is_refused_in_one_line_each(tmp_path: Path, name: str) -> None:
    file = tmp_path / "spoilt.yaml"
    file.write_text(BOMBS[name])
    said = io.StringIO()
    began = time.monotonic()
    with contextlib.redirect_stderr(said):
        assert cli.main(["plan", str(file)]) == 2
    assert time.monotonic() - began < SLOW
    lines = said.getvalue().splitlines()
    assert lines
    assert all(re.match(r".*spoilt\.yaml:\d+: .{5,400}$", line) for line in lines), lines
