"""The command that starts vLLM; that it serves is tried in `tests/eval/vllm` and by `make vllm`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from pipeline.commands import cli
from pipeline.exports import mxfp4
from pipeline.models.tokenizer import train_tokenizer


def saved(tiny: Callable[..., Any], folder: Path) -> None:
    tiny("qwen3").save_pretrained(folder)
    train_tokenizer(["3"], 48).save_pretrained(folder)


def test_the_command_can_be_read_before_it_is_run(
    tmp_path: Path, tiny: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tiny, tmp_path / "model")
    asked = ["serve-rollouts", str(tmp_path), "--python", "/opt/vllm/bin/python", "--port", "81", "--experts"]
    assert cli.main([*asked, "--dry-run"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("VLLM_SERVER_DEV_MODE=1 ")
    assert "/opt/vllm/bin/python -m vllm.entrypoints.openai.api_server" in line
    # an artifact's model, and this machine alone
    assert f"--model {tmp_path / 'model'} " in line
    assert "--host 127.0.0.1 --port 81" in line
    assert "--enable-return-routed-experts" in line
    assert "--dtype float32" in line  # as it was saved, where vLLM would take bfloat16


def test_weights_of_which_nothing_is_said_are_asked_about(
    tmp_path: Path, tiny: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tiny, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({name: config[name] for name in config if name != "dtype"}))
    asked = ["serve-rollouts", str(tmp_path), "--python", "/opt/vllm/bin/python", "--dry-run"]
    assert cli.main(asked) == 2
    assert "does not say what its weights are in; give --dtype float32 or bfloat16" in capsys.readouterr().err
    assert cli.main([*asked, "--dtype", "bfloat16"]) == 0
    assert "--dtype bfloat16" in capsys.readouterr().out


def test_a_quantized_model_is_not_served_and_its_widened_copy_is(
    tmp_path: Path, tiny: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = train_tokenizer(["3"], 48)
    model = tiny("gpt_oss", hidden_size=64, intermediate_size=32, vocab_size=len(words))
    mxfp4.write(model, words, tmp_path / "given")
    serve = ["--python", "/opt/vllm/bin/python", "--dry-run", "--dtype", "bfloat16"]
    assert cli.main(["serve-rollouts", "given", *serve]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("given is quantized (mxfp4)")
    assert "`retort export given --to vllm`" in said
    assert cli.main(["export", "given", "--to", "vllm"]) == 0
    assert cli.main(["serve-rollouts", "exports/given-vllm", *serve]) == 0
    assert "--model exports/given-vllm " in capsys.readouterr().out
    with safe_open(tmp_path / "exports" / "given-vllm" / "model.safetensors", "pt") as stored:
        assert not [name for name in stored.keys() if name.endswith(("_blocks", "_scales"))]  # noqa: SIM118


def test_what_weights_are_in_is_known_of_models_that_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their config says it outside of the block that text has in it."""
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).touch()
    config = {"model_type": "gemma3", "dtype": "bfloat16", "text_config": {"model_type": "gemma3_text"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    asked = ["serve-rollouts", str(tmp_path), "--python", "/opt/vllm/bin/python", "--dry-run"]
    assert cli.main(asked) == 0
    assert "--dtype bfloat16" in capsys.readouterr().out
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "fp8"}}))
    assert cli.main(asked) == 2
    assert "is quantized (fp8)" in capsys.readouterr().err


def test_a_program_that_is_not_there_is_one_line(
    tmp_path: Path, tiny: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tiny, tmp_path)
    assert cli.main(["serve-rollouts", str(tmp_path), "--python", "/nowhere/python"]) == 2
    assert "there is no program /nowhere/python" in capsys.readouterr().err


def test_the_exit_code_is_the_servers(tmp_path: Path, tiny: Callable[..., Any]) -> None:
    saved(tiny, tmp_path)
    assert cli.main(["serve-rollouts", str(tmp_path), "--python", "false"]) == 1
    assert cli.main(["serve-rollouts", str(tmp_path), "--python", "true"]) == 0
