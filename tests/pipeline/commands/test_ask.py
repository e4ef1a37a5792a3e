"""`retort ask` of a model whose positions end."""

from pathlib import Path

import pytest

from eval.prompts import encode_prompt
from pipeline.commands import ask, cli
from pipeline.models import pretrained, special_tokens
from pipeline.models.build import build
from pipeline.models.tokenizer import train_tokenizer

QUESTION = "Tom has 3 apples. How many apples does Tom have?"


def test_answers_end_where_learned_positions_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = train_tokenizer([f"{QUESTION} <think>So 3.</think><answer>3</answer>"], 64)
    positions = len(encode_prompt(tokenizer, QUESTION)) + 5
    learned = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": positions}
    pretrained.save(build(learned, len(tokenizer), 0, special_tokens.ids(tokenizer)), tokenizer, tmp_path / "learned")
    monkeypatch.setattr(ask, "model_of", lambda _: (tmp_path / "learned", "base"))
    assert cli.main(["ask", "run", "base", QUESTION]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "(stopped after 5 tokens)"
    assert cli.main(["ask", "run", "base", f"{QUESTION} {QUESTION}"]) == 2
    assert f"and base reads {positions} with its answer; ask something shorter" in capsys.readouterr().err
