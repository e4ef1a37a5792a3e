"""Conversations as ids and as what is learned: the ids of `apply_chat_template`, the assistant's words and ends."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trl
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.chat_template import dated
from eval.prompts import PLAIN
from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.data.chat import Conversation, Conversations, Encoded, Unfit
from pipeline.models.tokenizer import train_tokenizer

NAMES = ("qwen3", "deepseek_v3", "llama3_1", "gemma3", "gptoss")
ENDS = {"qwen3": "<|im_end|>", "deepseek_v3": "<｜end▁of▁sentence｜>", "llama3_1": "<|eot_id|>",
        "gemma3": "<end_of_turn>", "gptoss": "<|return|>", "toy": "<eos>"}
BEFORE = {"gptoss": "<|channel|>final<|message|>"}
"""What the assistant writes itself before its words."""

Load = Callable[[str], Any]


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


SYSTEM = {"role": "system", "content": "Be kind."}


@pytest.fixture(scope="session")
def load(real_tokenizer: Load) -> Load:
    """load("qwen3") -> a tokenizer with its template; "toy" is the quickstart's, "qwen3+qwen3_training" has another."""

    def loaded(name: str) -> Any:
        if name == "toy":
            return train_tokenizer(["Be kind.", "What is it?", "It is 5.", "no", "yes", "What is no\nIt is no\n"], 64)
        name, _, template = name.partition("+")
        tokenizer = real_tokenizer(name)
        if template:
            tokenizer = copy.deepcopy(tokenizer)
            tokenizer.chat_template = (Path(trl.__file__).parent / f"chat_templates/{template}.jinja").read_text()
        return tokenizer

    return loaded


def encoded(tokenizer: Any, messages: Sequence[Any], tools: Any = None, how: Prompting = PLAIN) -> Encoded | Unfit:
    return Conversations(tokenizer, how).encode([Conversation(messages, tools)])[0]


def learned(tokenizer: Any, messages: Sequence[Any], tools: Any = None, how: Prompting = PLAIN) -> list[str]:
    """The texts that are learned; the ids are those of the template."""
    found = encoded(tokenizer, messages, tools, how)
    assert isinstance(found, Encoded), found
    plain = [{key: value for key, value in message.items() if key != "weight"} for message in messages]
    assert found.ids == tokenizer.apply_chat_template(
        plain, chat_template=dated(tokenizer.chat_template), tools=tools, return_dict=False, **how.template_options
    )
    return parts(tokenizer, found)


def texts(tokenizer: Any, messages: Sequence[Any]) -> list[str]:
    """The texts that are learned, with tools at hand."""
    found = encoded(tokenizer, messages, TOOLS)
    assert isinstance(found, Encoded), found
    return parts(tokenizer, found)


def parts(tokenizer: Any, found: Encoded) -> list[str]:
    runs: list[list[int]] = []
    for place, (id_, weight) in enumerate(zip(found.ids, found.learned, strict=True)):
        if weight:
            if not (place and found.learned[place - 1]):
                runs.append([])
            runs[-1].append(id_)
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("name", [*NAMES, "toy"])
def test_the_assistants_words_and_their_end_are_learned(load: Load, name: str) -> None:
    tokenizer, end, before = load(name), ENDS[name], BEFORE.get(name, "")
    past = "" if name == "gptoss" else end  # it ends answers of the past with a token that ends no answer
    opened = "<think>\n\n</think>\n\n" if name == "qwen3" else before
    assert learned(tokenizer, [user("What is it?"), said("It is 5.")]) == [f"{opened}It is 5.{end}"]
    turns = [user("What is it?"), said("It is 5."), user("yes"), said("no")]
    turns = turns if name == "toy" else [SYSTEM, *turns]
    assert learned(tokenizer, turns) == [f"{before}It is 5.{past}", f"{opened}no{end}"]
    assert learned(tokenizer, [*turns, user("yes")]) == [f"{before}It is 5.{past}", f"{before}no{past}"]
    turns[-3] = {**turns[-3], "weight": 0}
    assert learned(tokenizer, turns) == [f"{opened}no{end}"]
    same = [user("no"), said("yes")] * 3
    assert learned(tokenizer, same) == [f"{before}yes{past}"] * 2 + [f"{opened}yes{end}"]


@pytest.mark.parametrize("name", NAMES)
def test_white_space_is_kept_or_taken_away_as_the_template_does(load: Load, name: str) -> None:
    tokenizer = load(name)
    messages = [user(" What?\n"), said("\n\n It is\n\n5. \n"), user("\tAnd?"), said(" no\n")]
    first, second = (text.removeprefix(BEFORE.get(name, "")).replace(ENDS[name], "") for text in
                     learned(tokenizer, messages))
    assert first.strip() == "It is\n\n5."
    assert second.removeprefix("<think>\n\n</think>\n\n").strip() == "no"


def test_an_earlier_turn_whose_thinking_qwen3_leaves_out_is_not_learned(load: Load) -> None:
    tokenizer = load("qwen3")
    last = "<think>\nwell\n</think>\n\n5<|im_end|>"
    inside = [user("a"), said("<think>\nhm\n</think>\n\nx"), user("b"), said("<think>\nwell\n</think>\n\n5")]
    assert learned(tokenizer, inside) == [last]
    beside = [user("a"), said("x", reasoning_content="hm"), user("b"), said("5", reasoning_content="well")]
    assert learned(tokenizer, beside) == [last]
    off = Prompting(instruction=None, template_options={"enable_thinking": False})
    # Asked without thinking the model is given the empty thinking, and so does not learn to write it.
    assert learned(tokenizer, [user("a"), said("x"), user("b"), said("y")], how=off) == ["x<|im_end|>", "y<|im_end|>"]


def test_channels_of_gpt_oss(load: Load) -> None:
    tokenizer = load("gptoss")
    turns = [user("a"), said("x", thinking="hm"), user("b"), said("5", thinking="well")]
    final = "<|channel|>analysis<|message|>well<|end|><|start|>assistant<|channel|>final<|message|>5<|return|>"
    assert learned(tokenizer, turns) == [final]
    # It leaves the thinking out of calls, too, once their answer is given.
    thinking = said("", thinking="hm", tool_calls=[CALL])
    tool = {"role": "tool", "name": "add", "content": "5"}
    assert learned(tokenizer, [user("a"), thinking, tool, turns[-1]], TOOLS) == [final]
    assert learned(tokenizer, [user("a"), thinking, tool, thinking], TOOLS) == [
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant to=functions.add<|channel|>commentary json"
        '<|message|>{"x": 1}<|call|>'
    ] * 2
    found = encoded(tokenizer, [user("a"), said("<|channel|>final<|message|>5")])
    assert isinstance(found, Unfit)
    assert "You have passed a message containing <|channel|> tags" in found.said


TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {
    "type": "object", "properties": {"x": {"type": "integer", "description": "One."}}}}}]
CALL = {"type": "function", "function": {"name": "add", "arguments": {"x": 1}}}
CALLED = [user("a"), said("", tool_calls=[CALL]), {"role": "tool", "name": "add", "content": "5"}, said("It is 5.")]


def test_turns_of_tools(load: Load) -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"x": 1}}\n</tool_call><|im_end|>'
    qwen = load("qwen3")
    assert learned(qwen, CALLED, TOOLS) == [call, "<think>\n\n</think>\n\nIt is 5.<|im_end|>"]
    assert learned(qwen, [*CALLED, user("b"), said("x")]) == [
        call, "It is 5.<|im_end|>", "<think>\n\n</think>\n\nx<|im_end|>"
    ]
    off = Prompting(instruction=None, template_options={"enable_thinking": False})
    assert learned(qwen, CALLED, TOOLS, off)[0] == call
    called = ' to=functions.add<|channel|>commentary json<|message|>{"x": 1}<|call|>'
    final = "<|channel|>final<|message|>"
    oss = load("gptoss")
    assert learned(oss, CALLED, TOOLS) == [called, f"{final}It is 5.<|return|>"]
    assert learned(oss, [*CALLED, user("b"), said("x")]) == [called, f"{final}It is 5.", f"{final}x<|return|>"]


def test_words_beside_a_call_are_learned_with_it(load: Load) -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {"x": 1}}\n</tool_call><|im_end|>'
    qwen = load("qwen3")
    turns = [user("a"), said("Let me.", tool_calls=[CALL]), *CALLED[2:]]
    assert learned(qwen, turns, TOOLS) == [f"Let me.\n{call}", "<think>\n\n</think>\n\nIt is 5.<|im_end|>"]
    again = [*turns[:3], *turns[1:]]
    assert learned(qwen, again, TOOLS) == [f"Let me.\n{call}"] * 2 + ["<think>\n\n</think>\n\nIt is 5.<|im_end|>"]
    turns[1] = {**turns[1], "weight": 0}
    assert learned(qwen, turns, TOOLS) == ["<think>\n\n</think>\n\nIt is 5.<|im_end|>"]


def templated(template: str, specials: Sequence[str]) -> Any:
    """The quickstart's tokenizer with a template of trl's and its special tokens."""
    words = ["call:add{x:1}", "It is 5.", "no", "yes", "well\n", "hm\n", "<tool_call>\n<function=add>\n",
             "<parameter=x>\n", "\n</parameter>\n</function>\n</tool_call>\n"]
    tokenizer = train_tokenizer(words, 256)
    tokenizer.add_special_tokens({"additional_special_tokens": list(specials)})
    tokenizer.chat_template = (Path(trl.__file__).parent / f"chat_templates/{template}.jinja").read_text()
    return tokenizer


GEMMA_4 = ["<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
           "<tool_response|>"]


@pytest.mark.parametrize("template", ["gemma4", "gemma4_v5"])
def test_what_a_tool_said_within_a_turn_of_gemma_4_is_not_learned(template: str) -> None:
    tokenizer = templated(template, GEMMA_4)
    call, words = "<|tool_call>call:add{x:1}<tool_call|><|tool_response>", "It is 5.<turn|>"
    assert texts(tokenizer, CALLED) == [call, words]
    assert texts(tokenizer, [*CALLED, user("b"), said("no")]) == [call, words, "no<turn|>"]
    assert texts(tokenizer, [CALLED[0], {**CALLED[1], "weight": 0}, *CALLED[2:]]) == [words]
    # It writes the words beside a call behind what the tool said.
    found = encoded(tokenizer, [user("a"), said("Let me.", tool_calls=[CALL]), *CALLED[2:]])
    assert isinstance(found, Unfit)
    assert "message 2, the assistant's, so that it cannot be found; give the words beside its call" in found.said


def test_a_template_that_has_an_empty_thinking_where_its_prompt_opens_one() -> None:
    tokenizer = templated("nemotron_3_nano", ["<|im_start|>", "<|im_end|>"])
    assert texts(tokenizer, [user("a"), said("no")]) == ["</think>no<|im_end|>"]
    assert texts(tokenizer, [user("a"), said("no"), user("b"), said("yes")]) == ["</think>no<|im_end|>",
                                                                                "</think>yes<|im_end|>"]
    thinking = [said("", reasoning_content="hm", tool_calls=[CALL]), {"role": "tool", "name": "add", "content": "5"}]
    called = "<tool_call>\n<function=add>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>\n<|im_end|>"
    assert texts(tokenizer, [user("a"), *thinking, *thinking, said("no", reasoning_content="well")]) == [
        f"hm\n</think>\n{called}", f"hm\n</think>\n{called}", "well\n</think>\nno<|im_end|>"
    ]


@pytest.mark.parametrize(("name", "messages", "part"), [
    ("llama3_1", CALLED, "leaves out the tool calls of message 2"),
    ("gemma3", CALLED, "does not take it (TemplateError: Conversation roles must alternate"),
    ("deepseek_v3", [user("a"), said("5", thinking="well")], "leaves out the thinking of message 2"),
    ("deepseek_v3+deepseekv3_training", [user("a"), said("<think>well</think>5")], "leaves out the thinking"),
    ("qwen3", [{"role": "developer", "content": "Dev."}, user("a"), said("x")], "leaves out message 1, the developer"),
    ("toy", [SYSTEM, user("no"), said("yes")], "leaves out message 1, the system's"),
    ("toy", [user("<eos>"), said("yes")], "'<eos>' is typed in it, and to this tokenizer it is no text"),
])
def test_what_a_template_has_no_place_for_is_a_reason(load: Load, name: str, messages: Any, part: str) -> None:
    found = encoded(load(name), messages)
    assert isinstance(found, Unfit)
    assert part in found.said
    assert found.reason in ("template", "special tokens")


@pytest.mark.parametrize("name", NAMES)
def test_a_special_token_that_is_typed_is_text(load: Load, name: str) -> None:
    tokenizer, end = load(name), ENDS[name]
    asked = f"What does {end} mean?"
    typed = f"It ends{end} a turn."
    found = encoded(tokenizer, [user(asked), said(typed), user("b"), said("x")])
    plain = encoded(tokenizer, [user("a"), said("y"), user("b"), said("x")])
    assert isinstance(found, Encoded)
    assert isinstance(plain, Encoded)
    token = tokenizer.convert_tokens_to_ids(end)
    assert found.ids.count(token) == plain.ids.count(token)
    assert parts(tokenizer, found)[0].removesuffix(end).endswith(typed.replace("▁", " " if name == "gemma3" else "▁"))
    assert asked in tokenizer.decode(found.ids)


def test_a_typed_turn_is_no_turn(load: Load) -> None:
    tokenizer = load("qwen3")
    typed = "x<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\ny"
    found = encoded(tokenizer, [user("a"), said(typed), user("b"), said("y")])
    assert isinstance(found, Encoded)
    assert parts(tokenizer, found) == [f"{typed}<|im_end|>", "<think>\n\n</think>\n\ny<|im_end|>"]


@pytest.mark.parametrize(("name", "expected"), [
    ("qwen3+qwen3_training", ["<think>\n\n</think>\n\nIt is 5.<|im_end|>\n", "<think>\n\n</think>\n\nno<|im_end|>\n"]),
    ("gemma3+gemma3_training", ["It is 5.<end_of_turn>\n", "no<end_of_turn>\n"]),
    ("llama3_1+llama3_training", ["It is 5.<|eot_id|>", "no<|eot_id|>"]),
])
def test_templates_that_mark_turns_themselves_have_the_last_word(load: Load, name: str, expected: list[str]) -> None:
    tokenizer = load(name)
    turns = [SYSTEM, user("What is it?"), said("It is 5."), user("yes"), said("no")]
    assert learned(tokenizer, turns) == expected
    turns[2] = {**turns[2], "weight": 0}
    assert learned(tokenizer, turns) == expected[1:]


def test_a_template_whose_mark_holds_no_end_gets_it(load: Load) -> None:
    tokenizer = load("toy")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "<assistant>{{ message['content'] }}{{ eos_token }}",
        "<assistant>{% generation %}{{ message['content'] }}{% endgeneration %}{{ eos_token }}",
    )
    assert learned(tokenizer, [user("no"), said("It is 5."), user("yes"), said("no")]) == ["It is 5.<eos>", "no<eos>"]


def test_a_template_without_an_end_of_its_own(load: Load) -> None:
    tokenizer = load("toy")
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'user' %}What is {{ message['content'] }}\nIt is "
        "{% else %}{{ message['content'] }}\n{% endif %}{% endfor %}"
    )
    found = encoded(tokenizer, [user("no"), said("5"), user("yes"), said("no")])
    assert isinstance(found, Encoded)
    assert parts(tokenizer, found) == ["5\n", " no\n<eos>"]


def test_a_template_that_ends_no_turn_gets_the_end_of_text(load: Load) -> None:
    tokenizer = load("toy")
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'user' %}<user>{{ message['content'] }}"
        "{% else %}<assistant>{{ message['content'] }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    found = encoded(tokenizer, [user("no"), said("yes"), user("yes"), said("no")])
    assert isinstance(found, Encoded)
    assert parts(tokenizer, found) == ["yes", "no<eos>"]
    found = encoded(tokenizer, [user("no"), said("yes"), user("yes")])
    assert isinstance(found, Encoded)
    assert parts(tokenizer, found) == ["yes"]


def test_a_turn_whose_thinking_a_template_empties_is_not_learned(load: Load) -> None:
    tokenizer = load("qwen3+glm4moe")
    turns = [user("a"), said("<think>\nhm\n</think>\n\nHello"), user("b"), said("<think>well</think>5")]
    found = encoded(tokenizer, turns)
    assert isinstance(found, Encoded), found
    (last,) = parts(tokenizer, found)
    assert last.startswith("<think>well</think>\n5")
    assert "<think></think>\nHello" in tokenizer.decode(found.ids)


def test_the_prompt_section_is_put_as_it_is_asked(load: Load) -> None:
    tokenizer = load("qwen3")
    turns = [user("a"), said("x"), user("b"), said("y")]
    how = Prompting(system="Be brief.", instruction="Use a box.")
    told = [{"role": "system", "content": "Be brief."}, user("a"), said("x"), user("b\n\nUse a box."), said("y")]
    assert encoded(tokenizer, turns, how=how) == encoded(tokenizer, told)
    own = [SYSTEM, *turns]
    assert encoded(tokenizer, own, how=Prompting(system="Be brief.", instruction=None)) == encoded(tokenizer, own)


def test_what_no_conversation_can_be_encoded_with_is_one_line(load: Load) -> None:
    tokenizer = load("toy")
    with pytest.raises(StageError, match=r"need a chat template, and prompt.template is r1; train on rows of prompt"):
        Conversations(tokenizer, Prompting(template="r1", instruction=None))
    tokenizer.chat_template = None
    with pytest.raises(StageError, match="need a chat template, and the tokenizer has none"):
        Conversations(tokenizer)


WORDS = st.lists(st.sampled_from([
    "It", " is", "5", "\n", "\n\n", " ", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<eos>", "user", "assistant\n",
    "é", "名", "\u2028", "😀", "{{ x }}", "{% if %}", "</s>", "#", "\t", "\\n", "<|im_start|>", "model\n", "<|end|>",
]), max_size=8).map("".join)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(turns=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), system=st.none() | WORDS)
def test_whatever_is_said_the_words_of_the_assistant_are_learned_and_no_others(
    load: Load, name: str, turns: list[tuple[str, str]], system: str | None
) -> None:
    tokenizer = load(name)
    messages = [message for asked, answer in turns for message in (user(asked), said(f"{answer}."))]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    found = encoded(tokenizer, messages)
    assert isinstance(found, Encoded), found
    texts = parts(tokenizer, found)
    assert len(texts) == len(turns)
    for (_, answer), text in zip(turns, texts, strict=True):
        words = text.removeprefix(BEFORE.get(name, "")).removeprefix("<think>\n\n</think>\n\n")
        assert words.removesuffix(ENDS[name]).strip() == f"{answer}.".strip()
    # Every turn that is not of the past ends in the token that ends answers, which nobody else's text holds.
    end = tokenizer.convert_tokens_to_ids(ENDS[name])
    weights = [weight for id_, weight in zip(found.ids, found.learned, strict=True) if id_ == end]
    assert sum(weights) == (1 if name == "gptoss" else len(turns))
    if not any(special in repr(messages) for special in ("<|", "<end_of", "<eos")):
        assert found.ids == tokenizer.apply_chat_template(
            messages, chat_template=dated(tokenizer.chat_template), return_dict=False
        )
