"""Prompts: what is encoded many at once is what the tokenizer's own template says of each."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.answer_formats import OPEN
from eval.answer_reader import AnswerReader
from eval.assistant_turns import encode_completion, encode_completions
from eval.chat_template import OWN_TEMPLATE
from eval.errors import PromptError
from eval.prompts import (
    R1_ZERO,
    encode_prompts,
    ended,
    plain_text,
    render,
    settled,
)
from eval.protocol import Prompting
from pipeline.models.tokenizer import train_tokenizer
from rewards import foreign

PLAIN = "{{ bos_token }}{% for m in messages %}<user>{{ m['content'] }}{% endfor %}<assistant>"
STRIPPING = "{% for m in messages %}<user>{{ m['content'] | trim }}{% endfor %}<assistant>"
REPEATING = "{% for m in messages %}{{ m['content'] }}<user>{{ m['content'] }}{% endfor %}<assistant>"
prompts = st.lists(st.sampled_from(["Tom has 3 apples.", " Tom", "Tom\n", "", "3", "{prompt} {{ x }}"]), max_size=4)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer(["Tom has 3 apples.\n Tom <think>So 3.</think><answer>3</answer>"], 64)


@pytest.mark.parametrize("template", [PLAIN, STRIPPING, REPEATING])
@given(prompts)
def test_many_at_once_are_what_the_template_says_of_each(tokenizer: Any, template: str, texts: list[str]) -> None:
    tokenizer.chat_template = template
    expected = [
        tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)
        for text in texts
    ]
    assert render(tokenizer, texts) == expected


@given(prompts)
def test_without_a_template_it_is_r1_zeros(tokenizer: Any, texts: list[str]) -> None:
    tokenizer.chat_template = None
    assert render(tokenizer, texts) == [R1_ZERO.replace("{prompt}", text) for text in texts]


@pytest.mark.parametrize(("template", "goes_on"), [
    ("qa", [" 9 * 2 = 18.\n#### 18", "\n\n", "Question: Tom has 3.\nAnswer: #### 3"]),
    ("auto", [" <answer> 18 </answer>", ". User: Tom has 3. Assistant: <answer> 3 </answer>"]),
    ("r1", [" <answer> 18 </answer>", "\nUser: Tom has 3. Assistant: <answer> 3 </answer>"]),
])
def test_a_base_models_next_question_is_no_part_of_its_answer(
    tokenizer: Any, template: Any, goes_on: list[str]
) -> None:
    tokenizer.chat_template = None
    how = ended(settled(tokenizer, Prompting(template=template)))
    begins = min(place for stop in how.stop if (place := "".join(goes_on).find(stop)) >= 0)
    assert "".join(goes_on)[:begins].startswith(goes_on[0])
    assert "Tom" not in "".join(goes_on)[:begins]
    assert ended(settled(tokenizer, Prompting(template=template, stop=("Tom",)))).stop == ("Tom",)
    tokenizer.chat_template = PLAIN
    assert ended(settled(tokenizer, Prompting())).stop == ()


def test_batches_are_the_single_ones(tokenizer: Any) -> None:
    tokenizer.chat_template = PLAIN
    how = Prompting(open_thinking=True)
    one_by_one: Callable[[str], list[int]] = lambda text: encode_prompts(tokenizer, [text], how)[0]  # noqa: E731
    texts = ["Tom has 3 apples.", "3", "Tom"]
    assert encode_prompts(tokenizer, texts, how) == [one_by_one(text) for text in texts]
    assert encode_prompts(tokenizer, ["Tom"], how)[0][-1] == tokenizer.convert_tokens_to_ids(OPEN)
    at_once = encode_completions(tokenizer, [""] * len(texts), texts)
    assert at_once == [encode_completion(tokenizer, text) for text in texts]
    assert [AnswerReader(tokenizer).text(encode_completion(tokenizer, text)) for text in texts] == texts


def test_worked_examples_in_each_template(tokenizer: Any) -> None:
    shots = (("1 + 1?", "2"), ("2 + 2?", "4"))
    assert plain_text(
        "3 + 3?", Prompting("qa", shots=shots)
    ) == "Question: 1 + 1?\nAnswer: 2\n\nQuestion: 2 + 2?\nAnswer: 4\n\nQuestion: 3 + 3?\nAnswer:"
    one = shots[:1]
    assert plain_text(
        "3 + 3?", Prompting("r1", shots=one)
    ) == R1_ZERO.format(prompt="1 + 1?. Assistant: 2\nUser: 3 + 3?")
    tokenizer.chat_template = PLAIN
    (text,) = render(tokenizer, ["3 + 3?"], Prompting("chat", shots=one))
    assert text.endswith("<user>1 + 1?<user>2<user>3 + 3?<assistant>")
    assert render(tokenizer, ["3 + 3?"], Prompting("r1")) == [R1_ZERO.format(prompt="3 + 3?")]
    assert render(tokenizer, ["3 + 3?"], Prompting("auto")) == render(tokenizer, ["3 + 3?"], Prompting("chat"))


@pytest.mark.parametrize("template", [
    "{{ nothing.at.all }}", "{% for %}", "{{ 1 / 0 }}", "{{ messages[7]['x']['y'] }}", "{{ raise_exception('no') }}",
    "{{ ''.__class__.__mro__ }}{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ 'a' * 'b' }}",
    "{% for i in range(10 ** 9) %}{% endfor %}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
])
def test_a_template_that_fails_is_one_line(tokenizer: Any, template: str) -> None:
    tokenizer.chat_template = template
    with pytest.raises(PromptError, match="the tokenizer's chat template fails: ") as caught:
        render(tokenizer, ["3"])
    assert len(caught.value.lines) == 1


class Seen:
    def __init__(self) -> None:
        self.calls: list[object] = []

    def began(self, what: str, seconds: float) -> None:
        self.calls.append((what, seconds))

    def ended(self) -> None:
        self.calls.append("ended")


def test_a_template_is_watched_since_it_may_never_end(tokenizer: Any) -> None:
    tokenizer.chat_template = PLAIN
    with foreign.watched_by(seen := Seen()):
        render(tokenizer, ["3"])
    assert seen.calls[:2] == [("the chat template", foreign.LOADING), "ended"]


@given(st.lists(st.sampled_from(["Tom has 3 apples.", " Tom", "<think>So 3.</think><answer>3</answer>", "", "3\n"])))
def test_completions_of_our_own_template_are_those_of_the_long_way(tokenizer: Any, texts: list[str]) -> None:
    asked = ["Tom"] * len(texts)
    tokenizer.chat_template = OWN_TEMPLATE
    quick = encode_completions(tokenizer, asked, texts)
    tokenizer.chat_template = OWN_TEMPLATE + "{# the same, under another hash #}"
    assert encode_completions(tokenizer, asked, texts) == quick
