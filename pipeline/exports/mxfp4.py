"""Experts in MXFP4 as gpt-oss was published: blocks of 32 numbers in four bits each, with one power of two for all."""

from pathlib import Path
from typing import TYPE_CHECKING

from eval.language_model import LanguageModel, Tokenizer
from pipeline.disk import durable
from pipeline.exports import compressed, saved
from pipeline.exports.compressed import Loss

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = 32
_EXPERTS = (".experts.gate_up_proj", ".experts.down_proj")
_CONFIG = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head",
    ],
}
"""As gpt-oss's config.json has it."""


def write(model: LanguageModel, tokenizer: Tokenizer, folder: Path) -> Loss:
    """The model in `folder`: of gpt-oss in its own form, of other families in that of compressed-tensors, which has
    their attention in MXFP4, too. Raises CommandError for rows that blocks do not divide."""
    if model.config.model_type != "gpt_oss":
        return compressed.write(model, tokenizer, folder, compressed.MXFP4)
    loss = Loss()

    def change(name: str, tensor: "Tensor") -> "dict[str, Tensor]":
        return _blocks(name, tensor, loss) if name.endswith(_EXPERTS) else {name: tensor}

    saved.write(model, tokenizer, folder)
    saved.rewrite(folder, change)
    config = durable.read_json(folder / "config.json")
    durable.write_json(folder / "config.json", {**config, "quantization_config": _CONFIG})
    return loss


def _blocks(name: str, tensor: "Tensor", loss: Loss) -> "dict[str, Tensor]":
    """A weight [experts, inputs, outputs] as blocks [experts, outputs, blocks, bytes] of two numbers a byte, and
    scales [experts, outputs, blocks]."""
    rows = tensor.transpose(1, 2)
    made, back = compressed.compress(name, rows.flatten(0, 1), compressed.MXFP4)
    loss.add(rows.flatten(0, 1), back)
    shape = (*rows.shape[:2], rows.shape[2] // _BLOCK)
    return {f"{name}_blocks": made["weight_packed"].reshape(*shape, _BLOCK // 2),
            f"{name}_scales": made["weight_scale"].reshape(shape)}
