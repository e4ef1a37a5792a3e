"""Rollouts kept piece by piece: what was finished is not asked again, and what is damaged is."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import rollouts
from eval.engine import engine_for
from eval.engine.types import Engine, Request, Sampled, Sampling
from eval.pieces import Pieces
from eval.problems import load
from eval.rollouts import Draws, collect, keep, recall
from pipeline.models.tokenizer import train_tokenizer
from rewards.types import Completion, Label, Verdict

PROBLEMS = load("word_problems:test", 6)
TOKENIZER = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 64)


def test_a_piece_may_have_any_name(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path)
    names = [f"zero-{'한국어/' * 60}{which}" for which in "ab"]
    for number, name in enumerate(names):
        pieces.put(name, [(Completion("", "", number, True), Verdict(Label.CORRECT))])
    assert [pieces.get(name)[0][0].tokens for name in names] == [0, 1]  # type: ignore[index]


class Counted:
    """An engine that counts what it is asked, and fails at the piece of a number."""

    def __init__(self, engine: Engine, fails_at: int | None = None) -> None:
        self.engine, self.fails_at, self.asked = engine, fails_at, 0

    def sample(
        self, requests: Sequence[Request], sampling: Sampling, progress: Any = None, written: Any = None
    ) -> list[list[Sampled]]:
        if self.asked == self.fails_at:
            raise KeyboardInterrupt
        self.asked += 1
        return self.engine.sample(requests, sampling, progress, written)


@pytest.fixture
def engine(tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(rollouts, "PIECE_TOKENS", 1)
    monkeypatch.setattr(rollouts, "PIECE_ROLLOUTS", 4)  # two problems of two rollouts
    return engine_for(tiny("qwen3", vocab_size=len(TOKENIZER), initializer_range=0.05), TOKENIZER)


def ask(engine: Engine, pieces: Pieces | None, seen: list[tuple[int, int]] | None = None) -> list[rollouts.Rollout]:
    def tell(done: int, total: int) -> None:
        if seen is not None:
            seen.append((done, total))

    draws = Draws(2, Sampling(16), (0,))
    if pieces is None:
        return collect(engine, TOKENIZER, PROBLEMS, draws, progress=tell)
    keep(engine, TOKENIZER, PROBLEMS, draws, pieces, progress=tell)
    return recall(PROBLEMS, draws, pieces)


def untimed(found: list[rollouts.Rollout]) -> list[tuple[Any, ...]]:
    return [(one.problem, one.index, one.completion, one.row()) for one in found]


def test_what_was_finished_is_not_asked_again(engine: Engine, tmp_path: Path) -> None:
    whole = ask(engine, None)
    with pytest.raises(KeyboardInterrupt):
        ask(Counted(engine, fails_at=2), Pieces(tmp_path))
    rest = Counted(engine)
    seen: list[tuple[int, int]] = []
    assert untimed(ask(rest, Pieces(tmp_path), seen)) == untimed(whole)
    assert rest.asked == 1
    assert seen[0] == (4, 12)
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_processes_share_the_pieces(engine: Engine, tmp_path: Path) -> None:
    draws = Draws(2, Sampling(16), (0,))
    whole = collect(engine, TOKENIZER, PROBLEMS, draws)
    each = [Counted(engine), Counted(engine)]
    both = [Pieces(tmp_path, place, among=2) for place in (0, 1)]
    for one, pieces in zip(each, both, strict=True):
        for name in ("first", "second"):  # in turn over all that is asked: three pieces each
            keep(one, TOKENIZER, PROBLEMS, draws, pieces, name)
    assert [one.asked for one in each] == [3, 3]
    for pieces in both:
        for name in ("first", "second"):
            assert untimed(recall(PROBLEMS, draws, pieces, name)) == untimed(whole)


def test_a_damaged_piece_is_asked_again(engine: Engine, tmp_path: Path) -> None:
    whole = ask(engine, Pieces(tmp_path))
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) == 3
    files[0].write_text(files[0].read_text()[:-70])
    files[1].write_bytes(files[1].read_bytes().replace(b'"tokens": ', b'"tokens": 1', 1))
    again = Counted(engine)
    assert untimed(ask(again, Pieces(tmp_path))) == untimed(whole)
    assert again.asked == 2


@given(st.lists(st.tuples(st.builds(Completion, st.text(), st.booleans(), st.integers(0, 9), st.booleans()),
                          st.builds(
                              Verdict, st.sampled_from(Label), st.none() | st.text(), st.text(), st.floats(0, 9)
                          )), min_size=1))
def test_a_piece_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, graded: list[tuple[Completion, Verdict]]
) -> None:
    pieces = Pieces(tmp_path_factory.mktemp("pieces"))
    assert pieces.get("a/b") is None
    pieces.put("a/b", graded)
    assert pieces.get("a/b") == graded
    assert pieces.get("a_b") is None
