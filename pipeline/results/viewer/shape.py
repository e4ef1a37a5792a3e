"""The one shape in which a kept rollout is shown, whichever stage kept it, and the light row of it for a list."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.disk.durable import JsonMapping, JsonObject
from pipeline.results.finite import is_number
from pipeline.results.viewer.files import KeptFile
from rewards.extract import split_thinking
from rewards.types import Completion, Label

LIGHT = ("id", "stage", "kind", "model", "set", "step", "problem", "family", "rollout", "verdict", "reward", "tokens",
         "finished")
"""The keys of a light row."""

LONGEST_NAME = 300
"""Characters of an id or a name: they are in every light row, and may be anyone's."""


def whole(row: JsonMapping, kept: KeptFile) -> JsonObject | None:
    """The row in the one shape, or None where it is no rollout.

    A key that is missing in the row, or that holds something of another type, is missing in the result. `text` is the
    completion as it was written, and `thinking` and `answer` are its parts as the grader reads them. `observations` are
    the characters of it, from and to, that tools have written.
    """
    found = _shaped(row, kept, tuple(_KEYS))
    if found is None:
        return None
    if "thinking" not in found or "answer" not in found:
        found["thinking"], found["answer"] = _parts(found["text"])
    meta = row.get("meta")
    if isinstance(meta, dict) and isinstance(meta.get("solution"), str):
        found["solution"] = meta["solution"]
    _keep_equal_lengths(found)
    spans = found.get("observations")
    if spans and spans[-1][1] > len(found["text"]):
        del found["observations"]
    return found


def light(row: JsonMapping, kept: KeptFile) -> JsonObject | None:
    """What a list shows of a row, or None where it is no rollout. Values of tokens are not looked at, since thousands
    of rows are read for a list."""
    found = _shaped(row, kept, LIGHT)
    return None if found is None else {key: found.get(key) for key in LIGHT}


def _shaped(row: JsonMapping, kept: KeptFile, keys: Sequence[str]) -> JsonObject | None:
    """These keys of a row, as far as they are right, with what every rollout has."""
    text, pieces = row.get("text", row.get("completion")), row.get("pieces")
    if not isinstance(text, str) or not isinstance(row.get("problem"), str):
        return None
    found: JsonObject = {"stage": kept.stage, "kind": kept.kind, "model": kept.model, "set": kept.problems}
    found["text"] = text
    found |= {key: row[key] for key in keys if key in row and key in _KEYS and _KEYS[key](row[key])}
    for key in ("problem", "family"):
        found[key] = found.get(key, "")[:LONGEST_NAME]
    if "rollout" not in found and _is_count(row.get("index")):
        found["rollout"] = row["index"]
    if "verdict" not in found and kept.only_correct:
        found["verdict"] = Label.CORRECT.value  # the stage kept no other
    if "tokens" not in found and isinstance(pieces, list):
        found["tokens"] = len(pieces)
    return found


def _parts(text: str) -> tuple[str, str]:
    """Thinking and answer of a completion of which a file keeps the text alone."""
    thinking, answer = split_thinking(Completion(text))
    answer = (answer or "").strip().removeprefix("<answer>").removesuffix("</answer>")
    return thinking.strip().removeprefix("<think>").strip(), answer.strip()


def _keep_equal_lengths(row: JsonObject) -> None:
    """Drop values of tokens that do not belong to the tokens that are there."""
    count = len(row.get("pieces", ()))
    for key in ("logprobs", "sampler_logprobs", "experts"):
        if key in row and len(row[key]) != count:
            del row[key]
    if not count:
        row.pop("pieces", None)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_list_of(is_right: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(is_right, value))


def _is_number_or_none(value: object) -> bool:
    return value is None or is_number(value)


def _is_count_or_none(value: object) -> bool:
    return value is None or _is_count(value)


def _are_spans(value: object) -> bool:
    """Whether it is a list of characters, from and to, in their order."""
    if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 2 for one in value):
        return False
    ends = [0, *(end for span in value for end in span)]
    return all(map(_is_count, ends)) and ends == sorted(ends)


def _are_parts(value: object) -> bool:
    return isinstance(value, dict) and all(map(is_number, value.values()))


_KEYS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("problem", "family", "prompt", "thinking", "answer", "reason", "expected", "extracted"), _is_text),
    "verdict": lambda value: value in [label.value for label in Label],
    **dict.fromkeys(("step", "rollout", "tokens"), _is_count),
    **dict.fromkeys(("reward", "advantage"), is_number),
    "finished": lambda value: isinstance(value, bool),
    "parts": _are_parts,
    "pieces": _is_list_of(_is_text),
    "logprobs": _is_list_of(_is_number_or_none),
    "sampler_logprobs": _is_list_of(_is_number_or_none),
    "experts": _is_list_of(_is_count_or_none),
    "experts_busiest": _is_list_of(is_number),
    "observations": _are_spans,
}
