"""recipes/FIELDS.md: every field of recipes and stages as Markdown tables."""

from collections.abc import Iterable, Mapping

from pipeline.authoring import fields
from pipeline.authoring.fields import Field, Section
from pipeline.contract.stage import Stage

_BEGIN = """\
# Fields of recipes

Every field of a recipe and of the stages that come along: what it holds, what is taken where it is left out, and what
it does. Fields that have to be written come first. A *section* has fields itself, which are in a table of their own;
`--set` names them with a dot, as in `--set zero.optimizer.weight_decay=0.1`. [README.md](README.md) explains how fields
belong together, with examples.

`make fields` writes this file. `retort list stages KIND` prints the same of one kind, also of a stage of your own
(`retort list stages my_stage.py:MyStage`), and `retort list recipe` the top level. Editors that know JSON Schema
complete and check all of it while a recipe is typed: see [schema.json](schema.json).
"""


def of_stages(stages: Mapping[str, type[Stage]]) -> str:
    """The whole file, for stages by their kind."""
    parts = [_BEGIN, "## The recipe\n", *map(_with_heading, fields.of_recipe()), "## Stages\n"]
    inner: dict[str, tuple[Section, list[str]]] = {}
    for kind, stage in stages.items():
        own, *others = fields.sections(stage, kind)
        summary = " ".join((stage.__doc__ or "").partition("\n\n")[0].split())
        parts.append(f"### `{kind}`\n\n{summary} It makes a {stage.makes}.\n\n{_table(own.fields)}")
        for section in others:
            inner.setdefault(section.model, (section, []))[1].append(kind)
    parts.append("## Sections\n")
    for section, kinds in inner.values():
        parts.append(f"### `{section.name}` of {_listed(kinds)}\n\n{_table(section.fields)}")
    return "\n".join(parts)


def _with_heading(section: Section) -> str:
    table = _table(section.fields)
    return table if section.name == "recipe" else f"### `{section.name}` of a recipe\n\n{table}"


def _table(rows: Iterable[Field]) -> str:
    lines = ["| field | holds | default | what it does |", "|---|---|---|---|"]
    for row in rows:
        default = row.default if row.in_words else f"`{_cell(row.default)}`"
        lines.append(f"| `{row.name}` | {_cell(row.holds)} | {default} | {_cell(row.told)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _listed(kinds: Iterable[str]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds)
