"""Matrices laid out for decoding multiply as torch does, and leave what they are given as it was."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from eval.engine import weights
from eval.engine.native import NativeEngine
from eval.engine.types import Request, Sampling
from eval.engine.weights import Packed, Plain, Projection, matrix, packable

DTYPES = [torch.float32, torch.bfloat16]
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 0.1}


def drawn(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [Packed, Plain])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 32, 100])
def test_a_layer_is_torchs(dtype: torch.dtype, layout: type[Packed] | type[Plain], bias: bool, rows: int) -> None:
    weight, added = drawn(24, 40, dtype=dtype), drawn(24, dtype=dtype) if bias else None
    if layout is Packed and not packable(weight):
        pytest.skip("this processor has no AVX-512, without which oneDNN does not multiply bfloat16")
    given, residual = drawn(rows, 40, dtype=dtype), drawn(rows, 24, dtype=dtype)
    before = residual.clone()
    layer, expected = layout(weight, added), F.linear(given.double(), weight.double(), added.double() if bias else None)
    torch.testing.assert_close(layer(given).double(), expected, atol=CLOSE[dtype], rtol=CLOSE[dtype])
    onto = layer.onto(residual, given).double()
    torch.testing.assert_close(onto, expected + before.double(), atol=CLOSE[dtype], rtol=CLOSE[dtype])
    assert torch.equal(residual, before)


def test_large_matrices_are_packed_where_they_can_be() -> None:
    assert isinstance(matrix(drawn(256, 512, dtype=torch.float32)), Packed)
    assert isinstance(matrix(drawn(255, 512, dtype=torch.float32)), Plain)
    assert isinstance(matrix(drawn(256, 512, dtype=torch.float64)), Plain)


@pytest.mark.parametrize("family", ["qwen3", "deepseek_v3", "qwen2_moe"])
def test_packed_weights_write_the_same(
    tiny: Callable[..., Any], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(family)
    asked, sampling = [Request([3, 4, 5], range(4)), Request([6, 7], range(4, 8))], Sampling(12)
    plain = NativeEngine(model, {1}).sample(asked, sampling)
    monkeypatch.setattr(weights, "LARGE", 0)
    packed = NativeEngine(model, {1}).sample(asked, sampling)
    assert [[one.ids for one in group] for group in packed] == [[one.ids for one in group] for group in plain]


def test_layers_side_by_side_where_some_have_a_bias() -> None:
    weights, bias = [drawn(8, 16, dtype=torch.float32), drawn(4, 16, dtype=torch.float32)], torch.arange(4.0)
    given = drawn(5, 16, dtype=torch.float32)
    expected = torch.cat([F.linear(given, weights[0]), F.linear(given, weights[1], bias)], dim=-1)
    torch.testing.assert_close(Projection(weights, [None, bias])(given), expected)
