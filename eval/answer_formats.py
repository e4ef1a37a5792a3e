"""How models of a kind write their thinking and their answer: read into one form, and written from it.

The one form, which graders, rules and files of rollouts know, is `<think>thinking</think>answer`, where the first tag
also stands in front of a completion whose prompt had opened the thinking. `<think>` that nothing closes is thinking
that the tokens ended in, or nothing but thinking.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from eval.language_model import Tokenizer
from rewards.extract import split_thinking
from rewards.types import Completion

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class AnswerFormat:
    """Thinking between two texts, and the answer behind it. `opening` begins the thinking, `closing` ends it;
    `token` is what the opening begins with where it is more than one token."""

    opening: str = OPEN
    closing: str = CLOSE
    token: str = ""

    @property
    def tokens(self) -> tuple[str, str]:
        """What a tokenizer of such models has among its added tokens."""
        return self.token or self.opening, self.closing

    @property
    def marks(self) -> tuple[str, ...]:
        """What says where the parts of a completion begin and end; some of it is special tokens of some tokenizers."""
        return (*self.tokens, "<answer>", "</answer>")

    @property
    def thinking_marks(self) -> tuple[str, ...]:
        """What no answer holds: behind any of these a model has gone back to thinking."""
        return self.tokens

    def opens(self, prompt: str) -> bool:
        """Whether what follows this prompt begins inside the thinking."""
        # A template may put a line break behind the tag.
        return prompt.rstrip().endswith(self.opening.rstrip())

    def read(self, raw: str, *, opened: bool) -> str:
        """The one form of what a model wrote, special tokens included; `opened` where its prompt opens the thinking."""
        before = OPEN if opened else ""
        if self.opening == OPEN:
            return before + raw
        return before + raw.replace(self.opening, OPEN).replace(self.closing, CLOSE)

    def write(self, text: str) -> str:
        """What a model writes for a text in the one form."""
        return text if self.opening == OPEN else text.replace(OPEN, self.opening).replace(CLOSE, self.closing)

    def begins_part(self, raw: str) -> bool:
        """Whether what was written so far ends in the midst of what says which part follows."""
        del raw  # a tag is a word like any other until it is whole
        return False

    def close(self, raw: str) -> str:
        """What ends the thinking of a completion that has come so far, so that the answer follows."""
        del raw  # wherever it is, the tag ends it
        return self.closing


class Harmony(AnswerFormat):
    """The channels of gpt-oss (https://cookbook.openai.com/articles/openai-harmony): messages of a header, with the
    name of a channel, and a text. Thinking is what stands in the channels analysis and commentary; the answer is the
    last message of the channel final."""

    def __init__(self) -> None:
        super().__init__("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>")

    @property
    def marks(self) -> tuple[str, ...]:
        return tuple(f"<|{name}|>" for name in ("start", "end", "message", "channel", "constrain", "return", "call"))

    @property
    def thinking_marks(self) -> tuple[str, ...]:
        return ("<|channel|>",)  # each message has one, and the answer is the last message

    def read(self, raw: str, *, opened: bool) -> str:
        raw = self.opening + raw if opened else raw
        if not is_harmony(raw):
            return _without_marks(raw)  # asked in a plain template
        messages = list(_messages(raw))
        thinking = [one.text for one in messages if one.channel != "final" and one.text.strip()]
        answers = [one.text for one in messages if one.channel == "final"]
        inside = _without_tags("\n".join(thinking))
        # What is not in the channel final is no answer, however the tokens ended.
        if not answers or not (messages[-1].whole or messages[-1].channel == "final"):
            return f"{OPEN}{inside}"
        answer = _without_tags(answers[-1])
        return f"{OPEN}{inside}{CLOSE}{answer}" if inside else answer

    def write(self, text: str) -> str:
        thinking, answer = split_thinking(Completion(text))
        inside = thinking.removeprefix(OPEN)
        if answer is None:
            return f"{self.opening}{inside}"
        final = f"<|channel|>final<|message|>{answer}"
        return f"{self.opening}{inside}<|end|><|start|>assistant{final}" if thinking else final

    def begins_part(self, raw: str) -> bool:
        return raw.rfind("<|message|>") < max(raw.rfind("<|start|>"), raw.rfind("<|channel|>"))

    def close(self, raw: str) -> str:
        if raw.endswith("<|end|>"):
            return self.closing.removeprefix("<|end|>")
        # A header has to become a message first.
        return f"<|message|>{self.closing}" if self.begins_part(raw) else self.closing


class _Message(NamedTuple):
    """A message of harmony's; `whole` where something ends it."""

    channel: str
    text: str
    whole: bool


_MARKS = re.compile(r"(<\|(?:start|end|message|channel|constrain|return|call)\|>)")
_TAG = re.compile(r"<(/?think)>")


def _messages(raw: str) -> Iterator[_Message]:
    """The messages in what a model wrote, in time that grows with its length alone."""
    channel, header, text = "", "", None  # the text is None inside of a header
    for piece in _MARKS.split(raw):
        if piece in ("<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"):
            if text is not None:
                yield _Message(channel, text, whole=True)
            channel, header, text = "", piece, None
        elif piece == "<|message|>":
            text = text or ""
        elif piece == "<|constrain|>":
            continue
        elif text is None:
            # Behind the name there may be a type of content, such as json.
            if header == "<|channel|>" and not channel:
                channel = (piece.split() or [""])[0]
        else:
            text += piece
    if text is not None:
        yield _Message(channel, text, whole=False)


def is_harmony(raw: str) -> bool:
    """Whether a text holds messages of harmony's, or the beginning of one."""
    return "<|channel|>" in raw or "<|message|>" in raw


def _without_tags(text: str) -> str:
    """A text in which no tag of the one form stands: these models use others, and write it only as a word."""
    return _TAG.sub(r"< \1>", text)


def _without_marks(text: str) -> str:
    return _MARKS.sub("", text)


TAGS = AnswerFormat()
HARMONY = Harmony()
OTHERS = (
    AnswerFormat("[THINK]", "[/THINK]"),  # Magistral
    AnswerFormat("<seed:think>", "</seed:think>"),  # Seed-OSS
    AnswerFormat("◁think▷", "◁/think▷"),  # Kimi
    AnswerFormat("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    AnswerFormat("<|channel>thought\n", "<channel|>", token="<|channel>"),  # Gemma 4
)


def answer_format(tokenizer: Tokenizer) -> AnswerFormat:
    """The format of the models that this tokenizer belongs to, by the tokens that were added to it."""
    added = tokenizer.get_added_vocab()
    if all(token in added for token in ("<|channel|>", "<|message|>", "<|start|>", "<|return|>")):
        return HARMONY
    return next((form for form in OTHERS if all(token in added for token in form.tokens)), TAGS)
