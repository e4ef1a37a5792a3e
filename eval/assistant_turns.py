"""Completions as a model would have written them: what follows a prompt in supervised training."""

from collections.abc import Mapping, Sequence
from typing import Any  # a template's options are JSON

from eval.answer_formats import CLOSE, OPEN, AnswerFormat, answer_format
from eval.chat_template import OWN_TEMPLATE, Message, end_of_turn, written
from eval.language_model import Tokenizer
from eval.prompts import PLAIN, Question, conversation, render, settled
from eval.protocol import Prompting
from rewards.extract import split_thinking
from rewards.types import Completion

THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""What templates call the thinking of a message, each by one of these names."""


def encode_completions(
    tokenizer: Tokenizer, questions: Sequence[Question], texts: Sequence[str], how: Prompting = PLAIN
) -> list[list[int]]:
    """Token ids of a completion for each question, which go on from those that `eval.prompts.encode_prompts` gives.

    In a chat template a completion is an assistant's turn as the template writes it, up to the token that ends it; in a
    plain one the text and the tokenizer's end-of-text. Where a template would leave the thinking out (DeepSeek-R1's
    does), the text is written as it is. Raises PromptError.
    """
    if not texts:
        return []
    how = settled(tokenizer, how)
    if how.template == "chat" and tokenizer.chat_template == OWN_TEMPLATE and not how.open_thinking:
        # This one writes a turn as it is, and asking it for each would take as long as all the rest of a row.
        return _encoded(tokenizer, texts, tokenizer.eos_token_id)
    form, prompts = answer_format(tokenizer), render(tokenizer, questions, how)
    if how.template != "chat":
        bodies, end = [_after(form, *pair) for pair in zip(prompts, texts, strict=True)], None
    else:
        end = end_of_turn(tokenizer, how.template_options)
        conversations = [conversation(question, how) for question in questions]
        turns = _turns(tokenizer, form, prompts, conversations, texts, how.template_options)
        mark = "" if end is None else tokenizer.decode([end], skip_special_tokens=False)
        bodies = [
            _cut(turn, mark) if _holds(turn, text) else _after(form, prompt, text)
            for prompt, turn, text in zip(prompts, turns, texts, strict=True)
        ]
    return _encoded(tokenizer, bodies, tokenizer.eos_token_id if end is None else end)


def encode_completion(
    tokenizer: Tokenizer, text: str, question: Question = "", how: Prompting = PLAIN
) -> list[int]:
    """Token ids of one completion."""
    return encode_completions(tokenizer, [question], [text], how)[0]


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts that answer nothing, each with the end-of-text id."""
    return _encoded(tokenizer, texts, tokenizer.eos_token_id) if texts else []


def _encoded(tokenizer: Tokenizer, texts: Sequence[str], end: int) -> list[list[int]]:
    # No special tokens: they stand before the prompt already.
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [[*ids, end] for ids in encoded]


def _turns(
    tokenizer: Tokenizer, form: AnswerFormat, prompts: Sequence[str], conversations: Sequence[Sequence[Message]],
    texts: Sequence[str], options: Mapping[str, Any],
) -> list[str | None]:
    """What the template writes behind each prompt for these texts; None where it writes the prompt otherwise."""
    apart = _thinks_apart(tokenizer, form, options)
    wholes = written(
        tokenizer,
        [[*turns, message_of(text, apart)] for turns, text in zip(conversations, texts, strict=True)],
        options, asks=False,
    )
    return [whole.removeprefix(prompt) if whole.startswith(prompt) else None
            for whole, prompt in zip(wholes, prompts, strict=True)]


def _thinks_apart(tokenizer: Tokenizer, form: AnswerFormat, options: Mapping[str, Any]) -> bool:
    """Whether the template has a place for thinking beside the answer."""
    if form.opening != OPEN:
        return True
    turns = [{"role": "user", "content": "?"}, message_of(f"{OPEN}thought-of{CLOSE}said", apart=True)]
    return "thought-of" in written(tokenizer, [turns], options, asks=False)[0]


def message_of(text: str, apart: bool) -> Message:
    """The assistant's message of a text; with `apart` its thinking is beside its answer, where it has both."""
    thinking, answer = split_thinking(Completion(text))
    if not apart or answer is None or not thinking:
        return {"role": "assistant", "content": text}
    inside = thinking.removeprefix(OPEN).strip()
    return {"role": "assistant", "content": answer.strip(), **dict.fromkeys(THOUGHTS, inside)}


def _holds(turn: str | None, text: str) -> bool:
    """Whether nothing of the text is lost in an assistant's turn."""
    if turn is None:
        return False
    thinking, answer = split_thinking(Completion(text))
    if answer is None:
        return text in turn
    return thinking.removeprefix(OPEN).strip() in turn and answer.strip() in turn


def _cut(turn: str | None, mark: str) -> str:
    """The turn before the token that ends it."""
    assert turn is not None, "only turns that hold their text are cut"
    return turn.rpartition(mark)[0] if mark and mark in turn else turn


def _after(form: AnswerFormat, prompt: str, text: str) -> str:
    """The text as it goes on from a prompt, which may have opened the thinking."""
    if not form.opens(prompt):
        return form.write(text)
    if text.startswith(OPEN):
        return form.write(text).removeprefix(form.opening)
    return text if CLOSE in text else form.close("") + text
