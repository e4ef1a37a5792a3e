"""How long a device works on a stage: training by its arithmetic, drawing by its memory's bandwidth.

A token costs 2 operations a parameter forward and 4 backward (Kaplan et al. 2020, arXiv 2001.08361, section 2.1), of
those parameters that it is multiplied by, and what attention adds over the tokens before it. Gradient checkpointing
adds a forward. Each step of drawing reads all weights that its tokens touch, and what the caches hold. No layer is
faster than Python starts its kernels. Drafts are read together with the token before them, and make steps fewer by as
many of them as stand.
"""

from dataclasses import dataclass

from pipeline.costs.lengths import Rows
from pipeline.costs.memory import Drawing, Setting, Training, lesson_of, read_at_once
from pipeline.costs.shape import BYTES, Shape


@dataclass(frozen=True)
class Effort:
    """Tokens and operations of all processes together, and the seconds that they take."""

    tokens: float = 0.0
    flops: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(self.tokens + other.tokens, self.flops + other.flops, self.seconds + other.seconds)


NONE = Effort()


def forward(shape: Shape, before: float) -> float:
    """Operations of a token's forward, with so many tokens before it."""
    # Scores and what they weigh: two multiplications and additions each, for every number of a query.
    return 2 * shape.active + 4 * shape.layers * shape.attended * before


def of_training(training: Training, tokens: float, setting: Setting) -> Effort:
    """Of a training on so many tokens, of all processes."""
    learning, shape, device = training.learning, training.shape, setting.device
    passes = 4.0 if learning.gradient_checkpointing else 3.0
    if training.adapters is not None:
        passes -= 1.0  # frozen weights have no gradients of their own
    if training.trained.reference:
        passes += 1.0
    mixed = learning.mixed_precision if learning.mixed_precision is not None else not device.processor
    half = mixed or (learning.dtype or shape.dtype) != "float32"
    passes += _scorings(training, half)
    flops = tokens * passes * forward(shape, training.mean / 2)
    if training.teacher:
        flops += tokens * forward(training.teacher, training.mean / 2)
    starts = passes * shape.layers
    if training.module:
        flops += tokens * 3.0 * forward(training.module, training.mean / 2)
        starts += 3.0
    rate = device.bfloat16 if half else device.float32
    share = setting.assumed.mfu_mixture if shape.mixture else setting.assumed.mfu
    lesson = lesson_of(training, setting)
    parts = tokens / training.mean / lesson.rows
    seconds = max(flops / (rate * share), parts * starts * setting.assumed.layer)
    if training.trained.fp8:
        seconds *= setting.assumed.simulated
    return Effort(tokens, flops, seconds / setting.sharing.processes)


def of_reading(shape: Shape, rows: Rows, setting: Setting) -> Effort:
    """Of a model that reads rows once, in one process."""
    assumed, device = setting.assumed, setting.device
    tokens = rows.count * rows.mean
    flops = tokens * forward(shape, rows.mean / 2)
    rate = device.float32 if shape.dtype == "float32" else device.bfloat16
    share = assumed.mfu_mixture if shape.mixture else assumed.mfu
    starts = tokens / read_at_once(shape, rows.mean) * shape.layers
    return Effort(tokens, flops, max(flops / (rate * share), starts * assumed.layer))


def _scorings(training: Training, half: bool) -> float:
    """How often a rollout is read for what the policy makes of it before it moves (rl/rounds.py, rl/trainer.py)."""
    drawn, steps = training.drawn, training.trained.steps
    if drawn is None or steps is None:
        return 0.0
    # What vLLM draws is always held against the policy. Where precisions differ further updates score their rollouts
    # before the first, which does so as it learns from its own.
    apart = half or (drawn.vllm is None and drawn.dtype not in (None, "float32"))
    return (1.0 if drawn.vllm else 0.0) + (1 - drawn.rounds / steps if apart else 0.0)


def of_drawing(drawing: Drawing, setting: Setting) -> Effort:
    """Of a drawing, of all that draw."""
    shape, assumed, device = drawing.shape, setting.assumed, setting.device
    processes = drawing.drawn.started or setting.sharing.processes
    dtype = drawing.drawn.dtype or shape.dtype
    size = BYTES[dtype]
    rate = device.float32 if dtype == "float32" else device.bfloat16
    share = assumed.mfu_mixture if shape.mixture else assumed.mfu
    written = drawing.drawn.most * assumed.completion
    prompt, rows = drawing.asked.prompt, drawing.at_once(processes)
    rounds = drawing.drawn.rounds
    read = rounds * drawing.asked.problems * prompt
    tokens = rounds * drawing.asked.problems * drawing.drawn.each * written
    before = prompt + written / 2

    def pass_of(one: Shape, positions: float, besides: int = 0) -> float:
        """Seconds of a forward of so many positions of all rows, which reads so many numbers besides."""
        moved = size * (one.touched(positions) + besides + rows * before * one.cached)
        computed = positions * forward(one, before) / (rate * share)
        return max(moved / (device.bandwidth * assumed.bandwidth), computed, one.layers * assumed.layer)

    module, drafts = drawing.module, drawing.drafts
    stands = assumed.stands if module else assumed.copied
    # What a forward of drafts writes: its own token, and as many of theirs as stand in a row.
    steps = tokens / rows / processes / sum(stands**depth for depth in range(drafts + 1))
    seconds = steps * pass_of(shape, rows * (1 + drafts))
    if module:  # whose head is the model's
        seconds += steps * drafts * pass_of(module, rows, module.vocabulary * module.hidden)
    prefill = read * forward(shape, prompt / 2)
    positions = steps * rows * processes
    flops = prefill + positions * (1 + drafts) * forward(shape, before)
    if module:
        flops += positions * drafts * forward(module, before)
    return Effort(tokens + read, flops, seconds + prefill / (rate * share * processes))
