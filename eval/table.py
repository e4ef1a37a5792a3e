"""Report numbers as an aligned text table: one row a model, a group of columns for each problem set."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # figures of a report, as JSON

from eval.report import mean_of_sets

GAP = "   "
NOTHING = "-"
_PASS_AT_MANY = re.compile(r"pass@(?!1$)\d+")


@dataclass(frozen=True)
class _Group:
    """A title over a few columns; `cells[i][j]` is row i's text in column j, the header in row 0."""

    title: str
    cells: list[list[str]]

    @property
    def widths(self) -> list[int]:
        return [max(len(row[j]) for row in self.cells) for j in range(len(self.cells[0]))]

    @property
    def width(self) -> int:
        return max(len(self.title), sum(self.widths) + 2 * (len(self.widths) - 1))

    def line(self, i: int, left: bool = False) -> str:
        cells = zip(self.cells[i], self.widths, strict=True)
        text = "  ".join(cell.ljust(width) if left else cell.rjust(width) for cell, width in cells)
        return text.ljust(self.width)


def table(models: Mapping[str, Mapping[str, Any]], width: int = 100) -> str:
    """The table of `{model: {"parameters": .., "problems": {set: numbers}}}`, numbers as from
    `eval.report.reduce`.

    Rates are in percent, with the 95% interval in brackets; `cut` is the share of rollouts that their token budget
    ended. Where all the groups do not fit into `width` characters they continue below, with the models' names again.
    The mean is over the sets that every model was measured on, whatever "mean" a model brings. Ungradable rollouts are
    told in a line underneath.
    """
    columns = [model["problems"] for model in models.values()]
    sets = list(dict.fromkeys(name for column in columns for name in column))
    # Means are comparable only over sets that every model was measured on.
    common = [name for name in sets if all(name in column for column in columns)]
    rows = [[name, _size(model.get("parameters"))] for name, model in models.items()]
    names = _Group("", [["model", "size"], *rows])
    groups = [_set_group(name, [column.get(name) for column in columns]) for name in sets]
    shared = [{name: column[name] for name in common} for column in columns]
    means = [mean_of_sets(own) for own in shared]
    # Of sets that were asked with several efforts or budgets a mean would be one of ways of asking.
    has_mean = len(common) > 1 and not any(model.get("efforts") for model in models.values())
    if has_mean:
        groups.insert(0, _mean_group(means))
    lines: list[str] = []
    for chosen in _fitting(groups, width - names.width):
        lines += [""] if lines else []
        titles = [group.title.ljust(group.width) for group in chosen]
        lines.append(GAP.join([" " * names.width, *titles]).rstrip())
        for i in range(len(models) + 1):
            lines.append(GAP.join([names.line(i, left=True), *(group.line(i) for group in chosen)]).rstrip())
    over = dict.fromkeys(" + ".join(mean["sets"]) for mean in means if mean) if has_mean else {}
    return "\n".join([*lines, *(f"mean: {sets}" for sets in over), *_notes(models)])


def _fitting(groups: Sequence[_Group], room: int) -> Iterable[list[_Group]]:
    chosen: list[_Group] = []
    for group in groups:
        if chosen and sum(len(GAP) + g.width for g in [*chosen, group]) > room:
            yield chosen
            chosen = []
        chosen.append(group)
    if chosen:
        yield chosen


def _set_group(name: str, column: Sequence[Mapping[str, Any] | None]) -> _Group:
    measured = [numbers for numbers in column if numbers]
    many = list(dict.fromkeys(numbers["rollouts"] for numbers in measured))
    amounts = sorted({f"{numbers['n']} x {numbers['rollouts']}" for numbers in measured})
    ks = [k for k in many if k > 1]
    # Ways to choose one of several stand beside each other where one of them was asked for.
    chosen = [f"{way}@{k}" for k in ks for way in ("maj", "best") if any(f"best@{k}" in one for one in measured)]
    lenient = ["flexible"] if any("flexible" in numbers for numbers in measured) else []
    header = ["pass@1", *lenient, *(f"@{k}" for k in ks), *chosen, "readable", "tokens", "cut"]
    rows = [
        [NOTHING] * len(header) if numbers is None else [
            _score(numbers),
            *(_percent(numbers.get(key)) for key in lenient),
            *(_percent(numbers.get(f"pass@{k}")) for k in ks),
            *(_percent(numbers.get(key)) for key in chosen),
            _percent(numbers["readable"]),
            f"{numbers['mean_length']:.0f}",
            _percent(numbers.get("unfinished"), digits=0),
        ]
        for numbers in column
    ]
    return _Group(f"{name} ({', '.join(amounts)})", [header, *rows])


def _mean_group(means: Sequence[Mapping[str, Any] | None]) -> _Group:
    """pass@1 and pass@K of each model's mean, None where it has none."""
    given = [mean for mean in means if mean]
    ks = list(dict.fromkeys(key for mean in given for key in mean if _PASS_AT_MANY.fullmatch(key)))
    rows = [[_score(mean), *(_percent(mean.get(key)) for key in ks)] if mean else [NOTHING] * (1 + len(ks))
            for mean in means]
    return _Group("mean", [["pass@1", *(key.removeprefix("pass") for key in ks)], *rows])


def _notes(models: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for model, measured in models.items():
        for name, numbers in measured["problems"].items():
            if numbers["ungradable"]:
                share = _percent(numbers["ungradable"])
                yield f"{model} on {name}: {share}% of the rollouts could not be graded and are in no score"
    yield from _told(models)


def _told(models: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """What models were told besides the questions: a line for each text, with the sets in which they were."""
    where: dict[str, dict[str, None]] = {}
    for measured in models.values():
        for name, protocol in (measured.get("protocol") or {}).items():
            instruction, system = protocol.get("instruction"), protocol.get("system")
            texts = instruction.values() if isinstance(instruction, Mapping) else [instruction]
            for text in [*texts, *([f"system: {system}"] if system else [])]:
                if text:
                    where.setdefault(str(text), {})[name] = None
    for text, sets in where.items():
        yield f"told on {', '.join(sets)}: {' '.join(text.split())}"


def _score(numbers: Mapping[str, Any]) -> str:
    mean = numbers["pass@1"]
    if mean is None:
        return NOTHING
    return with_interval(mean, numbers["pass@1_ci95"])


def with_interval(rate: float, bounds: Sequence[float]) -> str:
    """`62.0 (60.5-63.4)`, in percent. The two sides of an interval of shares differ, and near 0 and 100 by much."""
    low, high = bounds
    return f"{100 * rate:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def _percent(rate: float | None, digits: int = 1) -> str:
    return NOTHING if rate is None else f"{100 * rate:.{digits}f}"


def _size(parameters: int | None) -> str:
    """1234567 -> "1.2M"."""
    if parameters is None:
        return ""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.{1 if parameters < 100 * unit else 0}f}{name}"
    return str(parameters)
