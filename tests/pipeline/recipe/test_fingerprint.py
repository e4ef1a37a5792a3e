from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.disk.hashes import FileHashes
from pipeline.recipe import fingerprint, recipe

Write = Callable[..., Path]

TEXT = """\
stages:
  base: {kind: "tiny.py:Make", steps: 5}
  traces: {kind: "tiny.py:Write", model: base}
  student: {kind: "tiny.py:Learn", data: traces, reward: {rules: {"own.py:short": 0.2}}}
"""
RULE = "def short(problem, completion):\n    '''Short.'''\n    return 1.0\n"


def prints(path: Path, *sets: str) -> dict[str, fingerprint.Fingerprint]:
    return fingerprint.of_recipe(recipe.read(str(path), sets))


def digests(path: Path, *sets: str) -> dict[str, str]:
    return {name: print_.digest for name, print_ in prints(path, *sets).items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def test_a_change_reaches_what_depends_on_it_and_nothing_else(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(RULE)
    path = write_recipe(TEXT)
    before = digests(path)
    assert digests(path) == before
    assert changed(before, digests(path, "base.log_every=9")) == set()
    assert changed(before, digests(path, "base.at_once=9")) == set()
    assert changed(before, digests(path, "base.steps=6")) == {"base", "traces", "student"}
    assert changed(before, digests(path, "traces.steps=6")) == {"traces", "student"}
    assert changed(before, digests(path, "seed=1")) == {"base", "traces", "student"}
    assert changed(before, digests(path, "parallel=2")) == set()
    assert changed(before, digests(path, "student.reward.correct=2")) == {"student"}


def test_an_edited_plug_in_is_another_stage(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(RULE)
    path = write_recipe(TEXT)
    before = prints(path)
    (tmp_path / "own.py").write_text(RULE.replace("1.0", "0.5"))
    after = prints(path)
    assert changed(digests(path), {name: p.digest for name, p in before.items()}) == {"student"}
    assert fingerprint.differences(before["student"].parts, after["student"].parts) == ["rule own.py:short was edited"]


def test_the_bytes_of_a_path_count_and_not_its_name_alone(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(RULE)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    path = write_recipe(TEXT)
    before = digests(path, "traces.model=./model")
    (tmp_path / "model" / "config.json").write_text("{ }")
    assert changed(before, digests(path, "traces.model=./model")) == {"traces", "student"}


def test_differences_say_which_field(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(RULE)
    path = write_recipe(TEXT)
    old = prints(path)
    new = prints(path, "base.steps=6", "seed=1", "student.reward.rules.format=0.1", "base.phases=[{length: 2}]")
    assert fingerprint.differences(old["base"].parts, new["base"].parts) == [
        "seed 0 -> 1", "steps 5 -> 6", 'phases [] -> [{"length": 2, "steps": 1}]']
    assert fingerprint.differences(old["student"].parts, new["student"].parts) == [
        "seed 0 -> 1", "reward.rules.format is new (0.1)", "input traces changed"]


def test_files_that_an_accelerate_config_names_count(write_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "cpu.yaml").write_text(
        "distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: zero.json}\n"
    )
    (tmp_path / "zero.json").write_text("{}")
    path = write_recipe("accelerate: cpu.yaml\nstages:\n  base: {kind: 'tiny.py:Spread'}\n")
    first = prints(path)["base"]
    assert prints(path)["base"] == first
    (tmp_path / "zero.json").write_text('{"zero_optimization": {"stage": 3}}')
    assert fingerprint.differences(first.parts, prints(path)["base"].parts) == ["the accelerate config changed"]


def test_how_many_processes_there_are_changes_no_fingerprint(write_recipe: Write, tmp_path: Path) -> None:
    stages = "stages:\n  base: {kind: 'tiny.py:Spread'}\n  alone: {kind: 'tiny.py:Make'}\n"
    path = write_recipe(f"accelerate: cpu.yaml\n{stages}")
    found = []
    texts = ("num_processes: 2\nmachine_rank: 0\n", "num_processes: 8\nnum_machines: 2\n", "mixed_precision: bf16\n")
    for text in texts:
        (tmp_path / "cpu.yaml").write_text(f"distributed_type: MULTI_CPU\n{text}")
        found.append(prints(path))
    assert found[0]["base"] == found[1]["base"] != found[2]["base"]
    assert found[0]["alone"] == found[2]["alone"] == prints(write_recipe(stages))["alone"]  # it runs in one process


@pytest.mark.parametrize(("text", "said"), [("a: [1", "cpu.yaml:1: is not YAML"), ("- a", "is no accelerate config"),
                                            ("", "is no accelerate config"),
                                            ("root:*:0", "is no accelerate config")])
def test_an_accelerate_config_that_is_none_is_told_with_its_name(
    write_recipe: Write, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "cpu.yaml").write_text(text)
    with pytest.raises(RecipeError, match=f"recipe.yaml:1: accelerate: .*{said}"):
        prints(write_recipe("accelerate: cpu.yaml\nstages:\n  base: {kind: 'tiny.py:Make'}\n"))


def test_an_accelerate_config_that_was_edited_is_told(write_recipe: Write, tmp_path: Path) -> None:
    path = write_recipe("name: wide\naccelerate: config.yaml\nstages:\n  base: {kind: 'tiny.py:Spread'}\n")
    config = tmp_path / "config.yaml"
    config.write_text("distributed_type: MULTI_CPU\nmixed_precision: 'no'\n")
    parts = prints(path)["base"].parts
    assert fingerprint.edited(parts, {}, tmp_path, config, FileHashes()) == []
    for text in ("distributed_type: MULTI_CPU\nmixed_precision: bf16\n", "a: [1"):
        config.write_text(text)
        assert fingerprint.edited(parts, {}, tmp_path, config, FileHashes()) == [str(config)]
