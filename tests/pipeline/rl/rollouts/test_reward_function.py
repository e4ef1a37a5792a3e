"""The reward of GRPO: what the rubric gives, found in the background or when it is asked."""

import contextlib
import copy
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eval.answer_reader import AnswerReader
from eval.engine.types import Sampled
from eval.problems import load
from eval.protocol import Prompting
from pipeline.models.tokenizer import train_tokenizer
from pipeline.rl.rollouts.reward_function import RewardFunction
from rewards.rubric import Rubric
from rewards.types import Problem

PROBLEMS = load("word_problems:train", 8)
TOKENIZER = train_tokenizer([p.prompt + " <think>So 3.</think><answer>3</answer>" for p in PROBLEMS], 96)

def encode(text: str) -> list[int]:
    ids: list[int] = TOKENIZER(text)["input_ids"]
    return ids


def rollouts(*drawn: list[int], forced: tuple[range, ...] = ()) -> list[Sampled]:
    """Rollouts of these ids, of which those at `forced` were not drawn."""
    return [Sampled(ids, [0.0] * len(ids), True, forced=forced) for ids in drawn]


def test_the_reward_is_the_rubrics_total_or_nothing() -> None:
    right = PROBLEMS[0]
    broken = Problem("broken", "?", "\\frac{1}{", "math", "broken")
    reward = RewardFunction({right.id: right, "broken": broken}, Rubric(rules={"format": 0.5}), AnswerReader(TOKENIZER))
    eos = TOKENIZER.eos_token_id
    good = [*encode(f"<think>So 3.</think><answer>{right.answer}</answer>"), eos]
    bare = [*encode(right.answer), eos]
    cut = encode("<think>So")
    assert reward.finish([right.id] * 3, rollouts(good, bare, cut)) == [1.5, 1.0, 0.0]  # halves are kept exactly
    assert reward.verdicts == {"correct": pytest.approx(2 / 3), "truncated": pytest.approx(1 / 3)}
    assert reward.parts == {"correct": pytest.approx(2 / 3), "format": pytest.approx(1 / 3)}
    assert reward.finish([right.id, "broken"], rollouts(good, good)) == [1.5, None]
    assert reward.verdicts["ungradable"] == 0.5
    assert reward.parts == {"correct": 1.0, "format": 1.0}


def test_what_a_tool_wrote_is_no_answer_of_the_models() -> None:
    right = PROBLEMS[0]
    before, told, after = encode("<think>So 3.</think>"), encode(f"<answer>{right.answer}</answer>"), encode("3")
    ids = [*before, *told, *after, TOKENIZER.eos_token_id]
    place = range(len(before), len(before) + len(told))
    [by_tool], [by_itself] = rollouts(ids, forced=(place,)), rollouts(ids)
    reward = RewardFunction({right.id: right}, Rubric(), AnswerReader(TOKENIZER), tools=True)
    assert right.answer != "3"
    assert reward.finish([right.id] * 2, [by_tool, by_itself]) == [0.0, 1.0]
    assert [one.verdict.label for one in reward.told] == ["wrong", "correct"]
    # A thinking that is closed for the model is no tool's doing.
    without = RewardFunction({right.id: right}, Rubric(), AnswerReader(TOKENIZER))
    assert without.finish([right.id], [by_tool]) == [1.0]


def test_an_opened_thinking_is_graded_as_part_of_the_text() -> None:
    right = PROBLEMS[0]
    reward = RewardFunction({right.id: right}, Rubric(rules={"format": 0.5}), AnswerReader(TOKENIZER), [right.id])
    rest = [*encode(f"So 3.</think><answer>{right.answer}</answer>"), TOKENIZER.eos_token_id]
    assert reward.finish([right.id], rollouts(rest)) == [1.5]


@pytest.mark.parametrize("opened_by", ["the template", "the recipe"])
def test_whoever_opens_the_thinking_the_reward_knows_of_it(opened_by: str) -> None:
    right, tokenizer = PROBLEMS[0], copy.deepcopy(TOKENIZER)
    if opened_by == "the template":
        tokenizer.chat_template += "{% if add_generation_prompt %}<think>{% endif %}"
    how = Prompting(open_thinking=opened_by == "the recipe")
    model: Any = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=None))
    reward = RewardFunction.of([right], Rubric(rules={"format": 0.5}), model, tokenizer, how)
    rest = [*encode(f"So 3.</think><answer>{right.answer}</answer>"), TOKENIZER.eos_token_id]
    unfinished = encode(f"So <answer>{right.answer}</answer>")
    assert reward.finish([right.id] * 2, rollouts(rest, unfinished)) == [1.5, 0.0]
    assert reward.verdicts == {"correct": 0.5, "truncated": 0.5}


def test_what_was_begun_is_counted_whether_or_not_it_is_asked_for() -> None:
    right = PROBLEMS[0]
    reward = RewardFunction({right.id: right}, Rubric(rules={"format": 0.5}), AnswerReader(TOKENIZER))
    good = [*encode(f"<think>So 3.</think><answer>{right.answer}</answer>"), TOKENIZER.eos_token_id]
    cut = encode("<think>So")
    for ids in (good, good, cut, cut):
        reward.begin(right.id, *rollouts(ids))
    assert reward.totals([right.id] * 2, rollouts(cut, good)) == [0.0, 1.5]
    assert reward.finish([right.id], rollouts(good)) == [1.5]
    assert reward.verdicts == {"correct": 0.5, "truncated": 0.5}  # as often as they were begun
    assert reward.finish([right.id], rollouts(cut)) == [0.0]
    assert reward.verdicts == {"truncated": 1.0}


def test_what_was_not_graded_is_dropped_when_its_owner_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    right, go_on, begun = PROBLEMS[0], threading.Event(), threading.Event()
    reward = RewardFunction({right.id: right}, Rubric(), AnswerReader(TOKENIZER))
    graded: list[str] = []

    def slow(_self: Rubric, problem: Problem, *_: object) -> None:
        begun.set()
        go_on.wait(10)
        graded.append(problem.id)

    monkeypatch.setattr(Rubric, "alone", slow)
    with contextlib.suppress(KeyboardInterrupt), reward:
        for number in range(1, 50):
            reward.begin(right.id, *rollouts(encode("3 " * number)))
        assert begun.wait(10)
        threading.Timer(0.2, go_on.set).start()
        raise KeyboardInterrupt
    assert graded == [right.id]


RANK = """
asked = []
def rank(completions, completion_ids, trainer_state, **kwargs):
    asked.append((len(completions), trainer_state.global_step))
    return [float(sorted(map(len, completion_ids)).index(len(ids))) for ids in completion_ids]
def calls(completions, **kwargs): return [float(len(asked)) for _ in completions]
def some(completions, **kwargs): return [1.0 if len(one) > 2 else None for one in completions]
"""


def ranked(folder: Path, **rules: float) -> RewardFunction:
    (folder / "mine.py").write_text(RANK)
    rubric = Rubric.model_validate(
        {"correct": 0, "rules": {f"trl:mine.py:{name}": weight for name, weight in rules.items()}},
        context={"base": folder},
    )
    return RewardFunction({problem.id: problem for problem in PROBLEMS}, rubric, AnswerReader(TOKENIZER))


def test_rules_of_a_group_see_it_whole_and_once(tmp_path: Path) -> None:
    reward = ranked(tmp_path, rank=1.0, calls=0.0)
    one, two = PROBLEMS[0].id, PROBLEMS[1].id
    short, long = encode("3"), encode("3 3 3 3")
    names, drawn = [one, one, one, two, two], [long, short, short, short, long]
    for name, ids in zip(names, drawn, strict=True):
        reward.begin(name, *rollouts(ids))
    # Equal texts are there as often as they were drawn.
    assert reward.totals(names[:3], rollouts(*drawn[:3])) == [2.0, 0.0, 0.0]
    assert reward.totals(names[3:], rollouts(*drawn[3:])) == [0.0, 1.0]
    assert reward.finish(names, rollouts(*drawn)) == [2.0, 0.0, 0.0, 0.0, 1.0]
    # of the second group, which was asked about when both had been
    assert reward.scales.figures()["reward/calls/most"] == 2.0
    assert reward.parts == {"correct": 0.0, "rank": pytest.approx(3 / 5), "calls": pytest.approx(7 / 5)}


def test_two_groups_of_a_problem_side_by_side_are_two(tmp_path: Path) -> None:
    reward = ranked(tmp_path, rank=1.0)
    reward.group_size = 2
    one, short, long = PROBLEMS[0].id, encode("3"), encode("3 3 3 3")
    assert reward.finish([one] * 4, rollouts(short, long, long, long)) == [0.0, 1.0, 0.0, 0.0]


def test_groups_that_gave_way_are_counted_with_the_others(tmp_path: Path) -> None:
    reward = ranked(tmp_path, rank=1.0)
    one, two = PROBLEMS[0].id, PROBLEMS[1].id
    short, long = encode("3"), encode("3 3 3 3")
    for name, ids in ((one, short), (one, short), (two, short), (two, long)):
        reward.begin(name, *rollouts(ids))
    assert reward.totals([one, one], rollouts(short, short)) == [0.0, 0.0]
    assert reward.totals([two, two], rollouts(short, long)) == [0.0, 1.0]
    assert reward.finish([two, two], rollouts(short, long)) == [0.0, 1.0]
    assert reward.parts["rank"] == 0.25
    assert reward.finish([one], rollouts(long)) == [0.0]
    assert reward.parts["rank"] == 0.0


def test_a_rule_that_does_not_apply_is_in_no_mean(tmp_path: Path) -> None:
    reward = ranked(tmp_path, some=1.0)
    assert reward.finish([PROBLEMS[0].id] * 2, rollouts(encode("3"), encode("3 3 3 3"))) == [None, 1.0]
    assert reward.parts == {"correct": 0.0, "some": 1.0}


def test_a_resumed_training_counts_its_rounds_on(tmp_path: Path) -> None:
    reward, again = ranked(tmp_path, rank=1.0), ranked(tmp_path, rank=1.0)
    reward.finish([PROBLEMS[0].id] * 2, rollouts(encode("3"), encode("3 3")))
    again.restore(json.loads(json.dumps(reward.state())))
    assert again.rounds == reward.rounds == 1
    assert again.scales.figures() == reward.scales.figures() == {"reward/rank/least": 0.0, "reward/rank/most": 1.0}
    assert reward.scales.notes() == again.scales.notes() != []
    assert reward.scales.notes() == []
