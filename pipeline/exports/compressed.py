"""Weights in few bits as the library compressed-tensors has them, which vLLM and transformers read: FP8 and MXFP4."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eval.language_model import LanguageModel, Tokenizer
from pipeline.contract.errors import CommandError
from pipeline.exports import saved
from rewards.lazy import lazy

with lazy:
    import torch
    from compressed_tensors.compressors import BaseCompressor, ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, preset_name_to_scheme
    from compressed_tensors.quantization.utils import calculate_qparams

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FP8 = "FP8_DYNAMIC"
"""Weights in E4M3 with a scale for each row; activations in E4M3, too, with scales that are found while it runs."""

MXFP4 = "MXFP4A16"
"""Weights in E2M1 with a scale, a power of two, for each 32 of a row; activations as they are."""

_FORMATS = {FP8: "float-quantized", MXFP4: "mxfp4-pack-quantized"}
_EXPERT = re.compile(r"\.experts\.\d+\.\w+\.weight")
_LEFT = ["lm_head", r"re:.*\.gate$", r"re:.*shared_expert_gate$", r"re:.*\.router(\.layer)?$", r"re:.*\.conv1d$"]
"""What keeps its precision beside embeddings and norms: the head, routers, which choose by small differences, and
convolutions, which vLLM has as linear layers."""


@dataclass
class Loss:
    """What rounding has changed, over all weights that were rounded."""

    squares: float = 0.0
    of: float = 0.0
    tensors: int = 0

    def add(self, before: "Tensor", after: "Tensor") -> None:
        self.squares += (after.double() - before.double()).square().sum().item()
        self.of += before.double().square().sum().item()
        self.tensors += 1

    def __str__(self) -> str:
        share = (self.squares / self.of) ** 0.5 if self.of else 0.0
        return f"{self.tensors:,} tensors were rounded, and differ by {share:.2%} (root mean square, of the weights')"


def write(model: LanguageModel, tokenizer: Tokenizer, folder: Path, preset: str) -> Loss:
    """The model in `folder`, its linear layers and experts in `preset`. Raises CommandError where it has experts that
    lie in one tensor, or rows that blocks do not divide."""
    rounded = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    convolutions = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Conv1d)}
    no_layers = {*convolutions, *(name for name, _ in model.named_buffers())}
    loss = Loss()

    def change(name: str, tensor: "Tensor") -> "dict[str, Tensor]":
        if name in no_layers:
            return {name: tensor}
        if tensor.ndim > 2 or (tensor.ndim == 2 and ".experts." in name and not _EXPERT.search(name)):
            raise CommandError(f"the family {model.config.model_type} has its experts in one tensor ({name}), which "
                               "this format has no words for; export it --to vllm instead")
        inside = name.removesuffix(".weight")
        if not (name in rounded or _EXPERT.search(name)) or _is_left(inside):
            return {name: tensor}
        made, back = compress(name, tensor, preset)
        loss.add(tensor, back)
        return {f"{inside}.{part}": values for part, values in made.items()}

    saved.write(model, tokenizer, folder)
    saved.rewrite(folder, change)
    if not loss.tensors:
        raise CommandError(f"the family {model.config.model_type} has no linear layers that this format stores; export "
                           "it --to vllm instead")
    config = QuantizationConfig(
        config_groups={"group_0": preset_name_to_scheme(preset, ["Linear"])}, ignore=_LEFT,
        format=_FORMATS[preset], quantization_status="compressed",
    )
    ModelCompressor(quantization_config=config).update_config(str(folder))
    return loss


def _is_left(name: str) -> bool:
    return any(re.match(rule.removeprefix("re:"), name) if rule.startswith("re:") else rule == name for rule in _LEFT)


def compress(name: str, rows: "Tensor", preset: str) -> "tuple[dict[str, Tensor], Tensor]":
    """What stands for the weight [rows, columns] in the file, and what it is read back as. Raises CommandError for
    rows that blocks do not divide."""
    scheme = preset_name_to_scheme(preset, ["Linear"])
    values, block = rows.float(), scheme.weights.group_size or rows.shape[-1]
    if rows.shape[-1] % block:
        raise CommandError(f"MXFP4 stores rows in blocks of {block} numbers, and those of {name} have "
                           f"{rows.shape[-1]}; export the model --to fp8 instead")
    largest = values.abs().reshape(*values.shape[:-1], -1, block).amax(-1)
    scale, _ = calculate_qparams(-largest, largest, scheme.weights)
    compressor = BaseCompressor.get_value_from_registry(_FORMATS[preset])
    made = compressor.compress({"weight": values, "weight_scale": scale.float()}, scheme)
    return made, compressor.decompress(made, scheme)["weight"]
