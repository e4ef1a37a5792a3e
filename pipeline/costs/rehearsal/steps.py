"""The first steps of a training, gone through with tensors that have shapes and no contents (torch's fake tensors).

Every tensor that is made or freed on the way is written down: weights, activations, logits, gradients, the optimizer's
state and what it needs for a moment, of any family that transformers knows, with gradient checkpointing, adapters and
the optimizers of `training/optimizer`, which are run as they are. Nothing is computed, so a step of a model of any size
takes seconds and no memory.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import DynamicCache

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.contract.work import WithModule
from pipeline.costs.rehearsal.heap import Block
from pipeline.costs.rehearsal.ledger import Ledger
from pipeline.costs.rehearsal.mtp import MtpRehearsal
from pipeline.costs.shape import without_weights
from pipeline.disk.durable import JsonMapping
from pipeline.models import lora
from pipeline.models.lora import Lora
from pipeline.training.layers.recomputation import checkpoint_layers
from pipeline.training.learning import Learning
from pipeline.training.logprobs import LOGITS, in_slices, of_logits, of_tokens
from pipeline.training.optimizer.choice import Task, choose, make

STEPS = 2
"""From the second on the optimizer's state is there, and every step is like the one before."""


@dataclass(frozen=True)
class Lesson:
    """What a process puts through its model between two optimizer steps: `parts` forwards, each with its backward, of
    `rows` rows.

    prompts     different prompts among the rows, which are read once for all; 0 where rows are read whole
    prompt      tokens of a prompt
    length      tokens of a row, behind its prompt where prompts are read by themselves
    scored      of these, how many at the end have log-probabilities that are asked for
    precise     whether entropies are asked for, too, as reinforcement does
    autocast    whether it computes in bfloat16, whatever weights are in
    at_once     whether logits of few tokens are held at once, as on CPUs; else the head runs on a slice at a time
    mtp         how a module for multi-token prediction is trained, if one is
    """

    rows: int
    length: int
    scored: int
    parts: int = 1
    prompts: int = 0
    prompt: int = 0
    precise: bool = False
    autocast: bool = False
    at_once: bool = True
    mtp: WithModule | None = None


@dataclass
class Rehearsed:
    """What was held, in bytes: by weights, by gradients and by the optimizer's state; at most, with everything, in
    forwards and backwards (`passing`) and while the optimizer steps (`stepping`); and every block that was taken and
    freed, weights first. `module` is what a module for multi-token prediction holds of all three, which are not among
    the others."""

    weights: int
    gradients: int
    optimizer: int
    passing: int
    stepping: int
    blocks: list[Block] = field(default_factory=list)
    module: int = 0

    @property
    def most(self) -> int:
        return max(self.passing, self.stepping)


def rehearse(
    config: JsonMapping, learning: Learning, adapters: Lora | None, task: Task, lesson: Lesson
) -> Rehearsed:
    """Two optimizer steps of a model with these fields of a config. Raises StageError where transformers builds no such
    model, or where a step depends on what is in a tensor."""
    try:
        return _rehearsed(config, learning, adapters, task, lesson)
    except RuntimeError as error:  # torch's, of fake tensors: DBRX looks which tokens an expert has
        raise StageError(f"a step of {config.get('model_type')} cannot be gone through without computing it "
                         f"({' '.join(str(error).split())[:120]})") from error


def _rehearsed(
    config: JsonMapping, learning: Learning, adapters: Lora | None, task: Task, lesson: Lesson
) -> Rehearsed:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about names; a stage's log has them
        model = without_weights(config, learning.dtype)
        with torch.device("meta"):
            if adapters is not None:
                lora.add(model, adapters, seed=0)
            mtp = MtpRehearsal(model, lesson.mtp) if lesson.mtp else None
        if learning.gradient_checkpointing:
            checkpoint_layers(model, [])
        with FakeTensorMode():
            _give_shapes(model)
            if mtp:
                _give_shapes(mtp.module)
            return _steps(model, mtp, learning, task, lesson)


def _give_shapes(model: LanguageModel | nn.Module) -> None:
    """Puts tensors of the mode of now in the places of those that lie nowhere; tied ones stay tied."""
    made: dict[int, Tensor] = {}
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, one in held.items():
                if one is None:
                    continue
                if id(one) not in made:
                    other = torch.empty(one.shape, dtype=one.dtype)
                    made[id(one)] = nn.Parameter(other, one.requires_grad) if isinstance(one, nn.Parameter) else other
                held[name] = made[id(one)]  # type: ignore[assignment]


def _steps(
    model: LanguageModel, mtp: MtpRehearsal | None, learning: Learning, task: Task, lesson: Lesson
) -> Rehearsed:
    model.train()
    ledger = Ledger()
    for one in (*model.parameters(), *model.buffers()):
        ledger.hold(one)
    weights = ledger.held
    choice = choose(model, learning, task)
    optimizers, own = [make(model, choice)], [] if mtp is None else [*mtp.module.parameters()]
    if mtp:
        for one in own:
            ledger.hold(one)
        optimizers.append(make(mtp.module, choice))  # type: ignore[arg-type]
    passing = stepping = gradients = beside = 0
    with ledger:
        for _ in range(STEPS):
            for _ in range(lesson.parts):
                with torch.autocast("cpu", torch.bfloat16, enabled=lesson.autocast), ledger.graph():
                    losses = [_loss(model, lesson)]
                    if mtp:
                        losses.append(mtp.loss(lesson.rows, lesson.scored))
                torch.autograd.backward(losses)
                del losses
                ledger.forget_graph()
            gradients = sum(_bytes(one.grad) for one in model.parameters() if one.grad is not None)
            passing = max(passing, ledger.forget_most())
            ledger.stepping = True
            beside = sum(_bytes(one.grad) for one in own if one.grad is not None)
            for optimizer in optimizers:
                optimizer.step()
            ledger.stepping = False
            stepping = max(stepping, ledger.forget_most())
            for optimizer in optimizers:
                optimizer.zero_grad()
    states = max(0, ledger.held - weights - sum(map(_bytes, own)))
    # The module's optimizer is the model's, and has as much for each of its numbers.
    numbers = sum(one.numel() for one in own)
    of_module = states * numbers // (numbers + sum(one.numel() for one in model.parameters() if one.requires_grad))
    module = sum(map(_bytes, own)) + beside + of_module
    return Rehearsed(weights, gradients, states - of_module, passing, stepping, ledger.blocks, module)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _loss(model: LanguageModel, lesson: Lesson) -> Tensor:
    """The sum of the log-probabilities of a part's tokens, found as training finds them."""
    if lesson.prompts:
        return _behind_prompts(model, lesson)
    rows = torch.zeros(lesson.rows, lesson.length, dtype=torch.long)
    mask = torch.ones_like(rows)
    vocabulary = model.config.get_text_config().vocab_size
    score: Callable[[Tensor, Tensor], tuple[Tensor, ...]] = of_tokens
    if lesson.precise:
        score = _with_entropies
    if not lesson.at_once or lesson.rows * lesson.scored * vocabulary > LOGITS:
        hidden = model.get_decoder()(input_ids=rows, attention_mask=mask, use_cache=False).last_hidden_state
        states = hidden[:, -lesson.scored :].flatten(0, 1)
        return in_slices(model, states, rows[:, -lesson.scored :].flatten(), score)[0].sum()
    if lesson.precise:
        kept = min(lesson.scored + 1, lesson.length)
        logits = model(input_ids=rows, attention_mask=mask, logits_to_keep=kept, use_cache=False).logits[:, :-1]
        return of_logits(logits, rows[:, -logits.shape[1] :], 1.0)[0].sum()
    logits = model(input_ids=rows, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    return of_tokens(logits.flatten(0, 1), rows[:, 1:].flatten())[0].sum()


def _with_entropies(logits: Tensor, ids: Tensor) -> tuple[Tensor, ...]:
    return of_logits(logits, ids, 1.0)


def _behind_prompts(model: LanguageModel, lesson: Lesson) -> Tensor:
    """As `rl.forwards.SharedPrompts` does it."""
    read = DynamicCache()
    prompts = torch.zeros(lesson.prompts, lesson.prompt, dtype=torch.long)
    held = lesson.rows * lesson.length * model.config.get_text_config().vocab_size <= LOGITS
    asked = {"input_ids": prompts, "attention_mask": torch.ones_like(prompts), "past_key_values": read}
    last = (
        model(**asked, logits_to_keep=1).logits if held else model.get_decoder()(**asked).last_hidden_state[:, -1:]
    )
    which = torch.zeros(lesson.rows, dtype=torch.long)
    own = DynamicCache()
    for place, layer in enumerate(read.layers):
        own.update(layer.keys[which], layer.values[which], place)
    ids = torch.zeros(lesson.rows, lesson.length, dtype=torch.long)
    mask = torch.ones(lesson.rows, lesson.prompt + lesson.length, dtype=torch.long)
    if not held:
        hidden = model.get_decoder()(input_ids=ids, attention_mask=mask, past_key_values=own).last_hidden_state
        states = torch.cat([last[which], hidden[:, :-1]], dim=1).flatten(0, 1)
        return in_slices(model, states, ids.flatten(), _with_entropies)[0].sum()
    logits = model(input_ids=ids, attention_mask=mask, past_key_values=own).logits
    first = of_logits(last[which], ids[:, :1], 1.0)[0]
    others = of_logits(logits[:, :-1], ids[:, 1:], 1.0)[0]
    return torch.cat([first, others], dim=1).sum()
