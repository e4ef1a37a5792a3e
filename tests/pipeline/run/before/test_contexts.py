"""Whether prompts and answers fit is known before the first stage of a run."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.recipe import recipe
from pipeline.run.before.contexts import check

TOKENIZER = train_tokenizer(["What is one and two?"], 64)


@pytest.fixture
def folder(tiny: Callable[..., Any], tmp_path: Path) -> Path:
    """A model of 64 positions, and problems of very different lengths."""
    pretrained.save(tiny("qwen3", vocab_size=len(TOKENIZER)), TOKENIZER, tmp_path / "given")
    rows = [{"prompt": "What is one and two? " * times, "answer": "3", "id": str(times)} for times in (1, 2, 9)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


STAGES = """
  traces:
    {kind: sample, model: MODEL, problems: [mine.jsonl], problems_each: COUNT, max_completion_tokens: TOKENS}
  tuned: {kind: sft, model: MODEL, data: traces}
  score:
    {kind: evaluate, models: [tuned], problems: [mine.jsonl], problems_each: COUNT, max_completion_tokens: TOKENS}
"""
PLUGIN = """
from rewards.types import Problem


def own(split, n, seed):
    asked = "What is one and two? " * 2
    return [Problem(id=f"{split}-{i}", prompt=asked, answer="3", verifier="math", family="own") for i in range(9)][:n]
"""
"""A set with a train split, of which worked examples are taken."""

MADE = """
  made:
    kind: pretrain
    steps: 1
    length: 48
    architecture: {model_type: qwen3, hidden_size: 32}
  longer: {kind: extend, model: made, phases: [{length: 160, steps: 1}]}
"""


def read(
    folder: Path, model: str, count: int, tokens: int, before: str = "", change: tuple[str, str] = ("\n\n", "")
) -> recipe.Recipe:
    file = folder / "recipe.yaml"
    stages = STAGES.replace(*change).replace("MODEL", model).replace("COUNT", str(count)).replace("TOKENS", str(tokens))
    file.write_text(f"name: contexts\nstages:{before}{stages}")
    return recipe.read(str(file), [])


def test_what_fits_passes(folder: Path) -> None:
    check(read(folder, "given", 2, 8), exactly=True)


def test_what_is_known_of_a_given_model_is_asked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers takes seconds to read a GGUF file's vocabulary."""
    asked: list[Path] = []
    (folder / "mine.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(pretrained, "context_of", lambda path: (asked.append(path), 64)[1])
    monkeypatch.setattr(pretrained, "load_tokenizer", lambda path: (asked.append(path), TOKENIZER)[1])
    check(read(folder, "mine.gguf", 2, 8), exactly=True)
    assert asked == [folder / "mine.gguf"] * 2


def test_every_stage_that_asks_too_much_is_told_with_its_line(folder: Path) -> None:
    asked = read(folder, "given", 3, 8)
    check(asked, exactly=False)  # the answers alone would fit
    with pytest.raises(RecipeError) as caught:
        check(asked, exactly=True)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{folder / 'recipe.yaml'}:3: traces: given on mine.jsonl: 1 of 3 prompts")
    # The tuned model is the given one trained further, and has its context and its tokenizer.
    assert second.startswith(f"{folder / 'recipe.yaml'}:6: score: tuned on mine.jsonl: 1 of 3 prompts")


@pytest.mark.parametrize(("model", "tokens", "faults"), [
    ("given", 65, 2), ("made", 48, 0), ("made", 49, 2), ("longer", 160, 0), ("longer", 161, 2),
])
def test_answers_that_fill_the_context_are_told_without_a_tokenizer(
    folder: Path, model: str, tokens: int, faults: int
) -> None:
    asked = read(folder, model, 2, tokens, MADE)
    if not faults:
        check(asked, exactly=False)
        return
    with pytest.raises(RecipeError) as caught:
        check(asked, exactly=False)
    assert len(str(caught.value).splitlines()) == faults


@pytest.mark.parametrize(("length", "beyond", "told"), [(64, False, 0), (65, False, 1), (65, True, 0)])
def test_rows_longer_than_the_context_are_told_before_the_run(
    folder: Path, length: int, beyond: bool, told: int
) -> None:
    more = f"data: traces, max_length: {length}, beyond_context: {str(beyond).lower()}"
    asked = read(folder, "given", 2, 8, change=("data: traces", more))
    if not told:
        check(asked, exactly=False)
        return
    with pytest.raises(RecipeError, match=r"recipe\.yaml:5: tuned: given: max_length 65 is above its context of 64"):
        check(asked, exactly=False)


def test_who_wants_to_ask_beyond_may(folder: Path) -> None:
    asked = read(folder, "given", 3, 900, change=("max_comp", "beyond_context: true, max_comp"))
    check(asked, exactly=True)


@pytest.mark.parametrize(("template", "told"), [
    (None, "rows of messages need a chat template, and the tokenizer has none"),
    ("{% for m in messages %}{{ m.content if m.role == 'user' else m.none.at_all }}{% endfor %}",
     r"chats\.jsonl:1: the tokenizer's chat template does not take it"),
])
def test_a_template_that_does_not_take_rows_is_told_before_any_work(
    folder: Path, template: str | None, told: str
) -> None:
    """Also where the stage that trains on them comes after another."""
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = template
    for file in (folder / "given").rglob("chat_template.jinja"):
        file.unlink()
    tokenizer.save_pretrained(next((folder / "given").rglob("tokenizer.json")).parent)
    turns = [{"role": "user", "content": "one and two"}, {"role": "assistant", "content": "3"}]
    (folder / "chats.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    asked = read(folder, "given", 2, 8, change=("data: traces", "data: chats.jsonl"))
    with pytest.raises(RecipeError, match=f"recipe.yaml:5: tuned: .*{told}"):
        check(asked, exactly=True)
    check(asked, exactly=False)


def test_rows_that_a_limit_leaves_out_are_not_put_to_the_template(folder: Path) -> None:
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.content == 'odd' %}{{ m.none.at_all }}{% endif %}{{ m.content }}{% endfor %}"
    )
    for file in (folder / "given").rglob("chat_template.jinja"):
        file.unlink()
    tokenizer.save_pretrained(next((folder / "given").rglob("tokenizer.json")).parent)
    with (folder / "chats.jsonl").open("w") as rows:
        for said in ("one", "odd"):
            turns = [{"role": "user", "content": said}, {"role": "assistant", "content": "3"}]
            rows.write(json.dumps({"messages": turns}) + "\n")

    def asked(limit: int) -> recipe.Recipe:
        return read(folder, "given", 2, 8, change=("data: traces", f"data: chats.jsonl, limit: {limit}"))

    check(asked(1), exactly=True)
    with pytest.raises(RecipeError, match=r"chats\.jsonl:2"):
        check(asked(2), exactly=True)


def test_a_template_that_does_not_take_a_prompt_is_told_with_each_stage(folder: Path) -> None:
    asked = read(folder, "given", 2, 8, change=("max_completion_tokens", "prompt: {template_options: {x: 1}}, "
                                                                         "max_completion_tokens"))
    with pytest.raises(RecipeError) as caught:
        check(asked, exactly=True)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{folder / 'recipe.yaml'}:3: traces: given: ")
    assert second.startswith(f"{folder / 'recipe.yaml'}:6: score: tuned: ")
    assert "chat template" in first


@pytest.mark.parametrize(("shots", "told"), [(0, False), (1, False), (4, True)])
def test_worked_examples_take_room_too(folder: Path, shots: int, told: bool) -> None:
    (folder / "own.py").write_text(PLUGIN)
    score = f"{{kind: evaluate, models: [given], problems: [own.py:own:test], problems_each: 1, " \
            f"prompt: {{shots: {shots}, template: qa}}, max_completion_tokens: 8}}"
    (folder / "recipe.yaml").write_text(f"name: shots\nstages:\n  score: {score}\n")
    asked = recipe.read(str(folder / "recipe.yaml"), [])
    if told:
        with pytest.raises(RecipeError, match=r"yaml:3: score: given on own\.py:own:test: 1 of 1 prompts.*shots"):
            check(asked, exactly=True)
    else:
        check(asked, exactly=True)
