"""A model that computes in eight bits for as long as it is trained."""

import random

import torch
from packaging import version

from eval.language_model import LanguageModel
from pipeline.contract import processes
from pipeline.contract.errors import StageError
from pipeline.disk.durable import JsonObject
from pipeline.training.fp8.grouped import How, in_eight_bits
from pipeline.training.fp8.layers import replace
from pipeline.training.fp8.products import PRODUCTS
from pipeline.training.fp8.section import Fp8
from pipeline.training.placement import own_device

_CAPABLE = (8, 9)
"""CUDA's compute capability from which on devices multiply eight bits: Ada's."""


class EightBits:
    """Computes a model's products in eight bits until `remove` is called, as a recipe says.

    Gradients that are rounded by chance are rounded by a stream of this process's own. It moves in backwards alone, so
    that no probe moves it, and goes on with a checkpoint.
    """

    def __init__(self, model: LanguageModel, section: Fp8, seed: int) -> None:
        device = own_device()
        if section.accumulation == "scaled_mm" and version.parse(torch.__version__) < version.parse("2.10"):
            raise StageError(f"fp8: torch {torch.__version__} has no scaled_mm for accumulation: scaled_mm; install "
                             "2.10 or later, or set promoted, which simulates it")
        on_gpu = section.accumulation == "scaled_mm" and device.type == "cuda"
        if on_gpu and torch.cuda.get_device_capability(device) < _CAPABLE:
            raise StageError(f"fp8: {torch.cuda.get_device_name(device)} does not multiply eight bits; set "
                             "accumulation: promoted, which simulates it")
        stream = random.Random(f"fp8:{seed}:{processes.place()}").getrandbits(63)
        self.draws = torch.Generator(device).manual_seed(stream) if section.stochastic_rounding else None
        how = How(PRODUCTS[section.accumulation], section.backward, self.draws)
        self._layers = replace(model, lambda rows, weight, counts: in_eight_bits(rows, weight, counts, how))

    def state(self) -> JsonObject:
        return {"draws": self.draws.get_state(), "process": processes.place()} if self.draws else {}

    def restore(self, state: JsonObject) -> None:
        # Gone on with by other processes, each is given the first one's state; gone on with on another kind of device,
        # one that its generator does not take.
        if (self.draws and state["process"] == processes.place()
                and len(state["draws"]) == len(self.draws.get_state())):
            self.draws.set_state(state["draws"])

    def remove(self) -> None:
        for layer in self._layers:
            del layer.forward
