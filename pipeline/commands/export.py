"""`retort export`: a model as a folder that llama.cpp, ollama or vLLM loads."""

import argparse
from pathlib import Path

from pipeline.contract.errors import CommandError
from pipeline.store.model_reference import model_of
from rewards.lazy import lazy
from rewards.registry import did_you_mean

with lazy:
    from pipeline.exports.formats import FORMATS, export

FOLDER = Path("exports")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="RUN:STAGE such as runs/quickstart:student, an artifact, a folder, a .gguf file "
                                      "or a hub id")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="gguf, ollama, vllm, fp8 or mxfp4")
    parser.add_argument("--type", metavar="TYPE",
                        help="what weights are stored in: F32, F16, BF16 or Q8_0 of gguf and ollama (default: as they "
                             "were saved), bfloat16, float16 or float32 of vllm (default: bfloat16)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to (default: exports/NAME-FORMAT)")


def main(args: argparse.Namespace) -> int:
    if args.to not in FORMATS:
        hint = did_you_mean(args.to, FORMATS) or f"; there are {', '.join(FORMATS)}"
        raise CommandError(f"--to: there is no format {args.to!r}{hint}")
    place, name = model_of(args.model)
    if not name.strip("."):  # `.` and `..` are called as the folders that they are
        name = Path(place).resolve().name
    out = args.out or FOLDER / f"{name}-{args.to}"
    for note in export(place, name, args.to, args.type, out):
        print(note)
    print(f"{out}: README.md there says how it is loaded")
    return 0
