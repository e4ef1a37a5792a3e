"""`retort experts`: what the experts of a model do with texts of different domains."""

import argparse
import json
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from eval.language_model import Tokenizer
from pipeline.contract.dataset import records
from pipeline.contract.errors import CommandError, StageError
from pipeline.data.chat import Conversation
from pipeline.data.rows import Document, document, rows
from pipeline.disk.durable import JsonObject
from pipeline.store.model_reference import RUNS, model_of
from pipeline.store.run_folder import RunFolder, find_run
from rewards.lazy import lazy

with lazy:
    from pipeline.models import pretrained
    from pipeline.moe.analysis import analyse



def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="RUN:STAGE such as runs/quickstart:zero, a folder or a hub id")
    parser.add_argument("texts", nargs="+", metavar="TEXTS",
                        help="a domain each: a .jsonl of texts or prompts and completions, a .txt with a text a line, "
                             "or RUN:STAGE of a dataset")
    parser.add_argument("--most", type=int, default=256, metavar="N", help="texts of each domain (default 256)")
    parser.add_argument(
        "--length", type=int, default=1024, metavar="N", help="tokens of each text that are read (default 1024)"
    )
    parser.add_argument(
        "--capacity", type=float, default=1.25, metavar="FACTOR",
        help="capacity factor for what would be dropped (default 1.25)"
    )
    parser.add_argument("--json", action="store_true", help="everything as JSON")


def main(args: argparse.Namespace) -> int:
    if min(args.most, args.length) < 1 or not 0 < args.capacity < math.inf:
        raise CommandError("--most and --length must be at least 1, and --capacity a number above 0")
    folder, label = model_of(args.model)
    named = _named(args.texts)
    try:
        model, tokenizer = pretrained.load(folder)
        domains = {name: _ids(tokenizer, path, args.most, args.length) for name, path in named.items()}
        layers = analyse(model, domains, args.capacity)
    except StageError as error:
        raise CommandError(f"retort experts: {error}") from error
    if not layers:
        raise CommandError(f"retort experts: {label} is a dense model: it has no experts")
    tokens = {name: sum(map(len, texts)) for name, texts in domains.items()}
    print(
        json.dumps(
            {"model": label, "tokens": tokens, "layers": layers}, indent=2
        ) if args.json else as_text(label, tokens, layers)
    )
    return 0


def _named(texts: Sequence[str]) -> dict[str, Path]:
    """What is meant by each domain, by a short name; by what was written where short names are equal. Raises
    CommandError."""
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise CommandError(f"{twice} is given twice; each domain is given once")
    found = [_domain(text) for text in texts]
    short = [name for name, _ in found]
    names = short if len(set(short)) == len(short) else texts
    return {name: path for name, (_, path) in zip(names, found, strict=True)}


def _domain(text: str) -> tuple[str, Path]:
    """(name, path) of what is meant by a domain."""
    path = Path(text)
    if path.exists():
        return path.stem, path
    run, _, stage = text.rpartition(":")
    artifact = RunFolder(find_run(run, RUNS)).artifacts().get(stage) if run else None
    if artifact is None or not (artifact.path / "data.jsonl").is_file():
        raise CommandError(
            f"there is no text at {text!r}; give a .jsonl or .txt file, or RUN:STAGE of a dataset "
            f"(runs/quickstart:traces)"
        )
    return stage, artifact.path


def _ids(tokenizer: Tokenizer, path: Path, most: int, length: int) -> list[list[int]]:
    if path.suffix == ".txt":
        try:
            # Not splitlines, which also ends a text at a form feed or at U+2028.
            lines = path.read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise CommandError(f"{path}: is no text in UTF-8 (byte {error.start:,})") from error
        found: list[Document | Conversation] = [Document(None, line) for line in lines if line.strip()]
    else:
        found = [document(record) for record in islice(records(path), most)]
    ids = [row["input_ids"][:length] for row in rows(tokenizer, found[:most])]
    if not any(ids):
        raise CommandError(f"{path}: has no texts")
    return ids


def as_text(label: str, tokens: dict[str, int], layers: list[JsonObject]) -> str:
    """A block of lines a layer."""
    read = ", ".join(f"{name} {count:,} tokens" for name, count in tokens.items())
    return "\n\n".join([f"{label}: {read}", *(_layer(layer) for layer in layers)])


def _layer(layer: JsonObject) -> str:
    told, repeats = layer["token_decides"], layer["repeats"]
    width = max(map(len, layer["load"]))
    loads = [
        f"    {domain:<{width}}  {' '.join(f'{value:5.2f}' for value in load)}"
        for domain, load in layer["load"].items()
    ]
    return "\n".join([
        f"layer {layer['layer']}, {layer['top_k']} of {layer['experts']} experts a token",
        "  load of each expert over an even one",
        *loads,
        f"  the token alone tells its first expert {_share(told['share'])} of the time ({_share(told['without'])} "
        f"without knowing the token)",
        f"  consecutive tokens share the first expert {_share(repeats['first'])} of the time (chance "
        f"{repeats['first_by_chance']:.0%}), "
        f"any {_share(repeats['any'])} ({repeats['any_by_chance']:.0%})",
        f"  beyond capacity, by quarter of the text: {', '.join(f'{share:.1%}' for share in layer['dropped'])}",
    ])


def _share(value: float | None) -> str:
    return "?%" if value is None else f"{value:.0%}"
