"""How a problem is put to a model: the same for training, sampling and evaluation."""

from collections.abc import Sequence
from typing import Any

from rewards.types import Problem

# DeepSeek-R1 (arXiv 2501.12948), table 1: the template of R1-Zero, for tokenizers without a chat template.
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, "
    "i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {prompt}. Assistant:"
)

THINK = "<think>"


def encode_prompt(tokenizer: Any, problem: Problem, *, open_thinking: bool = False) -> list[int]:
    """Token ids of the prompt, up to where the model goes on; with `open_thinking` the tag is already there."""
    return encode_text(tokenizer, problem.prompt, open_thinking=open_thinking)


def encode_text(tokenizer: Any, prompt: str, *, open_thinking: bool = False) -> list[int]:
    """Token ids of a user's text as `encode_prompt` puts it."""
    return encode_texts(tokenizer, [prompt], open_thinking=open_thinking)[0]


def encode_texts(tokenizer: Any, prompts: Sequence[str], *, open_thinking: bool = False) -> list[list[int]]:
    """Token ids of many users' texts at once, which is much faster than one by one."""
    texts = render(tokenizer, prompts)
    if open_thinking:
        texts = [text + THINK for text in texts]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=tokenizer.chat_template is None)["input_ids"]
    return ids


def render(tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """Prompts in the tokenizer's chat template, or in R1-Zero's where it has none."""
    if tokenizer.chat_template is None:
        return [R1_ZERO.format(prompt=prompt) for prompt in prompts]
    # A template is a program and takes long; most put the text between two constants, which is checked here.
    before, _, after = _render_one(tokenizer, _MARK).partition(_MARK)
    if prompts and _render_one(tokenizer, prompts[0]) == before + prompts[0] + after:
        return [before + prompt + after for prompt in prompts]
    return [_render_one(tokenizer, prompt) for prompt in prompts]


_MARK = " the-user-says-this\n"  # with white space around it, which some templates take away


def _render_one(tokenizer: Any, prompt: str) -> str:
    message = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    return text


def encode_completion(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a completion, the end-of-text id included."""
    return encode_completions(tokenizer, [text])[0]


def encode_completions(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of many completions at once, each with the end-of-text id."""
    encoded: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [[*ids, tokenizer.eos_token_id] for ids in encoded]


def decode_completion(tokenizer: Any, ids: list[int]) -> str:
    """The text of a completion, without the end-of-text token."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text
