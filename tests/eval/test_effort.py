"""How long to think, told to a model in the way that it knows."""

from typing import Any

import pytest

from eval.answer_reader import AnswerReader
from eval.effort import LINES
from eval.errors import PromptError
from eval.problems import load
from eval.problems.words import LARGEST_TOTAL
from eval.prompts import encode_prompts, question_text, render, settled
from eval.protocol import EFFORTS, Prompting
from pipeline.models.tokenizer import train_tokenizer

PROBLEM = load("word_problems:train", 1)[0]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def tokenizer(*texts: str, template: str | None = None) -> Any:
    made = train_tokenizer([PROBLEM.prompt, "\n", *texts], 64)
    made.chat_template = template or made.chat_template
    return made


def test_a_vocabulary_without_the_words_is_told_by_numbers() -> None:
    own = tokenizer()
    prompts = [encode_prompts(own, [PROBLEM], Prompting(effort=effort))[0] for effort in EFFORTS]
    assert len({tuple(prompt) for prompt in prompts}) == 3
    assert all(own.unk_token_id not in prompt for prompt in prompts)
    for effort, text in zip(EFFORTS, ("10", "20", "30"), strict=True):
        how = settled(own, Prompting(effort=effort))
        assert render(own, [PROBLEM], how) == [f"<bos><user>{PROBLEM.prompt}\n{text}<assistant>"]
        assert question_text(PROBLEM, how) == PROBLEM.prompt, "rows of `sample` are asked with any effort later"
        assert settled(own, how) == how


def test_the_numbers_stand_in_the_corpus() -> None:
    """Tokens that were never read came to lie close together, and a model can hardly tell them apart."""
    assert all(2 <= int(number) <= LARGEST_TOTAL for number in LINES[-1].values())


def test_words_and_plain_templates() -> None:
    words = tokenizer(*LINES[0].values())
    (text,) = render(words, [PROBLEM.prompt], Prompting("qa", effort="low"))
    assert text == f"Question: {PROBLEM.prompt}\nReasoning effort: low\nAnswer:"
    conversation = [{"role": "user", "content": "3?"}, {"role": "assistant", "content": "3"},
                    {"role": "user", "content": "4?"}]
    assert render(words, [conversation], Prompting(effort="high"))[0].endswith("4?\nReasoning effort: high<assistant>")


def test_the_templates_own_options() -> None:
    gpt = tokenizer(template=TEMPLATE + "{{ reasoning_effort }}{{ enable_thinking }}")
    how = settled(gpt, Prompting(instruction=None, effort="medium"))
    assert (how.template_options, how.effort_line) == ({"reasoning_effort": "medium"}, None)
    qwen = tokenizer(template=TEMPLATE + "{{ enable_thinking }}")
    how = settled(qwen, Prompting(instruction=None, effort="low"))
    assert (how.template_options, how.effort_line) == ({"enable_thinking": True}, "10")
    assert settled(qwen, how.asking("high")).effort_line == "30"
    assert how.asking(None) == how


def test_efforts_that_a_template_refuses() -> None:
    named = "{% if reasoning_effort not in ['low', 'medium', OTHER] %}{{ raise_exception('no') }}{% endif %}" + TEMPLATE
    qwen = tokenizer(template=named.replace("OTHER", "'xhigh'"))
    told = [settled(qwen, Prompting(instruction=None, effort=effort)) for effort in EFFORTS]
    assert [how.template_options["reasoning_effort"] for how in told] == ["low", "medium", "xhigh"]
    assert settled(qwen, told[2]) == told[2]
    nothing = "{% if reasoning_effort is defined %}{{ raise_exception('no') }}{% endif %}"
    other = settled(tokenizer(template=TEMPLATE + nothing), Prompting(instruction=None, effort="high"))
    assert (other.template_options, other.effort_line) == ({}, "30")


def test_thinking_is_switched_on_by_the_name_that_deepseek_has_for_it() -> None:
    deepseek = tokenizer(template=TEMPLATE + "{% if thinking %}<think>{% endif %}")
    assert settled(deepseek, Prompting(instruction=None, effort="low")).template_options == {"thinking": True}


def test_what_no_vocabulary_can_tell_is_one_line() -> None:
    bare = tokenizer()
    bare.backend_tokenizer.model = type(bare.backend_tokenizer.model)({"<unk>": 1}, unk_token="<unk>")
    with pytest.raises(PromptError, match=r"the tokenizer has no tokens that could tell of an effort: .* leave effort"):
        render(bare, [PROBLEM], Prompting(effort="low"))


@pytest.mark.parametrize(("text", "opened", "tokens"), [
    ("<think>So 3.</think><answer>3</answer>", False, 4), ("So 3.</think>3", True, 3), ("3", False, 0),
    ("<think></think>3", False, 1), ("<think>So 3", False, 3), ("So 3", True, 2),
    ("<think>So</think>3 <think>So 3.</think>3", False, 9),
])
def test_tokens_of_thinking_are_counted(text: str, opened: bool, tokens: int) -> None:
    own = train_tokenizer(["So 3.", "<think>So 3.</think><answer>3</answer> <think>So"], 64)
    ids = own(text, add_special_tokens=False)["input_ids"]
    assert AnswerReader(own).thinking_tokens(ids, opened=opened) == tokens


@pytest.mark.parametrize(("text", "begun", "tokens"), [
    ("<answer>3</answer>", 0, 3), ("", 0, 0), ("3</think>3", 0, 1), ("3.<think>3</think>", 0, 2), ("<think>", 0, 0),
    ("</think>3</think>", 1, 2), ("</think>3</think>", 2, 2), ("</think>3</think>", 3, 3),
])
def test_an_answer_ends_where_thinking_begins_again(text: str, begun: int, tokens: int) -> None:
    own = train_tokenizer(["So 3.", "<think>So 3.</think><answer>3</answer> <think>So"], 64)
    ids = own(text, add_special_tokens=False)["input_ids"]
    assert AnswerReader(own).answered(ids, begun) == tokens
