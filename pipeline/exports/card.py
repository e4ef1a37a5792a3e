"""The card of an exported model, README.md beside its weights: how it is loaded, what it scored, what it came from."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.table import with_interval
from pipeline.disk.durable import JsonMapping
from pipeline.exports.origins import Origins
from rewards.lazy import lazy

with lazy:
    from huggingface_hub import ModelCardData

_MEASURED = ("rollouts", "temperature", "top_p", "max_completion_tokens", "template")


@dataclass(frozen=True)
class Card:
    """What is said of an exported model. `facts` are of the model, `loading` is Markdown, `notes` are what a person
    should know before using it."""

    name: str
    form: str
    facts: Mapping[str, str]
    loading: str
    origins: Origins
    notes: Sequence[str] = field(default_factory=tuple)

    def write(self, folder: Path) -> None:
        (folder / "README.md").write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        sections = [f"---\n{self._header()}\n---\n\n# {self.name}, as {self.form}", self.loading]
        sections += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        sections.append(_table(["", ""], [[name, value] for name, value in self.facts.items()]))
        if self.origins.scores:
            sections += ["## Scores", "Of the model as it was trained, before this export; in brackets 95% intervals.",
                         *_scores(self.origins.scores)]
        if self.origins.stages:
            sections += ["## Lineage", *_lineage(self.origins)]
        sections += ["## Licence", self._licence()]
        return "\n\n".join(sections) + "\n"

    def _header(self) -> str:
        """The part that the Hugging Face Hub reads."""
        data = ModelCardData(
            license=self.origins.licence, base_model=self.origins.hub_base, tags=["retort"],
            pipeline_tag="text-generation",
        )
        return str(data.to_yaml())

    def _licence(self) -> str:
        if self.origins.licence:
            return f"The base is under {self.origins.licence}, as its own card says."
        if self.origins.from_scratch:
            return "The model was made from random numbers by Retort; whoever made it says under which licence it is."
        return "The licence of the base is not known here. Find it before the model is passed on."


def _scores(measured: JsonMapping) -> Iterator[str]:
    rows, how = [], set()
    for problems, numbers in measured["problems"].items():
        many = f"pass@{numbers['rollouts']}"
        cells = [_score(numbers, name) for name in ("pass@1", many)]
        rows.append([problems, f"{numbers['n']:,}", *cells, f"{numbers['mean_length']:.1f}"])
        protocol = measured["protocol"].get(problems, {})
        how.add(", ".join(f"{name} {protocol[name]}" for name in _MEASURED if name in protocol))
    yield _table(["problems", "asked", "pass@1", "pass@rollouts", "tokens"], rows)
    yield "\n".join(f"Measured with {said}." for said in sorted(how) if said)


def _score(numbers: JsonMapping, name: str) -> str:
    rate, bounds = numbers.get(name), numbers.get(f"{name}_ci95")
    return "-" if rate is None or bounds is None else with_interval(rate, bounds)


def _lineage(origins: Origins) -> Iterator[str]:
    rows = [[stage.name, stage.kind, ", ".join(stage.sources) or "nothing", f"{stage.seconds:,.0f}", stage.fingerprint]
            for stage in origins.stages]
    yield _table(["stage", "kind", "made of", "seconds", "fingerprint"], rows)
    last = origins.stages[-1]
    yield f"The recipe's section of `{last.name}`, with every field that it left to its default:"
    yield f"```json\n{json.dumps(last.config, indent=2)}\n```"
    yield "Made with " + ", ".join(f"{name} {version}" for name, version in last.versions.items()) + "."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
