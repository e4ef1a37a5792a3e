"""Prompts, completions, ends and answers with the tokenizers of real models, held against their own chat templates."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.answer_reader import AnswerReader
from eval.assistant_turns import encode_completion, encode_completions
from eval.chat_template import TODAY
from eval.ends import ends_of, turn_ends
from eval.errors import PromptError
from eval.instructions import DEFAULTS
from eval.prompts import encode_prompt, encode_prompts, render, settled
from eval.protocol import Prompting
from rewards.grade import grade
from rewards.types import Completion, Label, Problem

Real = Callable[[str], Any]
NAMES = ("qwen3", "deepseek_v3", "llama3_1", "gemma3", "gptoss")
OPTIONS: Mapping[str, list[dict[str, Any]]] = {
    "qwen3": [{}, {"enable_thinking": True}, {"enable_thinking": False}],
    "gptoss": [{}, {"reasoning_effort": "low"}, {"reasoning_effort": "high", "model_identity": "You are Retort."}],
}
CASES = [(name, options) for name in NAMES for options in OPTIONS.get(name, [{}])]

# The eos_token_id of each generation_config.json: Qwen/Qwen3-8B, deepseek-ai/DeepSeek-V3,
# meta-llama/Llama-3.1-8B-Instruct, google/gemma-3-4b-it and openai/gpt-oss-20b on the Hugging Face hub.
PUBLISHED: Mapping[str, int | list[int]] = {
    "qwen3": [151645, 151643], "deepseek_v3": 1, "llama3_1": [128001, 128008, 128009], "gemma3": [1, 106],
    "gptoss": [200002, 199999, 200012],
}
TURN_ENDS = {"qwen3": "<|im_end|>", "deepseek_v3": "<｜end▁of▁sentence｜>", "llama3_1": "<|eot_id|>",
             "gemma3": "<end_of_turn>", "gptoss": "<|return|>"}

texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from([
        " ", "\n", "\n\n", "\t", "Tom has 3 apples.", "<think>", "</think>", "<|im_end|>", "<|eot_id|>", "<|channel|>",
        "{{ bos_token }}", "/no_think", "\u2028", "\u00e9", "\U0001f642", "<end_of_turn>", "<tool_response>", "ÿ",
    ]), max_size=6).map("".join),
)


def as_the_template_says(tokenizer: Any, messages: list[dict[str, Any]], *, asks: bool, **options: Any) -> list[int]:
    dated = tokenizer.chat_template.replace('strftime_now("%Y-%m-%d")', f"'{TODAY}'")
    found: list[int] = tokenizer.apply_chat_template(
        messages, chat_template=dated, add_generation_prompt=asks, tokenize=True, return_dict=False, **options
    )
    return found


@pytest.mark.parametrize(("name", "options"), CASES)
@settings(max_examples=25)
@given(st.lists(texts, min_size=1, max_size=3), st.sampled_from([None, "You are brief."]), st.booleans())
def test_prompts_are_what_the_template_says(
    real_tokenizer: Real, name: str, options: dict[str, Any], asked: list[str], system: str | None, worked: bool
) -> None:
    tokenizer = real_tokenizer(name)
    shots = (("1 + 1?", "2"), ("2 + 2?", " 4 ")) if worked else ()
    how = Prompting(system=system, shots=shots, template_options=options)
    before = [{"role": "system", "content": system}] if system else []
    for question, solution in shots:
        before += [{"role": "user", "content": question}, {"role": "assistant", "content": solution}]
    assert encode_prompts(tokenizer, asked, how) == [
        as_the_template_says(tokenizer, [*before, {"role": "user", "content": text}], asks=True, **options)
        for text in asked
    ]


@pytest.mark.parametrize(("name", "options"), CASES)
@settings(max_examples=25)
@given(texts.filter(lambda text: "<think>" not in text and "</think>" not in text and "<|channel|>" not in text), texts)
def test_a_row_is_what_the_template_says(
    real_tokenizer: Real, name: str, options: dict[str, Any], said: str, asked: str
) -> None:
    """Up to the token that ends the turn; what a template writes behind that is no model's to write."""
    tokenizer = real_tokenizer(name)
    how = Prompting(template_options=options)
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    whole = as_the_template_says(tokenizer, turns, asks=False, **options)
    end = tokenizer.convert_tokens_to_ids(TURN_ENDS[name])
    whole = whole[: len(whole) - whole[::-1].index(end)]
    row = encode_prompt(tokenizer, asked, how) + encode_completion(tokenizer, said, asked, how)
    assert row[-1] == end
    # Qwen3 writes the prompt without thinking otherwise once the answer is there: as one with an empty one. Where an
    # answer begins with a line break, the last one of the prompt belongs to the same token.
    assert tokenizer.decode(row) == tokenizer.decode(whole)
    if not said[:1].isspace():
        assert row == whole


@pytest.mark.parametrize("name", ["qwen3", "gptoss"])
def test_thinking_stands_where_the_template_has_it(real_tokenizer: Real, name: str) -> None:
    tokenizer = real_tokenizer(name)
    (ids,) = encode_completions(tokenizer, ["1 + 1?"], ["<think>So 2.</think>It is 2."])
    expected = {
        "qwen3": "<think>\nSo 2.\n</think>\n\nIt is 2.<|im_end|>",
        "gptoss": "<|channel|>analysis<|message|>So 2.<|end|><|start|>assistant<|channel|>final<|message|>It is 2."
                  "<|return|>",
    }
    assert tokenizer.decode(ids) == expected[name]
    assert AnswerReader(tokenizer).text(ids).replace("\n", "") == "<think>So 2.</think>It is 2."


@pytest.mark.parametrize("name", ["deepseek_v3", "llama3_1", "gemma3"])
def test_thinking_is_text_where_the_template_knows_none(real_tokenizer: Real, name: str) -> None:
    tokenizer = real_tokenizer(name)
    text = "<think>So 2.</think>\n<answer>2</answer>"
    ids = encode_completion(tokenizer, text, "1 + 1?")
    assert tokenizer.decode(ids) == text + TURN_ENDS[name]
    assert AnswerReader(tokenizer).text(ids) == text


@pytest.mark.parametrize("name", NAMES)
def test_every_published_end_ends_an_answer(real_tokenizer: Real, name: str) -> None:
    tokenizer, published = real_tokenizer(name), PUBLISHED[name]
    model: Any = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=published))
    ends = ends_of(tokenizer, model)
    assert ends == {*(published if isinstance(published, list) else [published]), tokenizer.eos_token_id}
    assert tokenizer.convert_tokens_to_ids(TURN_ENDS[name]) in turn_ends(tokenizer)
    reader = AnswerReader(tokenizer, ends)
    body = tokenizer.encode("The answer is 2.", add_special_tokens=False)
    for end in ends:
        assert reader.ended([*body, end])
        assert reader.text([*body, end]) == "The answer is 2."
    assert not reader.ended(body)


def test_a_base_tokenizer_with_a_chat_template_ends_as_the_template_does(real_tokenizer: Real) -> None:
    tokenizer = real_tokenizer("qwen3")
    kept = tokenizer.eos_token
    try:
        tokenizer.eos_token = "<|endoftext|>"  # as Qwen3's base models have it
        model: Any = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=151643))
        assert ends_of(tokenizer, model) == {151643, 151645}
        assert encode_completion(tokenizer, "2", "1 + 1?")[-1] == 151645
    finally:
        tokenizer.eos_token = kept


BOX = "\\boxed{2}"
PROBLEM = Problem("p", "1 + 1?", "2", "math", "sums")


@pytest.mark.parametrize(("raw", "text", "label"), [
    (f"<|channel|>analysis<|message|>So {BOX}", f"<think>So {BOX}", Label.TRUNCATED),
    (f"<|channel|>analysis<|message|>So {BOX}<|end|>", f"<think>So {BOX}", Label.TRUNCATED),
    (f"<|channel|>analysis<|message|>So {BOX}<|end|><|start|>assistant<|channel|>final", f"<think>So {BOX}",
     Label.TRUNCATED),
    (f"<|channel|>analysis<|message|>Is it </think>{BOX}", f"<think>Is it < /think>{BOX}", Label.TRUNCATED),
    (f"<|channel|>analysis<|message|>So.<|end|><|start|>assistant<|channel|>final<|message|>{BOX}<|return|>",
     f"<think>So.</think>{BOX}", Label.CORRECT),
    (f"<|channel|>analysis<|message|>So {BOX}.<|end|><|start|>assistant<|channel|>final<|message|>\\boxed{{3}}",
     f"<think>So {BOX}.</think>\\boxed{{3}}", Label.WRONG),
    (f"<|channel|>final<|message|>{BOX}<|return|>", BOX, Label.CORRECT),
    (f"<|channel|>analysis<|message|>So.<|end|><|start|>assistant to=functions.f<|channel|>commentary "
     f"<|constrain|>json<|message|>{BOX}<|call|>", f"<think>So.\n{BOX}", Label.NO_ANSWER),
    (f"<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>final<|message|>{BOX}<|return|>",
     f"<think>I look.</think>{BOX}", Label.CORRECT),
    (f"So it is {BOX}<|return|>", f"So it is {BOX}", Label.CORRECT),
])
def test_of_gpt_oss_only_the_channel_final_is_the_answer(
    real_tokenizer: Real, raw: str, text: str, label: Label
) -> None:
    tokenizer = real_tokenizer("gptoss")
    reader = AnswerReader(tokenizer, {200002, 199999, 200012})
    ids = tokenizer.encode(raw, add_special_tokens=False)
    found = reader.completion(ids, opened=False, finished=reader.ended(ids))
    assert found.text == text
    assert grade(PROBLEM, found).label is label


THINKING = (  # the end of Qwen3-4B-Thinking-2507's template, and of DeepSeek-R1's
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


@pytest.mark.parametrize("open_thinking", [False, True])
def test_a_template_that_opens_the_thinking_opens_it_once(real_tokenizer: Real, open_thinking: bool) -> None:
    tokenizer = real_tokenizer("qwen3")
    kept, tokenizer.chat_template = tokenizer.chat_template, THINKING
    try:
        how = Prompting(open_thinking=open_thinking)
        (text,) = render(tokenizer, ["1 + 1?"], how)
        assert text.endswith("assistant\n<think>\n")
        assert text.count("<think>") == 1
        reader = AnswerReader(tokenizer)
        assert reader.opens(encode_prompt(tokenizer, "1 + 1?", how))
        cut = tokenizer.encode(f"So {BOX}")
        assert grade(PROBLEM, reader.completion(cut, opened=True, finished=False)).label is Label.TRUNCATED
        row = encode_completion(tokenizer, f"<think>So.</think>{BOX}", "1 + 1?", how)
        assert tokenizer.decode(row) == f"So.</think>{BOX}<|im_end|>"
        bare = encode_completion(tokenizer, BOX, "1 + 1?", how)
        assert tokenizer.decode(bare) == f"</think>{BOX}<|im_end|>"
    finally:
        tokenizer.chat_template = kept


@pytest.mark.parametrize(("name", "options", "said"), [
    ("qwen3", {"enable_thinkin": True}, "no option 'enable_thinkin'; did you mean 'enable_thinking'?"),
    ("gptoss", {"enable_thinking": True}, "no option 'enable_thinking'"),
    ("llama3_1", {"reasoning_effort": "low"}, "no option 'reasoning_effort'; it knows none"),
])
def test_an_option_that_the_template_does_not_know_is_told(
    real_tokenizer: Real, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(PromptError, match=said):
        settled(real_tokenizer(name), Prompting(template_options=options))


@pytest.mark.parametrize("name", NAMES)
def test_chat_models_are_told_how_to_answer(real_tokenizer: Real, name: str) -> None:
    tokenizer = real_tokenizer(name)
    (text,) = render(tokenizer, [PROBLEM], Prompting())
    assert f"1 + 1?\n\n{DEFAULTS['math']}" in text
    assert "boxed" not in render(tokenizer, [PROBLEM], Prompting(instruction=None))[0]
    assert "boxed" not in render(tokenizer, ["1 + 1?"], Prompting())[0]
    around = Prompting(instruction="Q: {question} Think, then answer.")
    assert "Q: 1 + 1? Think, then answer." in render(tokenizer, [PROBLEM], around)[0]


def test_programs_keep_their_spaces(real_tokenizer: Real) -> None:
    for name in NAMES:
        tokenizer = real_tokenizer(name)
        code = "x = [1 , 2] ; print(x [0] , 'it 's n't .')"
        assert AnswerReader(tokenizer).text(tokenizer.encode(code, add_special_tokens=False)) == code


def test_completion_is_what_is_graded(real_tokenizer: Real) -> None:
    tokenizer = real_tokenizer("llama3_1")
    reader = AnswerReader(tokenizer, stop=["Question:"])
    ids = tokenizer.encode("2\nQuestion: next", add_special_tokens=False)
    assert reader.completion(ids, opened=False, finished=False) == Completion("2\n", True, len(ids))
