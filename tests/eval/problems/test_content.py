"""What a problem set holds: the hash changes with everything that decides a score over it, and with nothing else."""

import json
from pathlib import Path

import pytest

from eval.errors import ProblemSetError
from eval.problems import content
from eval.problems.data_folder import VARIABLE
from rewards.registry import RegistryError

SET = '''
import random
from pathlib import Path
from rewards.types import Problem

def riddles(split, n, seed):
    lines = Path(__file__).with_name("riddles.txt").read_text().split()
    return [Problem(id=str(i), prompt=line, answer="1", verifier={verifier!r}, family="x", meta={{"a": {{1}}}})
            for i, line in enumerate(lines)][:n]

def other(split, n, seed):
    return [Problem(id="1", prompt=str(random.random()), answer="1", verifier="math", family="x")]
'''
VERIFIER = '''
from rewards.types import Label, Verdict

def v(problem, completion):
    return Verdict(Label.CORRECT)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sets.py").write_text(SET.format(verifier="ver.py:v"))
    (tmp_path / "riddles.txt").write_text("one two three")
    (tmp_path / "ver.py").write_text(VERIFIER)
    return tmp_path


def held(folder: Path, reference: str = "sets.py:riddles:test", n: int | None = 2) -> str | None:
    return content.content(reference, n, 0, base=folder)


def test_it_changes_with_what_a_plug_in_reads_and_with_its_verifiers(folder: Path) -> None:
    first = held(folder)
    assert first == held(folder)
    (folder / "riddles.txt").write_text("one two four")
    assert held(folder) == first  # the third one was not asked for
    (folder / "riddles.txt").write_text("one six three")
    assert held(folder) != first
    (folder / "riddles.txt").write_text("one two three")
    assert held(folder) == first
    (folder / "ver.py").write_text(VERIFIER.replace("CORRECT", "WRONG"))
    assert held(folder) != first


def test_what_is_made_from_a_seed_needs_no_hash_and_a_file_at_hand_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert held(tmp_path, "word_problems:test") is None
    assert held(tmp_path, "gsm8k:test") is None  # it would have to be downloaded
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    rows = [{"question": f"What is {i}?", "answer": f"#### {i}"} for i in range(3)]
    (tmp_path / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = held(tmp_path, "gsm8k:test")
    rows[0]["answer"] = rows[1]["answer"] = "#### 9"
    (tmp_path / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert first != held(tmp_path, "gsm8k:test")


def test_what_cannot_be_had_is_told(folder: Path) -> None:
    with pytest.raises(ProblemSetError, match="gives other problems when it is asked again"):
        held(folder, "sets.py:other:test", None)
    with pytest.raises(ProblemSetError, match="holds 3 problems; 9 were asked for"):
        held(folder, n=9)
    (folder / "ver.py").unlink()
    with pytest.raises(RegistryError, match="there is no file"):
        held(folder)
