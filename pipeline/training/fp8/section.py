"""The recipe fields of training in eight bits; the same in every stage that has them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Format = Literal["e4m3", "e5m2"]
"""Numbers of eight bits: a sign, and so many bits of exponent (e) and of mantissa (m)."""

Accumulation = Literal["fp32", "promoted", "tensor_core", "scaled_mm"]
"""How the sums of a product are kept; `products.py` has one function for each."""


class Fp8(BaseModel):
    """Products of matrices in eight bits, forward and backward (DeepSeek-V3, arXiv 2412.19437, section 3.3).

    Activations and weights are in E4M3, with a scale for each tile: 1 x 128 of activations and gradients, 128 x 128 of
    weights. Linear layers and experts compute so. Routers, the head, embeddings, norms and attention's own arithmetic
    stay in full precision, and so do weights, their gradients' sums and the optimizer.

    Eight bits are simulated, but with `accumulation: scaled_mm`. A simulated step takes longer than one in full
    precision: what is measured is what training in eight bits would come to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backward: Format = Field(
        default="e4m3", description="format of gradients: e4m3 as of all else, or e5m2, which reaches further and "
                                    "tells less apart"
    )
    accumulation: Accumulation = Field(
        default="promoted",
        description="how sums of products are kept. promoted: in 14 bits, as a Hopper GPU's tensor cores do, and every "
                    "128 products added up in fp32; tensor_core: in 14 bits to the end; fp32: in fp32; scaled_mm: as "
                    "the device does in torch's scaled_mm, every 128 products added up in fp32"
    )
    stochastic_rounding: bool = Field(
        default=False, description="round gradients up or down by chance, so that they are right on average; to the "
                                   "nearest where it is false"
    )


SHARED = ("fp8: products are computed with whole matrices, which FSDP and DeepSpeed share out: leave it out, or train "
          "under MULTI_GPU")

Fp8Section = Annotated[Fp8 | None, Field(
    description="compute products of matrices in eight bits while training; in full precision where it is left out"
)]
