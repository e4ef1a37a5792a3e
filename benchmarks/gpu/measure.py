"""Everything worth knowing of one GPU, part by part, as JSON: each figure is written when it is there, so that what was
measured before the time was over, or before something failed, is kept.

python benchmarks/gpu/measure.py OUT [--tiny] [--parts agreement ..]
"""

import argparse
import json
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agreement
import sizes
import speed
import stages
import torch

PARTS = ("agreement", "resumed", "trained", "memory", "drawn")
"""What is worth most comes first."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--tiny", action="store_true", help="on the processor, with sizes that say nothing")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="which (default: all)")
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        parser.error("torch sees no GPU here; --tiny tries the script on the processor")
    chosen = sizes.of_processor() if args.tiny else sizes.of_gpu()
    parts: dict[str, Callable[[Path], Any]] = {
        "agreement": lambda _: agreement.measure(chosen),
        "resumed": lambda folder: stages.resumed(folder, chosen),
        "trained": lambda _: speed.trained(chosen),
        "memory": lambda folder: stages.memory(folder, chosen),
        "drawn": lambda _: speed.drawn(chosen),
    }
    found: dict[str, Any] = {"device": "processor" if args.tiny else torch.cuda.get_device_name(), "seconds": {}}
    failed = 0
    for name in args.parts:
        began = time.monotonic()
        found[name] = {}
        try:
            with tempfile.TemporaryDirectory() as folder:
                made = parts[name](Path(folder))
                for key, figure in made.items() if isinstance(made, dict) else made:
                    found[name][key] = figure
                    _write(args.out, found)
        except Exception as error:  # the parts after it are worth as much
            traceback.print_exc()
            found[name]["failed"], failed = f"{type(error).__name__}: {error}", 1
        found["seconds"][name] = round(time.monotonic() - began, 1)
        _write(args.out, found)
        print(name, json.dumps(found[name]), flush=True)
    return failed


def _write(out: Path, found: dict[str, Any]) -> None:
    out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
