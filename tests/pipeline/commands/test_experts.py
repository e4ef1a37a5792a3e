"""`retort experts`: which texts it reads, and what it says of those that it cannot read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands import cli
from pipeline.disk import durable
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.store.run_folder import RunFolder


@pytest.fixture
def model(tiny: Callable[..., Any], tmp_path: Path) -> str:
    """A saved model with experts; in `a` and in `b` there are texts of one name."""
    tokenizer = train_tokenizer(["one two three"], 64)
    pretrained.save(tiny("qwen3_moe", vocab_size=len(tokenizer)), tokenizer, tmp_path / "tiny")
    for folder, text in (("a", "one two three"), ("b", "one two three\ntwo three\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "texts.txt").write_text(text)
    return str(tmp_path / "tiny")


def test_texts_of_one_name_are_domains_of_their_own(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["experts", model, "a/texts.txt", "b/texts.txt", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["tokens"]) == ["a/texts.txt", "b/texts.txt"]
    assert found["tokens"]["a/texts.txt"] < found["tokens"]["b/texts.txt"]
    assert cli.main(["experts", model, "a/texts.txt", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["tokens"]) == ["texts"]


@pytest.mark.parametrize("capacity", ["0", "inf", "nan"])
def test_a_capacity_that_is_no_number_is_told(
    model: str, capsys: pytest.CaptureFixture[str], capacity: str
) -> None:
    assert cli.main(["experts", model, "a/texts.txt", "--capacity", capacity]) == 2
    assert "--capacity a number above 0" in capsys.readouterr().err


def test_a_text_ends_at_its_line_alone(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for between in (" ", "\u2028", "\f", "\x85"):
        Path("mine.txt").write_text(f"one{between}two\n", encoding="utf-8")
        assert cli.main(["experts", model, "mine.txt", "--most", "1", "--length", "1000", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["tokens"]["mine"])
    assert min(found) == found[0]


def test_what_a_text_of_one_token_does_not_tell_is_null(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("one.txt").write_text("one", encoding="utf-8")
    assert cli.main(["experts", model, "one.txt", "--length", "1", "--json"]) == 0
    written = capsys.readouterr().out
    assert "NaN" not in written
    for layer in json.loads(written)["layers"]:
        assert layer["token_decides"] == {"share": None, "without": None}
        assert (layer["repeats"]["first"], layer["repeats"]["any"]) == (None, None)
    assert cli.main(["experts", model, "one.txt", "--length", "1"]) == 0
    assert "tells its first expert ?% of the time (?% without" in capsys.readouterr().out


def test_a_run_s_dataset_is_a_domain_by_the_run_s_name(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(Path("runs/mine"))
    run.begin("first", {"name": "mine", "stages": {}}, "retort run mine")
    folder = Path("runs/artifacts/traces-0123456789")
    folder.mkdir(parents=True)
    (folder / "data.jsonl").write_text(json.dumps({"text": "one two"}) + "\n")
    durable.write_json(folder / "stage.json", {
        "name": "traces", "kind": "sample", "makes": "dataset", "fingerprint": "0123456789", "seconds": 1.0,
        "config": {}, "inputs": {}, "metrics": {}, "files": {},
    })
    run.link(1, "traces", folder)
    assert cli.main(["experts", model, "mine:traces", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["tokens"]) == ["traces"]
    for text in ("mine:other", "nobody:traces"):
        assert cli.main(["experts", model, text]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("held", "texts", "said"), [
    (b"", ["mine.txt"], "mine.txt: has no texts"),
    (b"\n \n", ["mine.txt"], "mine.txt: has no texts"),
    (b"L\xf6we", ["mine.txt"], "mine.txt: is no text in UTF-8 (byte 1)"),
    (b"one", ["mine.txt", "mine.txt"], "mine.txt is given twice; each domain is given once"),
])
def test_texts_that_cannot_be_read_are_told_in_a_line(
    model: str, capsys: pytest.CaptureFixture[str], held: bytes, texts: list[str], said: str
) -> None:
    Path("mine.txt").write_bytes(held)
    assert cli.main(["experts", model, *texts]) == 2
    assert capsys.readouterr().err.endswith(f"{said}\n")  # behind bars of what was loaded
