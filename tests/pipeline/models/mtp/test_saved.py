"""The module beside a model: saved, loaded again, and in nobody's way."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pipeline.contract.errors import StageError
from pipeline.models import pretrained
from pipeline.models.audit import differences
from pipeline.models.mtp import module
from pipeline.models.mtp.saved import FILE
from pipeline.models.tokenizer import train_tokenizer

Tiny = Callable[..., Any]


@pytest.fixture
def saved(tiny: Tiny, tmp_path: Path) -> tuple[Any, Path]:
    """A model with a module, and the artifact that it was saved in."""
    tokenizer = train_tokenizer(["one and two are three", "two and one"], 20)
    model = tiny("deepseek_v3", vocab_size=len(tokenizer))
    module.attach(model, module.Mtp(model, seed=3))
    pretrained.save(model, tokenizer, tmp_path)
    return model, tmp_path


def test_it_comes_back_in_every_bit_and_transformers_loads_the_model(
    saved: tuple[Any, Path], recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    model, folder = saved
    loaded, _ = pretrained.load(folder)
    own, other = module.of(model), module.of(loaded)
    assert own is not None
    assert other is not None
    assert differences(own.state_dict(), other.state_dict()) == []
    assert not any("mtp" in name for name in model.state_dict())
    capfd.readouterr()
    plain = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert not differences(model.state_dict(), plain.state_dict())
    assert "unexpected" not in "".join(capfd.readouterr()).lower()
    assert not recwarn.list


def test_another_model_s_module_is_told(saved: tuple[Any, Path], tiny: Tiny, tmp_path: Path) -> None:
    _, folder = saved
    other = tmp_path / "other"
    tokenizer = pretrained.load_tokenizer(folder)
    pretrained.save(tiny("qwen3", vocab_size=len(tokenizer)), tokenizer, other)
    assert not (other / FILE).exists()
    shutil.copy(folder / FILE, other / FILE)
    with pytest.raises(StageError, match="is not the MTP module of this model"):
        pretrained.load(other)


def test_a_model_that_has_none_is_as_before(tiny: Tiny) -> None:
    model = tiny("qwen3")
    assert module.of(model) is None
    torch.manual_seed(5)
    before = torch.get_rng_state()
    module.Mtp(model, seed=1)
    assert torch.equal(torch.get_rng_state(), before)  # the training's stream does not know of it
