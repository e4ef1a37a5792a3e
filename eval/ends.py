"""Where answers end: the tokens that a model ends a turn with."""

import contextlib

from eval.chat_template import end_of_turn
from eval.errors import PromptError
from eval.language_model import LanguageModel, Tokenizer


def ends_of(tokenizer: Tokenizer, model: LanguageModel) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's, those of the model's generation_config (Llama 3.1, Qwen3 and
    gpt-oss have several), and the one that the chat template writes behind an assistant's turn."""
    named = model.generation_config.eos_token_id
    every = named if isinstance(named, list) else [] if named is None else [named]
    # A config that came with another tokenizer, or with none, may name what is an ordinary piece of text here.
    marks = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    return turn_ends(tokenizer) | (marks & set(every))


def turn_ends(tokenizer: Tokenizer) -> frozenset[int]:
    """Those of them that the tokenizer knows by itself."""
    found = {tokenizer.eos_token_id} - {None}  # not every tokenizer has one
    if tokenizer.chat_template is not None:
        # A template that fails is told where it is used, which it need not be.
        with contextlib.suppress(PromptError):
            end = end_of_turn(tokenizer)
            found |= {end} if end is not None else set()
    return frozenset(found)
