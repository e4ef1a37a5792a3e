"""The picture in the README: every model's scores in a run, as `retort report --html` draws them.

    .venv/bin/python benchmarks/picture.py runs/quickstart benchmarks/results.png
"""

import sys
from pathlib import Path

from pipeline.results.page import drawing, scores
from pipeline.results.report import report_of, shared
from pipeline.store.run_folder import RunFolder


def main(run: str, file: str) -> None:
    models = report_of(RunFolder(Path(run)))["models"]
    in_order = {name: models[name] for name in RunFolder(Path(run)).artifacts() if name in models}
    Path(file).write_bytes(drawing.as_png(scores.side_by_side(in_order, shared(models))))


if __name__ == "__main__":
    main(*sys.argv[1:])
