"""YAML -> wired, validated stages. Everything that can be wrong with a recipe is said here, before any work."""

import hashlib
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from eval.errors import ProblemSetError, ToolError
from eval.problems import require_held
from pipeline.contract import fields
from pipeline.contract.checkpoints import CheckpointSchedule
from pipeline.contract.dataset import drops_bad_rows
from pipeline.contract.errors import RecipeError
from pipeline.contract.fields import ArtifactType, Input
from pipeline.contract.stage import Stage, stage_seed
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.recipe import inputs, overrides, strict_yaml, trust
from pipeline.recipe.asked import AskedError, Contents, asked_by
from pipeline.recipe.complaints import Complaint, dotted, of_numbers, of_types, of_validation
from pipeline.recipe.header import CHANGES_NOTHING, Header
from pipeline.recipe.path_inputs import require_usable
from pipeline.recipe.plugins import PlugInUse, registry_of, require_tools, resolve_plug_in
from pipeline.recipe.shrink import budgets
from pipeline.recipe.shrink.stand_in import stand_in
from rewards import plugin_files
from rewards.lazy import lazy
from rewards.registry import Entry, RegistryError, did_you_mean
from rewards.sandbox.levels import Level
from rewards.sandbox.pool import sandbox
from rewards.sandbox.processes import SandboxError

with lazy:
    import recipes



@dataclass(frozen=True)
class Step:
    """One stage of a recipe: its name there, its config, and what its inputs and plug-ins lead to."""

    name: str
    kind: str
    entry: Entry[type[Stage]]
    config: Stage
    written: JsonMapping
    place: str
    """Where it stands: "recipe.yaml:12"."""
    sources: Mapping[str, inputs.Source] = field(default_factory=dict)
    plug_ins: Sequence[PlugInUse] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    """What the problem sets that it asks hold, as hashes by reference; of made ones their plug-in says enough."""

    @property
    def needs(self) -> list[str]:
        """Names of the stages that this one reads from."""
        return [source.reference for source in self.sources.values() if source.origin == "stage"]


@dataclass(frozen=True)
class Recipe:
    """A recipe as it will be run. `folder` is where its relative paths start, and `start` where those of its overrides
    do."""

    name: str
    seed: int
    parallel: int
    accelerate: Path | None
    steps: Mapping[str, Step]
    file: str
    folder: Path
    overrides: tuple[str, ...] = ()
    start: Path = Path()
    sandbox_at_least: Level = Level.L1
    checkpoints: CheckpointSchedule = field(default_factory=CheckpointSchedule)
    leaks: Literal["stop", "tell"] = "stop"
    shrink: bool = False
    report_to: tuple[str, ...] = ()

    @property
    def run_name(self) -> str:
        """Name of its run where none is given: overridden recipes live beside the plain one. Names that cannot say all
        that was overridden end in its hash."""
        changing = [one for one in self.overrides if overrides.is_of_setting(one, self.steps) not in CHANGES_NOTHING]
        if self.shrink and "shrink=true" not in changing:  # as the file says
            changing.append("shrink=true")
        suffix = "".join(f"-{override}" for override in changing)
        # One relative path is another file in another folder, and a run of another file is another run.
        full = "".join(f"-{overrides.said_in_full(override, self.start)}" for override in changing)
        said = self.name + suffix
        safe = "".join(c if (c.isascii() and c.isalnum()) or c in "._=,+-" else "_" for c in said)
        if safe == said and full == suffix and len(safe) <= 100:
            return safe
        return f"{safe[:80]}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def read(reference: str, sets: Sequence[str] = (), *, resolve_hub: Callable[[inputs.Source], str] = inputs.resolve_hub,
         start: Path = Path()) -> Recipe:
    """The recipe that a path or a shipped name leads to, with `sets` applied, whose relative paths start from `start`.
    Raises RecipeError."""
    file = locate(reference)
    try:
        document = strict_yaml.read_file(file)
    except strict_yaml.YamlError as error:
        raise RecipeError(f"{file}:{error.line}: {error}") from error
    except OSError as error:
        raise RecipeError(f"{file}: cannot be read ({error.strerror})") from error
    if not isinstance(document.data, dict):
        raise RecipeError(f"{file}:1: a recipe is a block of keys: name, seed, stages")
    document.data.setdefault("name", file.stem)
    start = start.resolve()
    overrides.apply(document, sets, start)
    if document.data.get("shrink") is True:
        budgets.cut(document.data, file.resolve().parent)
        overrides.apply(document, sets, start)  # what was asked for goes before what is cut
    return replace(_Reading(document, file.resolve().parent, tuple(sets)).recipe(resolve_hub), start=start)


def read_again(written: JsonMapping) -> Recipe:
    """The recipe of a run by its recipe.json (see `as_dict`), as the recipe's file is now. Runs no code that is not
    trusted: the run may be anyone's. Raises RecipeError."""
    with plugin_files.running_only(trust.is_trusted):
        # Of a run that does not say where its overrides were typed it can only be here.
        return read(written["file"], written["overrides"], start=Path(written.get("overrides_from", "")))


def shipped() -> dict[str, Path]:
    """Recipes that come with Retort, by name."""
    files = Path(next(iter(recipes.__path__))).glob("*.yaml")
    return {file.stem: file for file in sorted(files)}


def locate(reference: str) -> Path:
    """The file of a recipe that is named by its path or, for a shipped one, by its name. Raises RecipeError."""
    path = Path(reference).expanduser()
    if path.is_file():
        return path
    known = shipped()
    if reference in known:
        return known[reference]
    if path.is_dir():
        raise RecipeError(f"{reference}: is a folder; give the recipe's file")
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        there = path.parent.glob("*.y*ml") if path.parent.is_dir() else []
        raise RecipeError(f"{reference}: there is no such file{did_you_mean(path.name, [p.name for p in there])}")
    raise RecipeError(f"{reference}: there is no recipe of that name{did_you_mean(reference, known)}")


LONGEST = 400  # characters of a complaint


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


class _Reading:
    """One pass over a document, gathering every complaint rather than the first alone."""

    def __init__(self, document: strict_yaml.Document, folder: Path, sets: tuple[str, ...]) -> None:
        self.document, self.folder, self.sets = document, folder, sets
        self.complaints: dict[tuple[Hashable, ...], str] = {}
        self._contents = Contents(folder)

    def recipe(self, resolve_hub: Callable[[inputs.Source], str]) -> Recipe:
        self._add(of_numbers(self.document.data))
        header = self._header()
        accelerate = self._accelerate(header.accelerate) if header else None
        sandbox_at_least = self._sandbox(Level[header.sandbox_at_least]) if header else Level.L1
        steps: dict[str, Step] = {}
        made: dict[str, ArtifactType | None] = {}
        for name, block in header.stages.items() if header else self._readable_stages():
            step = self._step(name, block, made)
            # A stage that is wrong itself is no reason to complain of those that read from it.
            made[name] = step.config.makes if step else None
            if step:
                steps[name] = step
        if header and not self.complaints:
            for step in steps.values():
                self._require_tools(step)
            steps = {name: self._with_problems(step, header.seed) for name, step in steps.items()}
        if not self.complaints:
            # The hub is asked last, and only about a recipe that is right in everything else.
            steps = {name: self._with_commits(step, resolve_hub) for name, step in steps.items()}
        if self.complaints or header is None:
            raise RecipeError([self._line(where, message) for where, message in self.complaints.items()])
        return Recipe(header.name, header.seed, header.parallel, accelerate, steps, self.document.file, self.folder,
                      self.sets, sandbox_at_least=sandbox_at_least, checkpoints=header.checkpoints,
                      leaks=header.leaks, shrink=header.shrink, report_to=tuple(dict.fromkeys(header.report_to)))

    def _header(self) -> Header | None:
        try:
            header = Header.model_validate(self.document.data)
        except ValidationError as error:
            self._add(of_validation(error, Header, self.document, ()))
            return None
        self._add(of_types(self.document.data, header))
        return header

    def _readable_stages(self) -> Iterable[tuple[str, JsonObject]]:
        """The stages of a recipe whose top level is wrong, so that what is wrong with them is told with it."""
        stages = self.document.data.get("stages")
        found = stages.items() if isinstance(stages, dict) else []
        return [(name, block) for name, block in found
                if isinstance(block, dict) and ("stages", name) not in self.complaints]

    def _add(self, complaints: Iterable[Complaint]) -> None:
        """One complaint is enough for each place: the first says what is wrong there."""
        for where, message in complaints:
            self.complaints.setdefault(where, message)

    def _complain(self, where: Sequence[Hashable], message: object) -> None:
        self._add([(tuple(where), str(message))])

    def _line(self, where: Sequence[Hashable], message: str) -> str:
        shown = dotted(where)
        if len(message) > LONGEST:  # it repeats what was written
            message = f"{message[: LONGEST // 2]}[..]{message[-LONGEST // 2 :]}"
        return f"{self.document.place(where)}: {shown + ': ' if shown else ''}{message}"

    def _accelerate(self, reference: str | None) -> Path | None:
        if reference is None:
            return None
        path = self.folder / reference
        try:
            path = self.folder / Path(reference).expanduser()
            if not path.is_file():
                self._complain(("accelerate",), f"there is no file {str(path)!r}; make one with `accelerate config`")
            elif "distributed_type" not in (strict_yaml.read_file(path).data or ()):
                self._complain(("accelerate",), f"{path} is no accelerate config; make one with `accelerate config`")
        except strict_yaml.YamlError as error:
            self._complain(("accelerate",), f"{path}:{error.line}: {error}")
        except (OSError, RuntimeError) as error:
            self._complain(("accelerate",), f"cannot be looked for ({_reason(error)})")
            return None
        return path.resolve()

    def _sandbox(self, level: Level) -> Level:
        if level > Level.L1:  # which there always is

            try:
                report = sandbox.report()
                if report.level < level:
                    self._complain(
                        ("sandbox_at_least",), f"here it is {report.line}; see `retort doctor`, or set it lower"
                    )
            except SandboxError as error:
                self._complain(("sandbox_at_least",), error)
        return level

    def _step(self, name: str, block: JsonMapping, made: Mapping[str, ArtifactType | None]) -> Step | None:
        where = ("stages", name)
        kind = block.get("kind")
        if kind is None:
            self._complain(where, "has no kind; write kind: pretrain or another of `retort list stages`")
            return None
        try:
            entry = registry_of("stage").resolve(kind, base=self.folder)
            stage = entry.load()
        except RegistryError as error:
            self._complain((*where, "kind"), error)
            return None
        if not (isinstance(stage, type) and issubclass(stage, Stage)):
            self._complain(
                (*where, "kind"), f"{kind!r} is not a Stage (a class derived from pipeline.contract.stage.Stage)"
            )
            return None
        if inspect.isabstract(stage):
            self._complain((*where, "kind"), f"{kind!r} has no `run` method")
            return None
        fields = {key: value for key, value in block.items() if key != "kind"}
        try:
            config = stage.model_validate(fields, context={"base": self.folder})
        except ValidationError as error:
            self._add(of_validation(error, stage, self.document, where, also_known=("kind",)))
            return None
        self._add(((*where, *inner), message) for inner, message in of_types(fields, config))
        step = Step(name, kind, entry, config, fields, self.document.place(where))
        return self._wired(step, made)

    def _wired(self, step: Step, made: Mapping[str, ArtifactType | None]) -> Step:
        later = {name: self.document.place(("stages", name)) for name in self.document.data["stages"]
                 if name not in made}
        sources: dict[str, inputs.Source] = {}
        uses: list[PlugInUse] = []
        for mark, text, where in fields.marked(step.config):
            try:
                if isinstance(mark, Input):
                    source = inputs.find(text, mark.type, earlier=made, later=later, folder=self.folder)
                    if self.document.data.get("shrink") is True:
                        source = stand_in(source)
                    sources[text] = source
                    # A plug-in may have formats of its own; what it trains on is searched for test problems.
                    if step.entry.origin == "built-in" or (source.type, step.config.makes) == ("dataset", "model"):
                        require_usable(source, drop=drops_bad_rows(step.config))
                else:
                    uses.append(resolve_plug_in(mark.kind, text, self.folder))
            except (inputs.InputError, RegistryError) as error:
                self._complain(("stages", step.name, *where), error)
            except (OSError, RuntimeError) as error:  # a name too long, a loop of links, the home of nobody ("~x/y")
                self._complain(("stages", step.name, *where), f"cannot be looked for ({_reason(error)})")
        self._require_asked(step)
        return replace(step, sources=sources, plug_ins=tuple(dict.fromkeys(uses)))

    def _require_tools(self, step: Step) -> None:
        try:
            require_tools(step.config, self.folder)
        except (ToolError, RegistryError) as error:
            self._complain(("stages", step.name), error)

    def _require_asked(self, step: Step) -> None:
        """Complain of problem sets that have no such split, or too few problems, as far as that is known of the set;
        `_with_problems` reads those that are at hand."""
        sets = [text for mark, text, _ in fields.marked(step.config) if mark == fields.PlugIn("problem set")]
        try:
            asked = asked_by(step.config, 0)
            wanted = {**dict.fromkeys(sets), **{one.reference: one.n for one in asked}}
        except AskedError as error:
            self._complain(("stages", step.name), error)
            return
        for reference, n in wanted.items():
            try:
                require_held(reference, n, base=self.folder)
            except (ProblemSetError, RegistryError) as error:
                self._complain(self._place_of(step, reference), error)

    def _with_problems(self, step: Step, seed: int) -> Step:
        found: dict[str, str] = {}
        reference = ""
        try:
            for asked in asked_by(step.config, stage_seed(seed, step.name)):
                reference = asked.reference
                held = self._contents.of(asked)
                if held:
                    found[reference] = held
        except AskedError as error:
            self._complain(self._place_of(step, reference), error)
        return replace(step, problems=found)

    def _with_commits(self, step: Step, resolve_hub: Callable[[inputs.Source], str]) -> Step:
        sources = dict(step.sources)
        for reference, source in step.sources.items():
            if source.origin != "hub":
                continue
            try:
                sources[reference] = replace(source, commit=resolve_hub(source))
            except inputs.InputError as error:
                self._complain(self._place_of(step, reference), error)
        return replace(step, sources=sources)

    def _place_of(self, step: Step, reference: str) -> tuple[Hashable, ...]:
        where = next((where for _, text, where in fields.marked(step.config) if text == reference), ())
        return ("stages", step.name, *where)


def as_dict(recipe: Recipe) -> JsonObject:
    """The recipe with every default written out, for recipe.json."""
    return {
        "name": recipe.name, "file": str(Path(recipe.file).resolve()), "overrides": list(recipe.overrides),
        "overrides_from": str(recipe.start),
        "seed": recipe.seed, "parallel": recipe.parallel,
        "accelerate": str(recipe.accelerate) if recipe.accelerate else None,
        "sandbox_at_least": recipe.sandbox_at_least.name, "checkpoints": recipe.checkpoints.model_dump(),
        "leaks": recipe.leaks, "report_to": list(recipe.report_to),
        "stages": {name: {"kind": step.kind, **step.config.model_dump(mode="json")}
                   for name, step in recipe.steps.items()},
    }
