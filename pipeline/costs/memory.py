"""What a process holds at most: while it trains, by a rehearsal of its steps; while it draws, by the engine's rules."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eval.engine import native, plain
from eval.rollouts import piece_size
from pipeline.contract.work import Drawn, Trained
from pipeline.costs.assumptions import Assumptions
from pipeline.costs.devices import Device
from pipeline.costs.lengths import Asked
from pipeline.costs.rehearsal.draws import Draws, blocks_of
from pipeline.costs.rehearsal.heap import expected
from pipeline.costs.rehearsal.steps import Lesson, Rehearsed, rehearse
from pipeline.costs.shape import BYTES, Shape, config_of
from pipeline.costs.sharing import Sharing
from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.distillation.distributions import AT_ONCE
from pipeline.models.lora import Lora
from pipeline.serving.speculation import MOST
from pipeline.training.learning import Learning
from pipeline.training.logprobs import LOGITS, changes_logits, held_always
from pipeline.training.micro_batches import BYTES as OF_PROCESSORS
from pipeline.training.micro_batches import tokens_within
from pipeline.training.optimizer.choice import Task

FULL = "float32"


@dataclass(frozen=True)
class Memory:
    """Bytes of one process, in its largest moment. `activations` are all that comes and goes within a step; `cache` is
    that of keys and values; `besides` are libraries, copies of weights and what an allocator cannot use."""

    weights: float
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    cache: float = 0.0
    besides: float = 0.0

    @property
    def peak(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.cache + self.besides

    def beside(self, more: float) -> "Memory":
        """With so much more besides."""
        return replace(self, besides=self.besides + more)


@dataclass(frozen=True)
class Setting:
    """Where a process runs."""

    device: Device
    sharing: Sharing
    assumed: Assumptions

    @property
    def of_part(self) -> int:
        """Bytes that the activations of a part may take (`training/micro_batches.py`)."""
        return OF_PROCESSORS if self.device.processor else self.device.memory // 4


@dataclass(frozen=True)
class Training:
    """A training as a process sees it: what the recipe says, the model's config and sizes, and its rows: `mean` tokens
    long, and `length` in the moment of most memory, of which the last `scored` are learned. These are the same but for
    completions, which may all be as long as they are allowed to be; `asked` is of those, whose prompts are read
    once, and `drawn` says what draws them. `module` is one for multi-token prediction that is trained, too. The
    `longest` row goes through whole, whatever a part may have."""

    trained: Trained
    config: JsonObject
    shape: Shape
    mean: float
    length: float
    scored: float
    asked: Asked | None = None
    teacher: Shape | None = None
    module: Shape | None = None
    drawn: Drawn | None = None
    longest: float = 0.0

    @property
    def learning(self) -> Learning:
        return Learning.model_validate(self.trained.learning)

    @property
    def adapters(self) -> JsonMapping | None:
        return self.trained.adapters

    def with_learning(self, **changed: object) -> "Training":
        learning = {**self.trained.learning, **changed}
        return replace(self, trained=replace(self.trained, learning=learning))

    def in_full_precision(self) -> "Training":
        """With weights as FSDP and DeepSpeed need them (`training/base_trainer.py`)."""
        return replace(self.with_learning(dtype=FULL), shape=replace(self.shape, dtype=FULL))


def part_tokens(training: Training, setting: Setting) -> int:
    """Most tokens of a forward and its backward."""
    learning = training.learning
    if learning.micro_batch_tokens:
        return learning.micro_batch_tokens
    return tokens_within(setting.of_part, config_of(training.config), learning.gradient_checkpointing)


def lesson_of(training: Training, setting: Setting) -> Lesson:
    """What a process puts through its model in a step."""
    learning, processor = training.learning, setting.device.processor
    rows = max(1, training.trained.batch // setting.sharing.processes)
    length = max(2, round(training.length))
    of_part = max(1, min(rows, part_tokens(training, setting) // length))
    scored = min(length - 1, max(1, round(training.scored)))
    autocast = learning.mixed_precision if learning.mixed_precision is not None else not processor
    whole = Lesson(of_part, length, scored, min(2, -(-rows // of_part)), precise=training.asked is not None,
                   autocast=autocast, at_once=processor and not setting.sharing.collective, mtp=training.trained.mtp)
    fields = config_of(training.config).get_text_config().to_dict()
    few = of_part * scored * training.shape.vocabulary <= LOGITS or held_always(fields)
    without_cache = learning.gradient_checkpointing or training.shape.stateful
    sliced = training.teacher is None and not changes_logits(fields)
    if training.asked is None or not whole.at_once or without_cache or not (few or sliced):
        return whole
    # As `rl/scoring/forwards.py` has it: the completions go on from prompts that are read once.
    prompts = min(of_part, -(-training.asked.problems * of_part // rows))
    prompt = max(1, round(training.asked.prompt))
    return replace(whole, length=scored, prompts=prompts, prompt=prompt) if prompts < of_part else whole


def largest_of(training: Training, setting: Setting) -> Lesson:
    """`lesson_of`, or the longest row where that is more than a part of others."""
    lesson, longest = lesson_of(training, setting), round(training.longest)
    if longest <= lesson.rows * lesson.length:
        return lesson
    return replace(lesson, rows=1, length=longest, scored=longest - 1, parts=min(2, training.trained.batch))


@functools.lru_cache(maxsize=64)
def _rehearsed(written: str, task: Task, lesson: Lesson) -> Rehearsed:
    """Of a config, learning and adapters, written as JSON: stages often have the same, and remedies go back to it."""
    config, learning, adapters = json.loads(written)
    return rehearse(config, Learning.model_validate(learning), adapters and Lora.model_validate(adapters), task, lesson)


def of_training(training: Training, setting: Setting) -> Memory:
    """While it trains. Raises StageError where its steps cannot be gone through."""
    task: Task = "supervised" if training.asked is None else "reinforcement"
    written = json.dumps([training.config, training.trained.learning, training.trained.adapters])
    found = _rehearsed(written, task, largest_of(training, setting))
    return divided(found, training, setting)


def divided(found: Rehearsed, training: Training, setting: Setting) -> Memory:
    """A rehearsal's bytes, as processes share them."""
    sharing, reference = setting.sharing, found.weights if training.trained.reference else 0
    teacher = training.teacher.weights if training.teacher else 0  # whole on every process
    # So is a module for multi-token prediction, with its gradients and moments.
    besides = float(setting.assumed.besides + reference + teacher + found.module)
    if setting.device.processor:
        # The heap keeps what it had, and what was saved is mapped to be compared when all is done.
        besides += max(0, expected(found.blocks) - found.most) + found.weights
    if sharing.parted:
        # The layer that is at work, and the one that is gathered ahead, are whole.
        besides += 2 * found.weights / max(1, training.shape.layers)
    if sharing.kind == "DDP" and not setting.device.processor:
        # DDP's buckets, through which it would average gradients (`training/gradients.py` does); on a processor they
        # are never touched.
        besides += found.gradients
    if training.drawn and training.drawn.vllm and not setting.device.processor:
        # Of a server's several GPUs the first is the stage's own.
        besides += training.drawn.vllm.besides * setting.device.memory
    if training.trained.fp8:
        # What a forward multiplied by is kept for the backward as well, in two bytes a number.
        besides += BYTES["bfloat16"] * training.shape.parameters
    held = found.weights + found.gradients + found.optimizer + found.module
    activations = max(0.0, found.passing - held, (found.stepping - held) / sharing.optimizer)
    return Memory(found.weights / sharing.weights, found.gradients / sharing.gradients,
                  found.optimizer / sharing.optimizer, activations, 0.0, besides)


def read_at_once(shape: Shape, longest: float) -> float:
    """Tokens of rows, of which one is so long, that a teacher reads together (`distillation/distributions.py`)."""
    return max(longest, min(AT_ONCE, LOGITS // shape.vocabulary))


def of_reading(readers: Sequence[Shape], learns: Shape, longest: float, setting: Setting) -> Memory:
    """While models read rows, together, beside the one that learns them."""
    passing = [_passing(one, read_at_once(one, longest), BYTES[one.dtype])
               # in fp32, with the scores and probabilities that are made of them
               + 3 * 4 * min(LOGITS, read_at_once(one, longest) * one.vocabulary) for one in readers]
    return Memory(sum(one.weights for one in (*readers, learns)), activations=max(passing),
                  besides=setting.assumed.besides)


def _passing(shape: Shape, tokens: float, size: int) -> float:
    """Bytes that come and go in a layer without a backward."""
    return size * tokens * (4 * shape.hidden + 2 * shape.attended + 3 * shape.inner)


@dataclass(frozen=True)
class Drawing:
    """A drawing as a process sees it; `training` is the state that lies beside it, if there is one, and `module` what
    drafts, where that is one for multi-token prediction."""

    drawn: Drawn
    shape: Shape
    asked: Asked
    adapted: bool = False
    training: Memory | None = None
    module: Shape | None = None

    @property
    def drafts(self) -> int:
        """Tokens that are drafted at once."""
        return MOST.get(self.drawn.speculate, 0)

    def rollouts(self, processes: int) -> int:
        """That the engine of a process is asked for at once."""
        every = self.asked.problems * self.drawn.each
        if not self.drawn.trained:  # which goes piece by piece
            return max(1, min(every // processes, piece_size(every, self.drawn.most)))
        return max(1, every // processes)

    def at_once(self, processes: int) -> int:
        """Rows that the engine decodes together."""
        if self.adapted or not self.shape.native:
            return min(plain.ROWS, self.rollouts(processes))
        return min(native.ROWS, self.rollouts(processes), max(1, native.TOKENS // self.longest))

    @property
    def longest(self) -> int:
        """Tokens of prompt and completion."""
        return round(self.asked.prompt) + self.drawn.most


def of_drawing(drawing: Drawing, setting: Setting) -> Memory:
    """While it draws: weights (whole ones, where the policy is cut or rollouts have a precision of their own), their
    copies for decoding on a CPU, the cache of the rows that are decoded together, and what a step and a prefill take
    for a moment."""
    shape, processes = drawing.shape, setting.sharing.processes
    size = BYTES[drawing.drawn.dtype or shape.dtype]
    rows, tokens = drawing.at_once(processes), drawing.longest
    module, read_at_once = drawing.module, rows * (1 + drawing.drafts)
    cache = float(rows * tokens * (shape.cached + (module.cached if module else 0)) * size)
    # those of now and of the last step, scores and probabilities, in fp32
    logits = 4 * 4 * read_at_once * shape.vocabulary
    scores = 2 * size * read_at_once * tokens * shape.heads
    read = min(native.PROMPT_TOKENS, drawing.asked.problems * drawing.asked.prompt)
    prefill = _passing(shape, read, size)
    laid_out = setting.device.processor and shape.native and not drawing.adapted
    copies = (shape.copied + (module.copied if module else 0)) * size if laid_out else 0
    beside = drawing.training
    whole = beside is not None and (setting.sharing.parted or drawing.drawn.dtype not in (None, shape.dtype))
    found = Memory(
        weights=(shape.parameters + (module.parameters if module else 0)) * size if beside is None else beside.weights,
        optimizer=beside.optimizer if beside else 0.0,
        activations=logits + max(scores, prefill),
        cache=cache,
        besides=copies + (shape.parameters * size if whole else 0.0),
    )
    if setting.device.processor:
        held = found.weights + found.optimizer + found.besides - copies
        head = min(copies, shape.vocabulary * shape.hidden * size)
        draws = Draws(
            int(held), shape.layers, (copies - head) // shape.layers, head, rows, tokens - drawing.drawn.most, tokens,
            shape.cached // shape.layers * size, shape.caches, logits // 4, int(found.activations - logits),
        )
        return found.beside(setting.assumed.besides + max(0, expected(blocks_of(draws)) - found.peak))
    # A layer's cache is copied when it grows.
    return found.beside(setting.assumed.besides + cache / shape.layers)
