"""The index of what a run kept, and whole rows out of it."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline.results.viewer import rows as module
from pipeline.results.viewer.rows import Rollouts
from pipeline.results.viewer.shape import LIGHT
from tests.pipeline.results.viewer import kept


def test_every_kind_of_stage_is_in_the_index_in_the_order_of_the_recipe(tmp_path: Path) -> None:
    rollouts = Rollouts(kept.apples(tmp_path, steps=3, problems=2, each=2))
    index = rollouts.index()
    assert index.left_out == 0
    assert rollouts.stages() == ["zero", "traces", "score"]
    assert [(row["stage"], row["kind"], row["step"], row["model"]) for row in index.rows] == [
        *[("zero", "grpo", step, "") for step in (1, 2, 3) for _ in range(4)],
        ("traces", "sample", None, ""),
        *[("score", "evaluate", None, model) for model in ("base", "zero") for _ in range(4)],
    ]
    assert all(tuple(row) == LIGHT for row in index.rows)
    assert len({row["id"] for row in index.rows}) == len(index.rows)


def test_a_whole_row_is_what_the_stage_wrote(tmp_path: Path) -> None:
    rollouts = Rollouts(kept.apples(tmp_path, steps=3, problems=2, each=2))
    for row in rollouts.index().rows:
        found = rollouts.row(row["id"])
        assert found is not None
        assert {key: found.get(key) for key in LIGHT} == row
        if row["kind"] == "grpo":
            number = int(row["problem"].rpartition("-")[2])
            assert found.items() >= kept.rollout(row["step"], number, row["rollout"]).items()


def test_rows_of_other_stages_take_the_same_shape(tmp_path: Path) -> None:
    rollouts = Rollouts(kept.apples(tmp_path, steps=1, problems=1, each=1))
    sampled, evaluated = rollouts.index().rows[1], rollouts.index().rows[-1]
    found = rollouts.row(sampled["id"])
    assert found is not None
    assert (found["prompt"], found["thinking"], found["answer"]) == ("How many?", "12 and 7.", "19")
    assert found["verdict"] == "correct"
    found = rollouts.row(evaluated["id"])
    assert found is not None
    assert (found["prompt"], found["thinking"], found["answer"]) == ("How much?", "12 + 7.", "19")
    assert found["rollout"] == 1
    assert (found["set"], found["extracted"], found["solution"]) == ("sums:test", "19", "12 + 7")


def test_a_stage_that_keeps_wrong_answers_too_says_nothing_of_their_verdict(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "traces")
    kept.sample(tmp_path, run, only_correct=False)
    assert [row["verdict"] for row in Rollouts(run).index().rows] == [None]


def test_torn_and_foreign_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero", "score")
    kept.grpo(tmp_path, run, {1: [kept.rollout(1, 0, 0)]})
    made = kept.evaluate(tmp_path, run, {"base": [kept.evaluated(0, 0, "wrong", "It is 21.")]})
    with (made / "base-sums:test.jsonl").open("a") as file:
        file.write('\n7\nnull\n[]\n{"problem": 3, "text": "x"}\n{"problem": "p"}\n{"problem": "p", "te' + "\n")
        file.write('{"a":' * 100_000 + "\n" + json.dumps({"problem": "after", "text": "still read"}))
    index = Rollouts(run).index()
    assert [row["problem"] for row in index.rows] == ["word_problems-train-0000", "test-0", "after"]
    assert index.left_out == 7


@pytest.mark.parametrize(
    "content", [b"", b"no gzip file", gzip.compress(b'{"problem": "p", "text": "x"}\n', mtime=0)[:-12]],
    ids=["empty", "no gzip file", "torn"]
)
def test_a_file_that_is_no_whole_gzip_file_is_counted(tmp_path: Path, content: bytes) -> None:
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {1: [kept.rollout(1, 0, 0)], 2: []})
    (kept.steps_of(tmp_path, "zero") / "step-000002.jsonl.gz").write_bytes(content)
    index = Rollouts(run).index()
    assert [row["step"] for row in index.rows] == [1]
    assert index.left_out == (content != b"")  # an empty file holds what it says: nothing


def test_the_whole_rows_of_a_file_that_is_cut_off_are_read(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    file = kept.write_step(tmp_path, "zero", 1, [kept.rollout(1, 0, number) for number in range(400)])
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    run.link(1, "zero", kept.artifact(tmp_path, "zero", "grpo", "model"))
    rollouts = Rollouts(run)
    index = rollouts.index()
    assert 10 < len(index.rows) < 400
    assert index.left_out == 1
    assert rollouts.row(index.rows[-1]["id"]) is not None


def test_what_is_packed_to_fill_the_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNPACKED", 2**21)
    run = kept.empty_run(tmp_path, "zero")
    kept.grpo(tmp_path, run, {1: [kept.rollout(1, 0, 0), kept.rollout(1, 0, 1, text=" " * 2**23)]})
    index = Rollouts(run).index()
    assert [row["rollout"] for row in index.rows] == [0]
    assert index.left_out == 1


def test_a_row_that_is_too_long_is_left_out_and_the_next_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ROW", 1000)
    run = kept.empty_run(tmp_path, "score")
    rows = [kept.evaluated(number, 0, "wrong", "x" * length) for number, length in enumerate((1, 5000, 2))]
    kept.evaluate(tmp_path, run, {"base": rows})
    rollouts = Rollouts(run)
    index = rollouts.index()
    assert [row["problem"] for row in index.rows] == ["test-0", "test-2"]
    assert index.left_out == 1
    assert (rollouts.row(index.rows[1]["id"]) or {})["text"] == "xx"


def test_values_that_are_none_are_missing_and_the_row_stays(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    wrong = {
        "reward": float("nan"), "advantage": 10**400, "tokens": -1, "step": True, "verdict": "splendid",
        "parts": {"a": "b"},
        "experts": [0.5], "finished": "yes", "sampler_logprobs": [1.0], "experts_busiest": None, "prompt": 7,
        "problem": "p" * 5000,
    }
    kept.grpo(tmp_path, run, {1: [kept.rollout(1, 0, 0, **wrong)]})
    rollouts = Rollouts(run)
    [row] = rollouts.index().rows
    found = rollouts.row(row["id"])
    assert found is not None
    assert found["problem"] == "p" * 300
    assert set(wrong) & set(found) == {"problem", "tokens"}
    assert found["tokens"] == len(found["pieces"]) == len(found["logprobs"])
    assert kept.is_finite(found)


def test_new_steps_of_a_stage_that_goes_on_appear_and_ids_stay(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    run.record("zero", event="started", fingerprint=kept.FINGERPRINT)
    kept.write_step(tmp_path, "zero", 2, [kept.rollout(2, 0, 0)])
    rollouts = Rollouts(run)
    [first] = rollouts.index().rows
    kept.write_step(tmp_path, "zero", 1, [kept.rollout(1, 0, 0)])
    assert [row["step"] for row in rollouts.index().rows] == [1, 2]
    assert rollouts.index().rows[1] == first


def test_a_ledger_leads_to_no_other_folder(tmp_path: Path) -> None:
    run = kept.empty_run(tmp_path, "zero")
    run.record("../../elsewhere", event="started", fingerprint=kept.FINGERPRINT)
    outside = tmp_path / f"elsewhere-{kept.FINGERPRINT[:10]}"
    outside.mkdir()
    (outside / "step-000001.jsonl.gz").write_bytes(gzip.compress(json.dumps(kept.rollout(1, 0, 0)).encode()))
    assert Rollouts(run).index().rows == []


def test_a_row_that_is_gone_since_is_none(tmp_path: Path) -> None:
    rollouts = Rollouts(kept.apples(tmp_path, steps=1, problems=1, each=1))
    ids = [row["id"] for row in rollouts.index().rows]
    for file in (*kept.steps_of(tmp_path, "zero").iterdir(), *(tmp_path / "artifacts").glob("*/*.jsonl")):
        file.unlink()
    assert [rollouts.row(name) for name in ids] == [None] * len(ids)
    assert rollouts.row("../../etc/passwd") is None


def test_whole_rows_come_in_the_order_of_the_index(tmp_path: Path) -> None:
    rollouts = Rollouts(kept.apples(tmp_path, steps=3, problems=2, each=2))
    ids = [row["id"] for row in rollouts.index().rows]
    assert [row["id"] for row in rollouts.whole(reversed(ids[2:9]))] == ids[2:9]
