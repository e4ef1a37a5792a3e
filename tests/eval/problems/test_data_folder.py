"""Local problem files, and one plain line where there is none."""

import json

import pytest

from eval.errors import ProblemSetError
from eval.problems.data_folder import VARIABLE, Source, data_folder, use_data_folder

SOURCE = Source("riddles", "nobody/riddles", ("train", "test"), ("question", "answer"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return tmp_path


def complaint(source: Source, split: str = "test") -> str:
    with pytest.raises(ProblemSetError) as caught:
        source.rows(split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_come_from_the_folder_in_order(folder):
    rows = [{"question": f"{i}?", "answer": str(i)} for i in range(3)]
    (folder / "riddles_test.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    assert SOURCE.rows("test") == rows


def test_the_option_sets_the_variable_for_child_processes(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv(VARIABLE, "")
    assert data_folder() is None
    use_data_folder(tmp_path)
    assert data_folder() == tmp_path.resolve()
    with pytest.raises(ProblemSetError, match="does not exist"):
        use_data_folder(tmp_path / "absent")


def test_broken_files_are_one_line_with_the_place(folder):
    file = folder / "riddles_test.jsonl"
    file.write_text('{"question": "1?", "answer": "1"}\n{"question": \n')
    assert f"{file}:2 is not JSON" in complaint(SOURCE)
    file.write_text('["a list"]\n')
    assert f"{file}:1 is not a JSON object" in complaint(SOURCE)
    file.write_text('{"question": "1?"}\n')
    assert complaint(SOURCE) == f"{file}, row 1 has no column 'answer'; it has 'question'"
    file.write_bytes(b"\xff\xfe")
    assert f"{file} is UTF-16; save it as UTF-8" in complaint(SOURCE)


def test_unknown_splits_and_folders(folder, monkeypatch):
    unknown = complaint(SOURCE, "tets")
    assert unknown == "problem set 'riddles' has no split 'tets'; write riddles:train or riddles:test"
    monkeypatch.setenv(VARIABLE, str(folder / "absent"))
    assert "does not exist" in complaint(SOURCE)


def test_without_a_file_or_a_hub_the_line_says_what_to_do(folder, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    text = complaint(SOURCE)
    assert text.startswith("nobody/riddles cannot be read")
    assert text.endswith(f"{folder} does not hold riddles_test.jsonl either")
    monkeypatch.setenv(VARIABLE, "")
    hint = "put riddles_test.jsonl into a folder and name it with --data or RETORT_DATA"
    assert complaint(SOURCE).endswith(hint)


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch):
    """Port 9 of this machine, where nothing listens, stands in for a hub behind a broken network."""
    import huggingface_hub.constants
    import huggingface_hub.hf_api

    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert complaint(SOURCE).startswith("the hub cannot be reached for nobody/riddles (")
