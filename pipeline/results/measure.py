"""What `retort eval` does: a model asked problem sets, with everything written down that is needed to do it again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # figures of a report, as JSON

from eval.answers import Source, read_rows, rollouts
from eval.choosing import Chooser
from eval.errors import ServerError, Unanswered
from eval.protocol import Protocol, sha256_of
from eval.report import reduce
from eval.rollouts import rollouts_file
from eval.scaling import curve, efforts
from eval.ways import Way
from pipeline.contract.errors import CommandError, RunError
from pipeline.disk import durable
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.disk.locks import Held, Lock, describe
from pipeline.run.versions import versions
from rewards.types import Problem

HEADER = "evaluation.json"
Progress = Callable[[str], Callable[[int, int], None] | None]


@dataclass(frozen=True)
class Asked:
    """One problem set, what it is called in the report, and how it is asked.

    `best_by` is a rule to choose among rollouts by, with its name; `of` is the set where `name` is one of the ways to
    ask it: with efforts, with thinking budgets, or with both. `tools_sha256` is a hash of the tools that it is asked
    with, where it has some.
    """

    name: str
    problems: Sequence[Problem]
    protocol: Protocol
    source: Source
    best_by: tuple[str, Chooser] | None = None
    of: str = ""
    tools_sha256: str | None = None

    @property
    def way(self) -> Way:
        """The effort and the thinking budget that it is asked with."""
        return self.protocol.prompting.effort, self.protocol.prompting.thinking_budget

    def described(self) -> JsonObject:
        told = self.protocol.describe(self.problems, self.source.prompts(self.problems))
        tools = {"tools_sha256": self.tools_sha256} if self.tools_sha256 else {}
        return {**told, "best_by": self.best_by[0] if self.best_by else None, **tools}


@dataclass(frozen=True)
class Measured:
    """The model's name in the report, and what is known of it: its hash or its server, its parameters."""

    label: str
    facts: JsonMapping


def measure(
    model: Measured, sets: Sequence[Asked], out: Path | None, folder: Path, progress: Progress
) -> tuple[Path, JsonObject]:
    """(the folder, the report). In the folder: report.json, one file of rollouts a set, and evaluation.json, which says
    what is measured and how before anything is asked.

    With `out` None it is a folder under `folder` that is named after all of this, so that the same evaluation finds
    what it has. Raises CommandError where the folder holds another evaluation, and RunError where another process is at
    work on it or a server left rollouts unanswered.
    """
    header = {
        "model": {"name": model.label, **model.facts},
        "protocol": {one.name: one.described() for one in sets},
        "versions": versions(),
    }
    out = out or folder / f"{model.label}-{sha256_of(header)[:10]}"
    try:
        # Two jobs of one command have one folder: both would ask everything, and each take the other's files away.
        lock = Lock(out / "lock")
    except Held as error:
        raise RunError(f"{out}: {describe(error.holder)} is at work on this evaluation; wait for it, or give another "
                       "--out") from error
    with lock:
        _claim(out, header)
        return out, _measured(model, sets, out, header, progress)


def _measured(
    model: Measured, sets: Sequence[Asked], out: Path, header: JsonMapping, progress: Progress
) -> JsonObject:
    """The report, which is written beside the rollouts."""
    rows = {one.name: _rows(out, model.label, one, progress) for one in sets}
    problems = {name: reduce(found) for name, found in rows.items()}
    curves = {name: curve(found) for name, found in rows.items() if problems[name]["rollouts"] > 1}
    by_way: dict[str, dict[Way, Any]] = {}
    for one in sets:
        if one.of:
            by_way.setdefault(one.of, {})[one.way] = problems[one.name]
    parameters = {key: value for key, value in model.facts.items() if key == "parameters"}
    about = {key: value for key, value in model.facts.items() if key != "parameters"}
    measured = {
        **parameters, "problems": problems, "model": about, "protocol": header["protocol"], "curves": curves,
        **({"efforts": {name: efforts(found) for name, found in by_way.items()}} if by_way else {}),
    }
    report = {"models": {model.label: measured}, "versions": header["versions"]}
    durable.write_json(out / "report.json", report)
    return report


def _claim(out: Path, header: JsonMapping) -> None:
    """Make the folder this evaluation's, or see that it is."""
    file = out / HEADER
    wanted = json.loads(json.dumps(header))
    if file.is_file():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CommandError(
                f"{file} cannot be read; remove it and the rollouts beside it, or give another --out"
            ) from error
        if found != wanted:
            raise CommandError(f"{out} holds another evaluation ({_difference(found, wanted)}); give another --out")
        return
    if any(out.glob("*.jsonl*")):
        raise CommandError(f"{out} holds rollouts and no {HEADER} that tells how they were made; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    durable.write_json(file, wanted)


def _difference(found: object, wanted: object, where: str = "") -> str:
    """The first place where two JSON values differ, and how."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*found, *wanted]:
            if found.get(key) != wanted.get(key):
                return _difference(found.get(key), wanted.get(key), f"{where}.{key}" if where else str(key))
    return f"{where} {json.dumps(found)[:40]}, not {json.dumps(wanted)[:40]}"


def _rows(out: Path, label: str, one: Asked, progress: Progress) -> list[JsonObject]:
    file = out / rollouts_file(label, one.name)
    n = one.protocol.rollouts
    try:
        return rollouts(one.source, one.problems, n, file, progress(one.name),
                        one.best_by[1] if one.best_by else None)
    except ServerError as error:
        raise CommandError(f"{label} on {one.name}: {error}; what was answered before is kept in {out}") from error
    except Unanswered as error:
        have = len(read_rows(file.with_name(f"{file.name}.partial")))
        raise RunError(
            f"{label} on {one.name}: {len(one.problems) * n - have} of {len(one.problems) * n} rollouts were not "
            f"answered (at last: "
            f"{error}); the others are kept in {out}, and the same command asks only for the rest"
        ) from error
