"""`retort plan --on`: a table, assumptions by name, and one line for what cannot be done."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.commands import cli

Write = Callable[..., Path]
RECIPE = """
name: little
stages:
  base:
    kind: pretrain
    steps: 2000
    length: 128
    architecture: {model_type: llama, hidden_size: 64, num_hidden_layers: 2, intermediate_size: 64,
                   num_attention_heads: 4, num_key_value_heads: 2}
  own: {kind: tiny.py:Make}
"""


def _planned(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> list[str]:
    assert cli.main(["plan", *map(str, arguments)]) == code
    printed = capsys.readouterr()
    return (printed.out if code == 0 else printed.err).splitlines()


def test_a_plan_with_money(write_recipe: Write, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _planned(capsys, write_recipe(RECIPE), "--on", "8xh100")
    assert lines[0].startswith("little on 8xh100")
    assert lines[1].split()[:5] == ["stage", "kind", "model", "tokens", "FLOPs"]
    base = lines[2].split()
    assert base[:2] == ["base", "pretrain"]
    assert "yes" in base
    assert lines[3].split() == ["own", "tiny.py:Make", *["-"] * 13]
    assert lines[4].split()[0] == "all"
    assert "own: not known: tiny.py:Make does not say what it computes" in lines
    assert any(line.startswith("8 devices are paid for and at most 1 of them are used") for line in lines)
    assumed = "\n".join(lines[lines.index("assumed:"):])
    for name in ("h100: 79.1 GiB", "price 2.9", "mfu 0.4", "completion 0.6"):
        assert name in assumed


def test_a_terminal_shows_which_stage_is_reckoned(
    write_recipe: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(RECIPE)
    assert cli.main(["plan", str(path), "--on", "h100"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["plan", str(path), "--on", "h100"]) == 0
    assert "reckons base, 1 of 2\r\x1b[Kreckons own, 2 of 2\r\x1b[K" in capsys.readouterr().err


def test_assumptions_can_be_given(write_recipe: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_recipe(RECIPE)
    given = _planned(capsys, path, "--on", "h100", "--price", "100", "--mfu", "0.1")
    assert "price 100, mfu 0.1, mfu_mixture 0.1" in given[-1]
    cheap, dear = (float(_planned(capsys, path, "--on", "h100", "--price", price)[2].split()[-1])
                   for price in ("1000", "3000"))
    assert dear == pytest.approx(3 * cheap, rel=0.1)


@pytest.mark.faults
def test_on_this_machine_it_costs_nothing(write_recipe: Write, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _planned(capsys, write_recipe(RECIPE), "--on", "this")
    assert lines[2].split()[-1] == "0.00"
    assert any(line.strip().startswith("this: ") for line in lines)


@pytest.mark.parametrize(("arguments", "said"), [
    (["--on", "8xh10"], "--on 8xh10: there is no device 'h10'; did you mean 'h100'?"),
    (["--on", "h100", "--price", "-1"], "--price -1: dollars for a device and hour are from 0 to a million"),
    (["--on", "h100", "--price", "nan"], "--price nan: dollars for a device and hour are from 0 to a million"),
    (["--on", "h100", "--mfu", "2"], "--mfu 2: it is a share, above 0 and up to 1"),
    (["--price", "2"], "--price is for a plan with --on"),
])
def test_what_cannot_be_planned_is_told(
    write_recipe: Write, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert _planned(capsys, write_recipe(RECIPE), *arguments, code=2) == [said]


def test_fewer_devices_than_a_recipe_works_on_are_refused(
    write_recipe: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 2\n")
    drawn = RECIPE.replace("own: {kind: tiny.py:Make}", "drawn: {kind: sample, model: base, engine: vllm, problems: "
                           "[word_problems:train], vllm: {python: python, tensor_parallel: 4}}")
    for text, used in ((RECIPE, 2), (drawn, 4)):
        path = write_recipe(text.replace("stages:", "accelerate: two.yaml\nstages:", 1))
        [said] = _planned(capsys, path, "--on", "h100", code=2)
        assert said.startswith(f"--on h100: the recipe works on {used} devices at once")
        assert said.endswith(f"write --on {used}xh100")
        assert not any("are used" in line for line in _planned(capsys, path, "--on", f"{used}xh100"))
        assert any(f"at most {used} of them are used" in line for line in _planned(capsys, path, "--on", "8xh100"))


def test_a_model_out_of_reach_has_a_line(write_recipe: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_recipe("name: far\nstages:\n  far: {kind: evaluate, models: [Nobody/Nothing], "
                        "problems: [word_problems:test]}\n")
    [line] = [line for line in _planned(capsys, path, "--on", "h100") if line.startswith("far: ")]
    assert line.startswith("far: not known: model 'Nobody/Nothing' is not in the hub cache")
