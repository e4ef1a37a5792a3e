"""Rollouts that stand inside a page."""

import base64
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline.results.viewer.embedded import embedded
from pipeline.results.viewer.rows import Rollouts
from pipeline.store.run_folder import RunFolder
from tests.pipeline.results.viewer import kept

HOSTILE = "</script><script>alert(1)</script><!--\u2028\ud800\x1b[2J"


def read(text: str) -> dict[str, Any]:
    found = json.loads(gzip.decompress(base64.b64decode(text, validate=True)))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return kept.apples(tmp_path_factory.mktemp("apples"), steps=12, problems=20, each=4)


def test_all_of_a_small_run_is_there(run: RunFolder) -> None:
    found = read(embedded(run, 10**7))
    rollouts = Rollouts(run)
    index = rollouts.index().rows
    assert [dict(zip(found["index"]["keys"], row, strict=True)) for row in found["index"]["rows"]] == index
    assert found["rows"] == {row["id"]: rollouts.row(row["id"]) for row in index}
    assert (found["not_here"], found["left_out"]) == (0, 0)


@pytest.mark.parametrize("most", [3_000, 20_000, 60_000])
def test_what_fits_are_whole_problems_of_every_stage_the_latest_first(run: RunFolder, most: int) -> None:
    text = embedded(run, most)
    assert most / 2 < len(text) <= most
    found = read(text)
    index = Rollouts(run).index().rows
    assert found["not_here"] == len(index) - len(found["rows"])
    assert [row[0] for row in found["index"]["rows"]] == list(found["rows"])
    assert {row["stage"] for row in found["rows"].values()} == {"zero", "traces", "score"}
    all_of = Counter((row["stage"], row["problem"]) for row in index)
    here = Counter((row["stage"], row["problem"]) for row in found["rows"].values())
    assert ("zero", "word_problems-train-0019") in here
    if most > 3_000:  # in less than that not even one problem finds its place
        assert all(count == all_of[problem] for problem, count in here.items())


def test_of_a_problem_that_is_too_large_an_even_choice_is_there(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {step: [kept.rollout(step, 0, number) for number in range(8)] for step in range(1, 41)})
    found = read(embedded(run, 12_000))
    steps = sorted({row["step"] for row in found["rows"].values()})
    assert 5 < len(found["rows"]) < 320
    assert steps[-1] == 40
    assert steps[0] < 10


def test_nothing_in_the_text_ends_an_element_of_a_page(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {1: [kept.rollout(1, 0, 0, text=HOSTILE, problem=HOSTILE, pieces=[], reason=HOSTILE)]})
    text = embedded(run, 10**6)
    assert "<" not in text
    assert "&" not in text
    [row] = read(text)["rows"].values()
    assert row["text"] == row["problem"] == row["reason"] == HOSTILE


def test_the_same_run_gives_the_same_text(run: RunFolder) -> None:
    assert embedded(run, 20_000) == embedded(run, 20_000)


def test_a_run_without_rollouts_or_a_page_without_room_has_none(run: RunFolder, tmp_path: Path) -> None:
    assert embedded(kept.empty_run(tmp_path, "zero"), 10**6) == ""
    assert embedded(run, 50) == ""
