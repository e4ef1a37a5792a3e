"""Keeping the load of experts even while a model is trained: losses, DeepSeek-V3's bias, capacity."""

import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PretrainedConfig

from eval.language_model import LanguageModel
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.moe import losses
from pipeline.moe.balancing import NOT_ADAPTED, Balancing
from pipeline.moe.capacity import fitting
from pipeline.moe.families import FAMILIES
from pipeline.moe.losses import Routed
from pipeline.moe.routers import Router, Routing, routers
from pipeline.moe.watch import Watch


class Balance:
    """Balances the routers of a model in training, as `balancing` says, and as its family's makers did where it says
    nothing.

    Call `loss` after the forwards of a micro-batch, add what it returns to the loss, and `step` after each optimizer
    step, which moves the selection bias (DeepSeek-V3, arXiv 2412.19437, section 2.1.2): b_i += speed * sign(mean load -
    load_i), with the load of all processes. transformers holds that bias (`e_score_correction_bias`) but never moves
    it. Where adapters alone are trained it stays as it is, since an adapter cannot hold it: base and adapter together
    would be another model than the one that was trained.

    Only forwards in training mode with gradients count, and of these no padding. Capacity holds in all full forwards;
    rollouts are decoded without, since which tokens are dropped would depend on what else is in the batch. The losses
    are those of one process's micro-batch. A model without routers is left alone.

    Raises StageError for a setting that the model cannot honour.
    """

    def __init__(self, model: LanguageModel, balancing: Balancing | None = None) -> None:
        self.routers = routers(model)
        self.balancing = _settled(model.config, self.routers, balancing or Balancing(), has_adapters(model))
        self.watch = Watch([router.layer for router in self.routers], *_sizes(self.routers))
        self._forward: _Forward | None = None
        self._counting = True
        self._seen: list[_Forward] = []  # forwards since the last loss
        self._load: Tensor | None = None  # since the last step, [layers, experts]
        self._dropped = self._loss = 0.0
        self._losses = losses.weighted(self.balancing, _most_devices(self.routers, self.balancing.devices))
        self._handles: list[RemovableHandle] = []
        if self.routers:
            # Not the model's, whose decoder is called alone where logits are made of a slice of the tokens at a time.
            decoder = model.get_decoder()
            self._handles = [
                decoder.register_forward_pre_hook(self._begin, with_kwargs=True),
                decoder.register_forward_hook(self._end, always_call=True),
            ]
        if self.balancing.capacity:
            self._handles += [
                handle for router in self.routers for handle in router.reroute(self._within_capacity(router))
            ]
        self._handles += [handle for router in self.routers for handle in router.watch(self._keep)]

    def _begin(self, model: nn.Module, args: tuple[Tensor, ...], kwargs: JsonObject) -> None:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        # Rollouts and probes read with a cache; only what is trained on is balanced.
        decoding = bool(kwargs.get("use_cache"))
        mask = kwargs.get("attention_mask")
        gradients = torch.is_grad_enabled() and self._counting
        self._forward = None if decoding else _Forward(ids, mask, model.training, gradients)

    def _end(self, *_: object) -> None:
        if self._forward and self._forward.counts and self._forward.routings:
            self._seen.append(self._forward)
        self._forward = None

    def _keep(self, routing: Routing) -> None:
        if self._forward and self._forward.counts:
            # With no loss to compute, keeping the graph of every forward would only hold memory.
            if not self._losses:
                routing = Routing(routing.logits.detach(), routing.chosen, routing.weights.detach())
            self._forward.routings.append(routing)

    def _within_capacity(self, router: Router) -> Callable[[Routing], Routing | None]:
        def drop(routing: Routing) -> Routing | None:
            if self._forward is None:
                return None
            factor = self.balancing.capacity if self._forward.training else self.balancing.capacity_evaluation
            if not factor:
                return None
            # Which choices are dropped is no function to differentiate; the weights of those that stay are.
            fits = fitting(routing.chosen, routing.weights.detach(), router.experts, factor, self._forward.real)
            if self._forward.counts:
                self._dropped += float((~fits).sum())
            return Routing(routing.logits, routing.chosen, routing.weights * fits)

        return drop

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """Forwards are not counted for as long as this lasts, in training mode neither."""
        self._counting = False
        yield
        self._counting = True

    def again(self) -> Callable[[], contextlib.AbstractContextManager[None]]:
        """For layers that are computed again in the backward: see training/layers/recomputation.py."""
        forward = self._forward.uncounted() if self._forward else None

        @contextlib.contextmanager
        def bounded() -> Iterator[None]:
            before, self._forward = self._forward, forward
            try:
                yield
            finally:  # torch leaves a layer by an exception when it has all that it needs
                self._forward = before

        return bounded

    def withdraw(self) -> "_Forward | None":
        """The last forward, which is not counted by itself: prompts that `goes_on` counts. None for a model without
        routers, and of a forward that is not counted at all."""
        counted = self.routers and self._counting and torch.is_grad_enabled()
        return self._seen.pop() if counted else None

    def goes_on(self, prompts: "_Forward | None", which: Tensor) -> None:
        """The rows of the last forward went on from the prompts at `which` [rows], and count as if they had read them,
        too."""
        if prompts:
            # The completions alone were read in that forward, and losses by sequence need the prompt, too.
            self._seen.append(self._seen.pop().after(prompts, which))

    def loss(self) -> Tensor:
        """The auxiliary losses of the forwards since it was last called, weighted; a number without a gradient where
        there are none."""
        total = torch.zeros(())
        if self._seen:
            routed = self._taken()
            # Micro-batches add up: the biases move once an optimizer step, by the load of all of it.
            load = routed.load()
            self._load = load if self._load is None else self._load + load
            total = sum((weight * loss(routed).mean() for weight, loss in self._losses), total.to(load.device))
            self._loss = float(total.detach())
        return total

    def _taken(self) -> Routed:
        """What was seen since, without padding, and forgotten here."""
        seen, self._seen = self._seen, []
        layers = []
        for place in range(len(self.routers)):
            parts = ([forward.tokens(getattr(forward.routings[place], part)) for forward in seen] for part in _PARTS)
            layers.append(Routing(*map(torch.cat, parts)))
        first, sequences = 0, []
        for forward in seen:
            # Sequences of further forwards are numbered on, so that none is taken for another.
            sequences.append(forward.tokens(forward.sequence) + first)
            first += forward.shape[0]
        logits, chosen, weights = (torch.stack([getattr(layer, part) for layer in layers]) for part in _PARTS)
        return Routed(logits, chosen, weights, torch.cat(sequences), self.routers[0].gating)

    @torch.no_grad()
    def step(self) -> None:
        """Move the biases by the load since the last step, and start counting anew. All processes call it together."""
        # Forwards that no loss was asked for count, too.
        self.loss()
        load, self._load = self._load, None
        several = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not self.routers or (load is None and not several):
            return
        had_rows = load is not None
        if load is None:  # a process may have none in this step
            device = next(self.routers[0].module.parameters()).device
            load = torch.zeros(len(self.routers), self.watch.experts, device=device)
        if several:
            # The bias is the same in every process, and so must be what moves it.
            torch.distributed.all_reduce(load)
            told = load.new_tensor([self._dropped, self._loss, float(had_rows)])
            torch.distributed.all_reduce(told)
            self._dropped, self._loss = float(told[0]), float(told[1] / told[2].clamp(min=1.0))
        self.watch.see(load, self._dropped, self._loss)
        self._dropped = self._loss = 0.0
        for router, counted in zip(self.routers, load, strict=True):
            if router.bias is not None and self.balancing.bias_speed:
                # DeepSeek-V3 (arXiv 2412.19437, section 2.1.2): by the sign alone, whatever the distance.
                router.bias.add_(self.balancing.bias_speed * torch.sign(counted.mean() - counted))

    def state(self) -> JsonObject:
        """What the watch remembers; the biases are the model's."""
        return self.watch.state()

    def restore(self, state: JsonObject) -> None:
        self.watch.restore(state)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


_PARTS = ("logits", "chosen", "weights")


class _Forward:
    """One forward: the shape and padding of its tokens [rows, seq], and what its routers did, a routing a layer.

    `mask` may begin with columns of what was read before."""

    def __init__(self, ids: Tensor, mask: Tensor | None, training: bool, gradients: bool) -> None:
        self.shape = ids.shape
        self.training, self.counts = training, training and gradients
        # A mask also covers what the cache holds; here the tokens of this forward are counted.
        self.mask = torch.ones_like(ids) if mask is None else mask[:, -ids.shape[1] :]
        self.routings: list[Routing] = []

    @cached_property
    def real(self) -> Tensor | None:
        """Which tokens [rows * seq] are no padding; None where all are."""
        return None if bool(self.mask.all()) else self.mask.flatten().bool()

    @property
    def sequence(self) -> Tensor:
        """The row of every token, [rows * seq]."""
        return torch.arange(self.shape[0], device=self.mask.device).repeat_interleave(self.shape[1])

    def tokens(self, values: Tensor) -> Tensor:
        """The entries of values [rows * seq, ..] that are no padding."""
        return values if self.real is None else values[self.real]

    def uncounted(self) -> "_Forward":
        """The same tokens, when they are read once more."""
        return _Forward(self.mask, self.mask, self.training, gradients=False)

    def after(self, prompts: "_Forward", which: Tensor) -> "_Forward":
        """The forward that reads, in every row, one of `prompts` and then this one's tokens."""
        mask = torch.cat([prompts.mask[which], self.mask], dim=1)
        found = _Forward(mask, mask, self.training, self.counts)
        for before, after in zip(prompts.routings, self.routings, strict=True):
            parts = (
                (_rows(getattr(before, part), prompts)[which], _rows(getattr(after, part), self)) for part in _PARTS
            )
            found.routings.append(Routing(*(torch.cat(both, dim=1).flatten(0, 1) for both in parts)))
        return found


def _rows(values: Tensor, forward: _Forward) -> Tensor:
    return values.view(*forward.shape, -1)


def _sizes(found: list[Router]) -> tuple[int, int]:
    return (found[0].experts, found[0].top_k) if found else (0, 0)


def _most_devices(found: list[Router], devices: int | None) -> int:
    """To how many of `devices` devices a token is sent at most (M of DeepSeek-V2, section 2.2.2)."""
    if not found or not devices:
        return 1
    groups = found[0].groups
    # A router that is limited to groups of experts is so because each group lies on one device.
    return groups[1] if groups and groups[0] == devices else min(found[0].top_k, devices)


def has_adapters(model: LanguageModel) -> bool:
    """Whether layers of the model carry adapters, which are then what is trained."""
    # By the names that peft gives their weights; peft itself need not be loaded for it.
    return any(".lora_" in name for name, _ in model.named_parameters())


def _settled(config: PretrainedConfig, found: list[Router], wanted: Balancing, adapted: bool) -> Balancing:
    """The settings of a model: what is wanted, over what its family's makers did. Raises StageError where it cannot
    be."""
    family = config.model_type
    explicit = wanted.wanted()
    if not found:
        if explicit:
            raise StageError(f"balance.{explicit[0]}: {family} models have no routers to balance; leave it out")
        return Balancing()
    # Every expert takes every token: there is no load to balance, and a loss on it would be a constant.
    if found[0].top_k == found[0].experts:
        idle = [name for name in explicit if name not in ("importance", "z")]
        if idle:
            raise StageError(
                f"balance.{idle[0]}: every token takes all {found[0].experts} experts of this model; leave it out"
            )
        return wanted
    if wanted.bias_speed and found[0].bias is None:
        raise StageError(
            f"balance.bias_speed: {family} routers have no selection bias to move; leave it out, or set it to 0"
        )
    if wanted.devices and found[0].experts % wanted.devices:
        raise StageError(
            f"balance.devices: {found[0].experts} experts do not split evenly over {wanted.devices} devices"
        )
    if wanted.smooth_load and (found[0].bias is not None or found[0].groups):
        raise StageError(
            f"balance.smooth_load: {family} routers do not choose by logits alone, as it supposes; take `load`"
        )
    if wanted.bias_speed and adapted:
        raise StageError(NOT_ADAPTED)
    settled = wanted.over(FAMILIES[family].balance(config))
    return settled.model_copy(update={"bias_speed": 0.0}) if adapted else settled
