"""Prompts that are written as messages, and rows of verl's data sets, as problems."""

import json
from collections.abc import Mapping

from eval.errors import ProblemSetError
from eval.row_files import Row

LIKE_TEXT = "a problem is one question of a user, which a system message may stand before"


def is_of_verl(row: Row) -> bool:
    """Whether a row is one of verl's: {"data_source", "prompt", "ability", "reward_model": {"ground_truth"},
    "extra_info"}."""
    model = row.get("reward_model")
    return "answer" not in row and isinstance(model, Mapping) and "ground_truth" in model


def of_verl(row: Row, where: str) -> Row:
    """A row of verl's as one of ours; what its reward functions are given besides the answer is in `meta`. Raises
    ProblemSetError."""
    truth = row["reward_model"]["ground_truth"]
    if truth is None:
        raise ProblemSetError(f"{where}: 'reward_model' has no ground_truth; leave such rows out")
    beside = {name: value for name, value in row.items() if name not in ("prompt", "reward_model")}
    if not isinstance(truth, str):  # an answer may become text, and functions are given it as it was
        beside["ground_truth"] = truth
    source = row.get("data_source")
    return {
        **({"prompt": row["prompt"]} if "prompt" in row else {}),
        "answer": truth,
        **({"family": source} if isinstance(source, str) else {}),
        "meta": sayable(beside),
    }


def question(prompt: object, where: str) -> str:
    """The text of a prompt that is a conversation: a system's turn, if there is one, and the user's, with an empty line
    between. Raises ProblemSetError where there are others, or something else than text."""
    turns = prompt if isinstance(prompt, list) else []
    said = [(turn.get("role"), _text(turn.get("content"))) if isinstance(turn, Mapping) else (None, None)
            for turn in turns]
    if not said or any(text is None for _, text in said):
        raise ProblemSetError(f"{where}: 'prompt' must be text, or messages with role and text as content")
    roles = [role for role, _ in said]
    if roles not in (["user"], ["system", "user"]):
        raise ProblemSetError(f"{where}: 'prompt' has turns of {', '.join(map(str, roles[:4]))}; {LIKE_TEXT}")
    return "\n\n".join(text for _, text in said if text)


def sayable(columns: Mapping[str, object]) -> dict[str, object]:
    """The columns, without values that JSON cannot say: rollouts are kept in it, and Parquet has dates and bytes."""
    nested = {name: sayable(value) if isinstance(value, dict) else value for name, value in columns.items()}
    return {name: value for name, value in nested.items() if _is_sayable(value)}


def _text(content: object) -> str | None:
    if isinstance(content, str):
        return content
    # Parts, as multimodal data sets have them.
    if not isinstance(content, list) or not content:
        return None
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in content]
    return "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _is_sayable(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
