"""What recipes of built-in stages say that cannot be: each is one line with its place, before any work."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.recipe import recipe

GOOD = """\
name: good
stages:
  base:
    kind: pretrain
    steps: 40
    length: 72
    lessons: [{steps: 10, corpus: {facts: 0.4, lists: 0.6, needles: 0.0, words: 0.0}}]
    corpus: {words: 0.5}
    architecture: {model_type: qwen3, hidden_size: 32, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8}
  long:
    kind: extend
    model: base
    scaling: {rope_type: yarn, factor: 2.0}
    phases: [{length: 96, steps: 2}, {length: 144, steps: 2}]
  zero:
    kind: grpo
    model: base
    problems: [programs:train, mine.jsonl]
    problems_each: 20
    steps: 4
    reward: {correct: 1.0, rules: {format: 0.2, overlong: {weight: 1.0, most: 64, buffer: 16}}}
  tuned:
    kind: sft
    model: base
    data: rows.jsonl
  score:
    kind: evaluate
    models: [zero]
    problems: [programs:test]
    problems_each: 8
    prompt: {shots: 2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the recipe names."""
    rows = [json.dumps({"prompt": f"{i}?", "completion": str(i)}) for i in range(5)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    problems = [json.dumps({"prompt": f"{i} + 1?", "answer": str(i + 1)}) for i in range(20)]
    (tmp_path / "mine.jsonl").write_text("\n".join(problems))
    return tmp_path


@pytest.fixture
def complaints(folder: Path) -> Callable[..., list[str]]:
    def read(text: str, *sets: str) -> list[str]:
        file = folder / "recipe.yaml"
        file.write_text(text)
        with pytest.raises(RecipeError) as caught:
            recipe.read(str(file), sets)
        return [line.replace(f"{file}:", "").replace(f"{folder}/", "") for line in caught.value.lines]

    return read


def test_the_recipe_itself_is_right(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(GOOD)
    assert len(recipe.read(str(folder / "recipe.yaml")).steps) == 5


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("steps: 40", "steps: 99999999999", "5: base.steps: should be less than or equal to 1000000, not 99999999999"),
    ("steps: 40", "steps: 4", "3: base: the lessons take 10 steps, and steps is 4, of which they are a part"),
    ("steps: 40", "steps: 40\n    learning_rate: .inf", "6: base.learning_rate: is inf, and has to be a finite number"),
    ("steps: 40", "steps: 40\n    learning_rate: .nan", "6: base.learning_rate: is nan, and has to be a finite number"),
    ("steps: 40", "steps: 40\n    learning_rate: 1e999", "6: base.learning_rate: is inf"),
    ("steps: 40", "steps: 40\n    probe_at_least: 1.5", "6: base.probe_at_least: should be less than or equal to 1"),
    ("steps: 40", "steps: 40\n    batch_size: true", "6: base.batch_size: should be a number, not true"),
    ("steps: 40", "steps: '40'", "5: base.steps: should be a number, not the text '40'; write it without quotes"),
    ("steps: 40", "steps: 1000000\n    batch_size: 1000", "3: base: steps, rounds of more_steps and batch_size make "),
    ("length: 72", "length: 8", "3: base: no text of a corpus is as short as 8 tokens; set length higher"),
    ("{words: 0.5}", "{words: 0.9}", "8: base.corpus: facts, lists, needles, words, countdown and products make"),
    ("{words: 0.5}", "{behaviours: {corect: 1}}", "8: base.corpus.behaviours.corect: should be 'correct', "),
    ("{words: 0.5}", "{behaviours: {correct: 0}}", "8: base.corpus: behaviours needs a share above 0"),
    ("{words: 0.5}", "[words]", "8: base.corpus: should be a block of `name: value` lines, not a list"),
    ("model_type: qwen3", "model_type: qwen33", "9: base.architecture.model_type: 'qwen33' is unknown to transformers"),
    ("head_dim: 8", "head_dim: 8, max_position_embeddings: 9", "3: base: architecture.max_position_embeddings (9) is "),
    ("rope_type: yarn", "rope_type: yran", "13: long.scaling.rope_type: there is no rope_type 'yran'; did you mean"),
    ("[{length: 96", "[{length: 196", "10: long: phases go from short to long texts, and these are [196, 144]"),
    ("[{length: 96", "[{length: 20", "10: long: a phase of 20 tokens is too short for the long texts"),
    ("programs:train", "programs:trian", "18: zero.problems.0: problem set 'programs' has no split 'trian'"),
    ("problems_each: 20", "problems_each: 512", "18: zero.problems.1: mine.jsonl holds 20 problems; 512 were asked"),
    ("buffer: 16", "buffer: 0", "21: zero.reward.rules.overlong: rule 'overlong': option buffer should be greater"),
    ("weight: 1.0", "weight: 1e300", "21: zero.reward.rules.overlong: rule 'overlong': weight is a number up to"),
    ("correct: 1.0", "correct: -1", "21: zero.reward.correct: should be greater than or equal to 0"),
    ("shots: 2", "shots: 2000", "31: score.prompt.shots: should be less than or equal to 1000"),
    ("prompt: {shots: 2}", "shots: 2",
     "31: score.shots: this field is part of the section prompt: write `prompt: {shots: ..}`"),
    ("prompt: {shots: 2}", "open_thinking: true", "31: score.open_thinking: this field is part of the section prompt"),
    ("shots: 2", "template_options: {tokenize: true}", "31: score.prompt: template_options cannot set tokenize"),
    ("shots: 2", "open_thinking: true, template_options: {enable_thinking: false}",
     "31: score.prompt: open_thinking asks for thinking, and template_options.enable_thinking is false"),
    ("shots: 2", "stop: ['']", "31: score.prompt.stop.0: String should have at least 1 character"),
    ("shots: 2", "systen: Be brief.", "31: score.prompt.systen: there is no such field; did you mean 'system'?"),
    ("[programs:test]", "[aime2024:test]", "score: aime2024:test has no worked examples for few-shot prompts: "),
    ("[zero]", "zero", "28: score.models: should be a list, not 'zero'; write [zero]"),
    ("[zero]", "[]", "26: score: there is nothing to measure"),
    ("data: rows.jsonl", "data: nowhere.jsonl", "25: tuned.data: there is no file or folder 'nowhere.jsonl'"),
    ("kind: sft\n    model: base", "kind: sft\n    model: .", "24: tuned.model: '.' has no config.json"),
])
def test_what_cannot_be_is_one_line(complaints: Callable[..., list[str]], old: str, new: str, expected: str) -> None:
    assert old in GOOD
    [found] = complaints(GOOD.replace(old, new))
    assert expected in found


ZIPPED = gzip.compress(b"{}", mtime=0)  # without the time, which would be part of the tests' names


@pytest.mark.parametrize(("file", "written", "expected"), [
    ("rows.jsonl", '{"prompt": "a", "completion": "é"}'.encode("latin-1"), "rows.jsonl:1 is not UTF-8 (byte 0xe9 at"),
    ("rows.jsonl", ZIPPED[:-4], "rows.jsonl is compressed with gzip, and broken or cut off"),
    ("rows.jsonl", ZIPPED, "rows.jsonl:1: a row needs \"prompt\" and \"completion\", \"messages\" or"),
    ("rows.jsonl", b'{"prompt": 5, "completion": "a"}', "rows.jsonl:1: 'prompt' must be text, not 5"),
    ("rows.jsonl", b'{"prompt": "a"}', 'rows.jsonl:1: a row needs "prompt" and "completion"'),
    ("rows.jsonl", b"prompt,completion\n", "rows.jsonl:1 is not JSON"),
    ("rows.jsonl", b"", "rows.jsonl has no rows"),
    ("mine.jsonl", '{"prompt": "é", "answer": "1"}'.encode("latin-1"), "mine.jsonl:1 is not UTF-8"),
    ("mine.jsonl", ZIPPED[:-4], "mine.jsonl is compressed with gzip, and broken or cut off"),
    ("mine.jsonl", b'{"prompt": 5, "answer": "1"}', "mine.jsonl:1: 'prompt' must be text, not 5"),
])
def test_files_are_read_before_any_work(
    folder: Path, complaints: Callable[..., list[str]], file: str, written: bytes, expected: str
) -> None:
    (folder / file).write_bytes(written)
    [found] = complaints(GOOD)
    assert expected in found
    assert found.startswith(("25: tuned.data: ", "18: zero.problems.1: "))


def test_a_byte_order_mark_is_no_part_of_a_file(folder: Path) -> None:
    for name in ("rows.jsonl", "mine.jsonl", "recipe.yaml"):
        text = GOOD.encode() if name == "recipe.yaml" else (folder / name).read_bytes()
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text)
    assert len(recipe.read(str(folder / "recipe.yaml")).steps) == 5


def test_every_setting_of_the_top_level_can_be_set(folder: Path, complaints: Callable[..., list[str]]) -> None:
    (folder / "recipe.yaml").write_text(GOOD)
    read = recipe.read(str(folder / "recipe.yaml"), ["leaks=tell", "sandbox_at_least=L1", "checkpoints.every_steps=5"])
    assert (read.leaks, read.checkpoints.every_steps, read.run_name) == ("tell", 5, "good")
    [found] = complaints(GOOD, "leaks=tel")
    assert found == "--set leaks=tel: leaks: should be 'stop' or 'tell', not 'tel'; did you mean 'tell'?"
    [found] = complaints(GOOD, "checkpoints.every_step=5")
    assert found.startswith("--set checkpoints.every_step=5: checkpoints.every_step: there is no such field; did you")
    [found] = complaints(GOOD, "stages.zero=5")
    assert found.startswith("--set stages.zero=5: there is no stage 'stages'")


def test_stages_as_a_list_are_told_how_to_be_written(complaints: Callable[..., list[str]]) -> None:
    assert complaints("stages:\n  - base: {kind: sft}\n") == [
        "1: stages: should be a block of `name: value` lines, not a list; write them without the dashes"
    ]


@pytest.mark.parametrize(("tools", "said"), [
    ("{use: [calculator, calculator]}", "two tools have one name; leave one of them out"),
    ("{use: ['tools.py:bare']}", "a tool is a function with a type for each argument"),
    ("{use: [search], documents: empty}", "empty has no document whose name ends in .txt or .md"),
])
def test_tools_are_made_once(folder: Path, complaints: Callable[..., list[str]], tools: str, said: str) -> None:
    if "search" in tools:
        pytest.importorskip("bm25s")
    (folder / "empty").mkdir()
    (folder / "tools.py").write_text("def bare(text: str) -> str:\n    return text\n")
    [line] = complaints(GOOD.replace("    steps: 4\n    reward", f"    steps: 4\n    tools: {tools}\n    reward"))
    assert said in line
    assert ": zero: " in line
