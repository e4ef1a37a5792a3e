"""A GGUF file with what ollama has to be told beside it: how a conversation is written, where an answer ends, how to
draw."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval import chat_template
from eval.answer_formats import CLOSE, OPEN, answer_format
from eval.ends import ends_of
from eval.errors import PromptError
from eval.language_model import LanguageModel, Tokenizer
from pipeline.exports import gguf_vocabulary

_MARKS = {"system": "\x01system\x02", "user": "\x01user\x02", "assistant": "\x01assistant\x02"}
_LONGEST = 32768  # tokens of context, for which ollama sets memory aside from the start


@dataclass(frozen=True)
class Turns:
    """What a chat template writes around what is said: `start` before everything, `without_system` where there is no
    system prompt, and before and after what each role says."""

    start: str
    without_system: str
    around: dict[str, tuple[str, str]]
    asks: str

    def written(self, conversation: Sequence[chat_template.Message]) -> str:
        """A conversation up to where the assistant goes on, as ollama would write it."""
        text = self.start
        if "system" in self.around and conversation[0]["role"] != "system":
            text += self.without_system
        for message in conversation:
            before, after = self.around.get(message["role"], ("", ""))
            text += before + message["content"] + after if message["role"] in self.around else ""
        return text + self.asks

    def go(self) -> str:
        """The same as a template of Go's, which ollama has in place of Jinja's."""
        roles = "{{ else ".join(
            f'if eq .Role "{role}" }}}}{_go(before)}{{{{ .Content }}}}{_go(after)}'
            for role, (before, after) in self.around.items()
        )
        system = f"{{{{ if not .System }}}}{_go(self.without_system)}{{{{ end }}}}" if self.without_system else ""
        messages = f"{{{{ range .Messages }}}}{{{{ {roles}{{{{ end }}}}{{{{ end }}}}"
        return _go(self.start) + system + messages + _go(self.asks)


def _go(text: str) -> str:
    """Text that a template of Go's writes as it is."""
    return text.replace("{{", '{{ "{{" }}')


def modelfile(model: LanguageModel, tokenizer: Tokenizer, gguf: str) -> tuple[str, str]:
    """(what `ollama create` reads, a line on what is left to do; empty where nothing is)."""
    turns = _without_bos(tokenizer, turns_of(tokenizer))
    lines, left = [f"FROM ./{gguf}"], ""
    if turns and '"""' not in turns.go():
        lines.append(f'TEMPLATE """{turns.go()}"""')
        if not _keeps_thinking(tokenizer, turns):
            left = ("The model's chat template writes earlier answers without their thinking, and the TEMPLATE writes "
                    "them as they are sent: send them to ollama without it.")
    elif tokenizer.chat_template is None:
        left = ("The model has no chat template: write a TEMPLATE into the Modelfile, or ask the model with text that "
                "is written already.")
    else:
        left = ("The chat template says more than ollama's can: write a TEMPLATE into the Modelfile, or ask the model "
                "with text that is written already.")
    drawing = model.generation_config.to_dict()
    numbers = {name: drawing.get(name) for name in ("temperature", "top_p", "top_k", "min_p")}
    # ollama has a penalty of its own where a Modelfile says nothing, which transformers has not.
    numbers |= {"repeat_penalty": drawing.get("repetition_penalty") or 1.0}
    lines += [f"PARAMETER {name} {value}" for name, value in numbers.items() if value is not None]
    context = model.config.get_text_config().to_dict().get("max_position_embeddings")
    if context:
        lines.append(f"PARAMETER num_ctx {min(context, _LONGEST)}")
    lines += [f'PARAMETER stop "{word}"' for word in _ends(model, tokenizer)]
    return "\n".join(lines) + "\n", left


def _without_bos(tokenizer: Tokenizer, turns: Turns | None) -> Turns | None:
    """The turns without the BOS that llama.cpp puts before them, where it does; None where it cannot be taken away."""
    if turns is None or tokenizer.bos_token_id is None or not gguf_vocabulary.begins_itself(tokenizer):
        return turns
    bos = tokenizer.decode([tokenizer.bos_token_id])
    turns = replace(turns, start=turns.start.removeprefix(bos))
    talk = turns.written([{"role": "user", "content": ""}])
    return None if talk.startswith(bos) else turns


def write(model: LanguageModel, tokenizer: Tokenizer, folder: Path, gguf: str) -> str:
    """Write the Modelfile beside a GGUF file; returns what is left to do."""
    text, left = modelfile(model, tokenizer, gguf)
    (folder / "Modelfile").write_text(text, encoding="utf-8")
    return left


def _ends(model: LanguageModel, tokenizer: Tokenizer) -> list[str]:
    """Tokens that end an answer."""
    return [tokenizer.decode([number]) for number in sorted(ends_of(tokenizer, model))]


def turns_of(tokenizer: Tokenizer) -> Turns | None:
    """What the chat template writes around turns; None where it has none, or where some conversation is written
    otherwise than by turns alone."""
    if tokenizer.chat_template is None:
        return None
    roles = {role: {"role": role, "content": mark} for role, mark in _MARKS.items()}
    system, user, assistant = (roles[role] for role in ("system", "user", "assistant"))
    try:
        found = _read(tokenizer, _written(tokenizer, [user, assistant, user]), _written(tokenizer, [system, user]))
        talks = [user], [user, assistant, user], [system, user], [system, user, assistant, user, assistant, user]
        return found if found and all(found.written(one) == _written(tokenizer, one) for one in talks) else None
    except PromptError:
        return None  # such as a template that refuses system prompts


def _keeps_thinking(tokenizer: Tokenizer, turns: Turns) -> bool:
    """Whether the chat template writes the thinking of earlier answers, as the turns do."""
    answer = answer_format(tokenizer).write(f"{OPEN}\nIt thinks.\n{CLOSE}\n\nIt answers.")
    thought = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer},
               {"role": "user", "content": "?"}]
    # llama.cpp may put a BOS before the turns.
    return _written(tokenizer, thought).endswith(turns.written(thought))


def _written(tokenizer: Tokenizer, conversation: Sequence[chat_template.Message]) -> str:
    return chat_template.written(tokenizer, [conversation], {})[0]


def _read(tokenizer: Tokenizer, talk: str, told: str) -> Turns | None:
    """Turns from a text of user, assistant and user, and from one of system and user."""
    pieces = re.split("|".join(map(re.escape, _MARKS.values())), talk)
    if len(pieces) != 4:
        return None
    first, answer, again, asks = pieces
    # What stands before the first question and before no later one begins the conversation; what stands before a later
    # one and not before the first ends the answer.
    question = _shared(tokenizer, first, again, from_end=True)
    start = first.removesuffix(question)
    around = {"user": (question, ""), "assistant": (answer, again.removesuffix(question))}
    if _MARKS["system"] not in told:
        return Turns(start, "", around, asks)
    before, _, rest = told.partition(_MARKS["system"])
    after = rest.partition(_MARKS["user"])[0].removesuffix(question)
    opening = _shared(tokenizer, start, before, from_end=False)
    system = before.removeprefix(opening), after
    return Turns(opening, start.removeprefix(opening), {"system": system, **around}, asks)


def _shared(tokenizer: Tokenizer, one: str, other: str, *, from_end: bool) -> str:
    """The whole tokens that two texts begin with, or end with."""
    order = -1 if from_end else 1
    ids, others = (tokenizer.encode(text, add_special_tokens=False)[::order] for text in (one, other))
    count = next((i for i, (a, b) in enumerate(zip(ids, others, strict=False)) if a != b), min(len(ids), len(others)))
    return tokenizer.decode(ids[:count][::order])
