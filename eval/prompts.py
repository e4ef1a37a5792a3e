"""How a problem is put to a model: the same for training, sampling and evaluation."""

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
    if tokenizer.chat_template is None:
        text = R1_ZERO.format(prompt=prompt)
    else:
        message = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    if open_thinking:
        text += THINK
    ids: list[int] = tokenizer(text, add_special_tokens=tokenizer.chat_template is None)["input_ids"]
    return ids


def encode_completion(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a completion, the end-of-text id included."""
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def decode_completion(tokenizer: Any, ids: list[int]) -> str:
    """The text of a completion, without the end-of-text token."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text
