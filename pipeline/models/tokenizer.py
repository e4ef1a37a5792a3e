"""The quickstart's tokenizer: words are tokens, and each number up to 99 is one."""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from eval.chat_template import OWN_TEMPLATE

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>", "<user>", "<assistant>")

# A number stands alone, and the word or sign before it takes the space between them, so that
# "3" is one token wherever it stands and decoding gives the text back to the letter.
PIECES = r"</?[a-z]+>|\d{1,2}|\n| ?[A-Za-z]+(?: (?=\d))?| ?[^\w\s<]+(?: (?=\d))?| "


def train_tokenizer(texts: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """A word-level tokenizer with a token for each piece that occurs in `texts`, and the chat template."""
    splitter = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    pieces = {piece for text in texts for piece, _ in splitter.pre_tokenize_str(text)}
    # Numbers that no text holds can still be answers.
    pieces.update(str(number) for number in range(100))
    # Sorted, so that ids depend on the texts and not on the order of a set.
    vocabulary = [*SPECIALS, *TAGS, *sorted(pieces - {*SPECIALS, *TAGS})]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(SPECIALS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<user>", "<assistant>"],
        model_max_length=max_length,
        chat_template=OWN_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
