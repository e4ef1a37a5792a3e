"""Conversations as token ids, and for each token whether it is the assistant's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any  # a message is JSON, and so are a template's options

from eval.chat_template import Message
from eval.effort import with_line
from eval.instructions import AUTO, with_instruction
from eval.language_model import Tokenizer
from eval.prompts import PLAIN, settled
from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.data.chat import thinking
from pipeline.data.chat.messages import Messages
from pipeline.data.chat.spans import NotFound, Span, assistant_spans, stands_in
from pipeline.data.chat.template import ChatTemplate
from rewards.foreign import LOADING, calling


@dataclass(frozen=True)
class Conversation:
    """Turns, as {"role", "content"}; those of the assistant's with "weight" 0 are not learned."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Encoded:
    """Token ids [seq], and of each whether it is to be learned [seq]. What is not has the weight of a prompt, but none
    in the spans `silent`: from, to, from, to.. `without_thinking` counts the turns that are not learned since the
    template leaves their thinking out."""

    ids: list[int]
    learned: list[bool]
    silent: Sequence[int] = ()
    without_thinking: int = 0


@dataclass(frozen=True)
class Unfit:
    """Why something cannot be trained on, under a reason to count by."""

    reason: str
    said: str


@dataclass(frozen=True)
class _Rendered:
    text: str
    learned: list[Span]
    typed: list[Span]
    ended: bool
    without_thinking: int


class Conversations:
    """Encodes conversations by a tokenizer's chat template. Ids are those of `apply_chat_template`, given messages in
    the form that the template takes (`messages.py`), but for two cases: the text of a special token that somebody typed
    is text, and where no special token ends the assistant's turn, the last one ends with the end of text, or no model
    would learn to stop. Raises StageError where there is no template, or where the tokenizer cannot say which
    characters a token stands for."""

    def __init__(self, tokenizer: Tokenizer, how: Prompting = PLAIN) -> None:
        self._how = settled(tokenizer, how)
        if self._how.template != "chat":
            why = "the tokenizer has none" if how.template == "auto" else f"prompt.template is {how.template}"
            raise StageError(f"rows of messages need a chat template, and {why}; train on rows of prompt and "
                             "completion, or take a model for chats")
        if not tokenizer.is_fast:
            raise StageError("the tokenizer does not tell which characters a token stands for, which rows of messages "
                             "need; train on rows of prompt and completion")
        self._tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer, self._how.template_options)
        self._messages = Messages(self._template)

    def encode(self, conversations: Sequence[Conversation]) -> list[Encoded | Unfit]:
        """Ids and which of them are learned, or why there are none."""
        with calling("the chat template", LOADING):
            rendered = [self._rendered(conversation) for conversation in conversations]
        texts = [one.text for one in rendered if isinstance(one, _Rendered)]
        # A chat template writes the special tokens itself.
        encoded = self._tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True) if texts else {}
        made = iter(zip(encoded.get("input_ids", []), encoded.get("offset_mapping", []), strict=True))
        return [one if isinstance(one, Unfit) else self._encoded(one, *next(made)) for one in rendered]

    def _rendered(self, conversation: Conversation) -> _Rendered | Unfit:
        conversation = self._put(conversation)
        tools, turns = conversation.tools, conversation.messages
        messages: Sequence[Message] = [
            {key: value for key, value in message.items() if key != "weight"} for message in turns
        ]
        try:
            text = self._template.render(messages, tools)
            silent = thinking.left_out(self._template, messages, tools)
            messages = thinking.without(self._template, messages, tools, silent, text) if silent else messages
            lost = [place for place in silent if turns[place].get("weight", 1)]
            turns = [{**turn, "weight": 0} if place in lost else turn for place, turn in enumerate(turns)]
            typed = self._typed(messages, tools, text)
            spans = self._spans(messages, Conversation(turns, tools), text)
        except NotFound as error:
            return Unfit("template", f"the chat template changes {_unfound(messages, error.place)}")
        except Exception as error:  # a template is a program that came with the model
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return Unfit("template", f"the tokenizer's chat template does not take it ({said})")
        left_out = self._left_out(messages, tools, text) or _last_lost(turns, lost)
        if left_out:
            return Unfit("template", f"the tokenizer's chat template leaves out {left_out}")
        if typed is None:
            return Unfit("special tokens", "a special token is typed where the chat template reads it")
        ended = self._template.ends_turns or turns[-1]["role"] != "assistant" or not turns[-1].get("weight", 1)
        return _Rendered(text, spans, typed, ended, len(lost))

    def _put(self, conversation: Conversation) -> Conversation:
        """The conversation with the system's turn where it has none, and the instruction in the user's last one."""
        turns = [self._messages.of(message) for message in conversation.messages]
        last = next((place for place in reversed(range(len(turns))) if turns[place]["role"] == "user"), None)
        told = None if self._how.instruction == AUTO else self._how.instruction
        if last is not None and (told or self._how.effort_line):
            content = with_line(with_instruction(str(turns[last]["content"]), told), self._how)
            turns[last] = {**turns[last], "content": content}
        if self._how.system and turns[0]["role"] not in ("system", "developer"):
            turns.insert(0, {"role": "system", "content": self._how.system})
        return Conversation(turns, conversation.tools)

    def _spans(self, messages: Sequence[Message], conversation: Conversation, text: str) -> list[Span]:
        """What is learned of the text."""
        said = [message for message in conversation.messages if message["role"] == "assistant"]
        spans = self._marked(messages, conversation.tools, text) if self._template.marks_turns else \
            assistant_spans(self._template, messages, conversation.tools, text)
        weights = [message.get("weight", 1) for message in said]
        if all(weights):
            return spans
        if len(spans) != len(said):
            raise NotFound
        return [span for span, weight in zip(spans, weights, strict=True) if weight]

    def _marked(self, messages: Sequence[Message], tools: object, text: str) -> list[Span]:
        """The spans that the template itself marks, each with the special token that ends it."""
        out = self._tokenizer.apply_chat_template(
            list(messages), chat_template=self._template.source, tools=tools, tokenize=True, return_dict=True,
            return_assistant_tokens_mask=True, tokenizer_kwargs={"return_offsets_mapping": True},
            **self._template.options
        )
        mask, offsets = [*out["assistant_masks"], 0], out["offset_mapping"]
        spans: list[Span] = []
        for place, marked in enumerate(mask):
            if marked and not mask[place - 1]:
                spans.append((offsets[place][0], offsets[place][1]))
            elif marked:
                spans[-1] = (spans[-1][0], offsets[place][1])
        return [(begin, self._with_end(text, begin, end)) for begin, end in spans]

    def _with_end(self, text: str, begin: int, end: int) -> int:
        """Where a turn ends that a template has marked, with the special token behind it where it holds none."""
        special = self._template.special
        behind = special.match(text, end)
        if behind is None or any(not text[mark.end() : end].strip() for mark in special.finditer(text, begin, end)):
            return end
        return behind.end()

    def _left_out(self, messages: Sequence[Message], tools: object, text: str) -> str | None:
        """Which message the template passes over; a thinking may be left out of earlier turns, and only there."""
        for number, message in enumerate(messages, 1):
            tail = str(message["content"]).strip()
            if message["role"] == "assistant":  # of which a template may take the thinking away
                tail = tail.rpartition("</think>")[2].strip()[-40:].strip()
            if not stands_in(tail, text):
                return f"message {number}, the {message['role']}'s"
        for number, message in enumerate(messages, 1):
            if message.get("tool_calls") and self._is_the_same(messages, number, tools, text):
                return f"the tool calls of message {number}"
        if any(thought not in text for thought in thinking.thoughts_of(messages[-1])):
            return f"the thinking of message {len(messages)}; such rows can be learned as prompt and completion"
        return None

    def _is_the_same(self, messages: Sequence[Message], number: int, tools: object, text: str) -> bool:
        """Whether the text is the same without the tool calls of a message."""
        less = [{key: value for key, value in message.items() if key != "tool_calls" or place != number}
                for place, message in enumerate(messages, 1)]
        return thinking.writes(self._template, less, tools, text)

    def _typed(self, messages: Sequence[Message], tools: object, text: str) -> list[Span] | None:
        """Where the text of a special token was typed and is none of the template's; None where the template makes
        something else of it. In the assistant's own text only those count that begin and end turns: others, such as
        tags around thinking, it has to write."""
        patterns = [self._template.control if message["role"] == "assistant" else self._template.special
                    for message in messages]
        if not any(pattern.search(str(value)) for pattern, message in zip(patterns, messages, strict=True)
                   for value in message.values()):
            return []
        found: list[str] = []

        def hide(match: re.Match[str]) -> str:
            found.append(match.group())
            return f"\ue004{len(found) - 1}\ue005"

        hidden = [{key: pattern.sub(hide, value) if isinstance(value, str) and key != "role" else value
                   for key, value in message.items()} for pattern, message in zip(patterns, messages, strict=True)]
        pieces = re.split("\ue004(\\d+)\ue005", self._template.render(hidden, tools))
        spans: list[Span] = []
        whole = pieces[0]
        for number, after in zip(pieces[1::2], pieces[2::2], strict=True):
            token = found[int(number)]
            spans.append((len(whole), len(whole) + len(token)))
            whole += token + after
        return spans if whole == text else None

    def _encoded(self, rendered: _Rendered, ids: Sequence[int], offsets: Sequence[Span]) -> Encoded | Unfit:
        learned = [False] * len(ids)
        spans = iter(rendered.learned)
        span = next(spans, None)
        for place, (begin, end) in enumerate(offsets):
            while span is not None and begin >= span[1]:
                span = next(spans, None)
            if span is None:
                break
            learned[place] = end > begin and (begin >= span[0] or _is_word_of(rendered.text, begin, span[0], end))
        made = Encoded(list(ids), learned, without_thinking=rendered.without_thinking)
        if rendered.typed:
            typed = self._as_text(made, offsets, rendered)
            if isinstance(typed, Unfit):
                return typed
            made = typed
        if not rendered.ended:
            made = replace(made, ids=[*made.ids, self._tokenizer.eos_token_id], learned=[*made.learned, True])
        if not any(made.learned[1:]):
            return Unfit("no assistant", "no token is the assistant's, by the tokenizer's chat template")
        return made

    def _as_text(self, made: Encoded, offsets: Sequence[Span], rendered: _Rendered) -> Encoded | Unfit:
        """The same with special tokens that were typed as the text that they are."""
        special = set(self._tokenizer.all_special_ids)
        special |= {id_ for id_, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        places = {span[0] for span in rendered.typed}
        ids: list[int] = []
        learned: list[bool] = []
        for id_, weight, (begin, end) in zip(made.ids, made.learned, offsets, strict=True):
            if id_ in special and begin in places:
                token = rendered.text[begin:end]
                plain = self._tokenizer.encode(token, add_special_tokens=False, split_special_tokens=True)
                if id_ in plain:
                    return Unfit("special tokens", f"{token!r} is typed in it, and to this tokenizer it is no text")
                ids += plain
                learned += [weight] * len(plain)
            else:
                ids.append(id_)
                learned.append(weight)
        return replace(made, ids=ids, learned=learned)


def _last_lost(turns: Sequence[Message], lost: Sequence[int]) -> str | None:
    """What is left out where nothing is left to learn without it."""
    if not lost or any(turn["role"] == "assistant" and turn.get("weight", 1) for turn in turns):
        return None
    return f"the thinking of message {lost[-1] + 1}, and no other turn is left to learn; let the row end with it"


def _unfound(messages: Sequence[Message], place: int | None) -> str:
    """What could not be found, and what helps."""
    if place is None:
        return "the assistant's turns, so that they cannot be found"
    what = f"message {place + 1}, the assistant's, so that it cannot be found"
    beside_a_call = messages[place].get("tool_calls") and str(messages[place]["content"]).strip()
    return f"{what}; give the words beside its call as thinking" if beside_a_call else what


def _is_word_of(text: str, begin: int, start: int, end: int) -> bool:
    """Whether a token that begins before a turn does is a word of it: of what is the template's it holds a space alone,
    which tokenizers join to the word behind it."""
    return begin < start < end and not text[begin:start].strip() and bool(text[start:end].strip())
