"""A recipe's stages on a device: what each takes of memory and time, and what it costs."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pipeline.contract.errors import StageError
from pipeline.contract.work import Drawn, Trained, Work
from pipeline.costs import hours, memory
from pipeline.costs.assumptions import Assumptions
from pipeline.costs.devices import Device
from pipeline.costs.hours import NONE, Effort
from pipeline.costs.lengths import Rows, asked_of, rows_of
from pipeline.costs.lineage import Lineage
from pipeline.costs.memory import Drawing, Memory, Setting, Training
from pipeline.costs.shape import Shape, module_of, shape_of
from pipeline.costs.sharing import ALONE, sharing_of
from pipeline.recipe.recipe import Recipe, Step


@dataclass(frozen=True)
class Estimate:
    """Of one stage. `phases` are its moments of most memory, by what is done in them; `said` is why there are no
    numbers. `trainings` are what could be changed where they do not fit, each in its `setting`."""

    step: Step
    setting: Setting
    shape: Shape | None = None
    effort: Effort = NONE
    phases: dict[str, Memory] = field(default_factory=dict)
    trainings: tuple[Training, ...] = ()
    said: str = ""

    @property
    def largest(self) -> Memory | None:
        """The phase that takes most."""
        return max(self.phases.values(), key=lambda one: one.peak, default=None)

    @property
    def fits(self) -> bool:
        return self.largest is None or self.largest.peak <= self.setting.device.memory

    @property
    def hours(self) -> float:
        return self.effort.seconds / 3600


def estimates(recipe: Recipe, device: Device, assumed: Assumptions) -> Iterator[Estimate]:
    """Of each stage, in the recipe's order."""
    lineage = Lineage(recipe, assumed)
    shared = sharing_of(recipe.accelerate)
    for step in recipe.steps.values():
        setting = Setting(device, shared if step.config.distributed else ALONE, assumed)
        work = step.config.work()
        if work is None:
            yield Estimate(step, setting, said=f"not known: {step.kind} does not say what it computes")
            continue
        try:
            yield _Stage(lineage, step, setting, work).estimate()
        except StageError as error:
            yield Estimate(step, setting, said=f"not known: {error}")


def devices_of(recipe: Recipe) -> int:
    """The most that a stage works on at once: one for each process, or those of a server that it starts."""
    shared = sharing_of(recipe.accelerate).processes
    used = [1]
    for step in recipe.steps.values():
        work = step.config.work()
        used += [one.started or 1 for one in work.drawn] if work else []
        used.append(shared if step.config.distributed else 1)
    return max(used)


class _Stage:
    def __init__(self, lineage: Lineage, step: Step, setting: Setting, work: Work) -> None:
        self.lineage, self.step, self.setting, self.work = lineage, step, setting, work
        self.effort, self.phases = NONE, dict[str, Memory]()

    def estimate(self) -> Estimate:
        """Raises StageError where a model or rows are out of reach."""
        trainings = tuple(self._training(trained) for trained in self.work.trained)
        for training in trainings:
            self._see("training", memory.of_training(training, self.setting))
            self.effort += hours.of_training(training, self._tokens(training), self.setting)
        if self.work.readers:
            self._read(trainings[0])
        for drawn in self.work.drawn:
            self._draw(drawn, trainings)
        if self.work.loaded or self.work.made:
            self._see("loading", self._held())
        shape = trainings[0].shape if trainings else self._shape()
        return Estimate(self.step, self.setting, shape, self.effort, self.phases, trainings)

    def _see(self, phase: str, found: Memory) -> None:
        before = self.phases.get(phase)
        if before is None or found.peak > before.peak:
            self.phases[phase] = found

    def _training(self, trained: Trained) -> Training:
        lineage, step = self.lineage, self.step
        config = lineage.made(step) if trained.model is None else lineage.config(step, trained.model)
        shape = shape_of(config, trained.learning.get("dtype"))
        teacher = shape_of(lineage.config(step, trained.teacher)) if trained.teacher else None
        module = module_of(config, trained.learning.get("dtype")) if trained.mtp else None
        drawn = next((one for one in self.work.drawn if one.trained), None)
        if drawn is None:
            rows = rows_of(lineage, step, trained)
            return Training(trained, config, shape, rows.mean, rows.mean, rows.mean, teacher=teacher, module=module,
                            longest=rows.longest)
        asked = asked_of(lineage, step, drawn)
        mean = asked.prompt + drawn.most * self.setting.assumed.completion
        return Training(trained, config, shape, mean, asked.prompt + drawn.most, drawn.most, asked, teacher,
                        module, drawn)

    def _tokens(self, training: Training) -> float:
        """That a training reads in all."""
        trained = training.trained
        if trained.steps is not None:
            return trained.steps * trained.batch * training.mean
        rows: Rows = rows_of(self.lineage, self.step, trained)
        steps = max(1, round(rows.count * trained.epochs / trained.batch))
        return steps * trained.batch * training.mean

    def _read(self, training: Training) -> None:
        """By models that are asked about the rows before they are learned."""
        shapes = [shape_of(self.lineage.config(self.step, reference)) for reference in self.work.readers]
        trained = training.trained
        rows = rows_of(self.lineage, self.step, trained)
        learned = min(rows.count, self._tokens(training) / training.mean)
        each = replace(rows, count=learned / (len(shapes) if trained.shares else 1))
        for shape in shapes:
            self.effort += hours.of_reading(shape, each, self.setting)
        together = [max(shapes, key=lambda one: one.weights)] if trained.shares else shapes
        self._see("reading", memory.of_reading(together, training.shape, rows.longest, self.setting))

    def _draw(self, drawn: Drawn, trainings: tuple[Training, ...]) -> None:
        config = self.lineage.config(self.step, drawn.model)
        training = trainings[0] if drawn.trained and trainings else None
        shape = training.shape if training else shape_of(config)
        asked = asked_of(self.lineage, self.step, drawn)
        adapted = training is not None and training.adapters is not None
        beside = self.phases.get("training") if training else None
        module = module_of(config, training.shape.dtype if training else None) if drawn.speculate == "mtp" else None
        drawing = Drawing(drawn, shape, asked, adapted, beside, module)
        self.effort += hours.of_drawing(drawing, self.setting)
        if drawn.vllm is None:
            self._see("drawing", memory.of_drawing(drawing, self.setting))

    def _held(self) -> Memory:
        """Of a stage that only makes a model of others."""
        loaded = [shape_of(self.lineage.config(self.step, reference)) for reference in self.work.loaded]
        made = shape_of(self.lineage.made(self.step)).weights * self.work.made if self.work.made else 0
        return Memory(weights=sum(one.weights for one in loaded) + made, besides=self.setting.assumed.besides)

    def _shape(self) -> Shape | None:
        """Of the model that is drawn from, or that is made."""
        if self.work.drawn:
            return shape_of(self.lineage.config(self.step, self.work.drawn[0].model))
        return shape_of(self.lineage.made(self.step)) if self.work.made else None
