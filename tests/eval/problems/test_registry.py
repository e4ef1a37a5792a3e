from pathlib import Path

import pytest

from eval.errors import ProblemSetError
from eval.problems import is_at_hand, load, require_held
from eval.problems.data_folder import VARIABLE
from eval.problems.registry import HOLDS, PROBLEMS, PUBLISHED

MADE = sorted(set(HOLDS) - PUBLISHED)


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def test_every_built_in_set_says_what_it_holds() -> None:
    assert {entry.name for entry in PROBLEMS.entries() if entry.origin == "built-in"} == set(HOLDS)
    assert set(HOLDS) >= PUBLISHED


@pytest.mark.faults
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_made_set_gives_as_many_as_it_says(name: str, split: str, seed: int) -> None:
    assert len(load(f"{name}:{split}", HOLDS[name][split], seed)) == HOLDS[name][split]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", MADE)
def test_a_made_set_knows_its_splits(name: str, split: str) -> None:
    assert len(load(f"{name}:{split}", 3)) == 3
    with pytest.raises(ProblemSetError):
        load(f"{name}:trian", 3)


@pytest.mark.parametrize(("reference", "n", "said"), [
    ("programs:trian", None, "problem set 'programs' has no split 'trian'; write programs:train or programs:test"),
    ("aime2024:train", 1, "problem set 'aime2024' has no split 'train'; write aime2024:test"),
    ("aime2024:test", 512, "aime2024:test holds 30 problems; 512 were asked for"),
    ("little_countdown:train", 10_000, "little_countdown:train holds 9,000 problems; 10,000 were asked for"),
    ("gym:sums:tset", None, "has no split 'tset'"),
])
def test_what_cannot_be_had_is_known_without_reading(reference: str, n: int | None, said: str) -> None:
    with pytest.raises(ProblemSetError) as caught:
        require_held(reference, n)
    assert said in str(caught.value)


def test_what_can_be_had_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_held("aime2024:test", 30)
    require_held("programs:train", None)
    require_held("mine.jsonl:train", 10**6)  # of files nothing is known without reading them
    assert not is_at_hand("aime2024:test")
    assert is_at_hand("programs:test")
    # A data folder may hold more than was published.
    (tmp_path / "aime2024_test.jsonl").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    require_held("aime2024:test", 31)
    assert is_at_hand("aime2024:test")
