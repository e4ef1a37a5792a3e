"""What stages cannot work with is known before the first stage of a run, where it lies here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract.errors import RecipeError
from pipeline.models import pretrained
from pipeline.models.tokenizer import train_tokenizer
from pipeline.recipe import recipe, trust
from pipeline.run.before import reads

TOKENIZER = train_tokenizer(["What is one and two?"], 64)
OTHER = train_tokenizer(["Three apples and a pear."], 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, row in (("rows", {"prompt": "What is", "completion": "one"}),
                      ("graded", {"prompt": "What is", "completion": "one", "problem": "1", "asked": "1",
                                  "pass_rate": .5}),
                      ("mine", {"prompt": "What is", "answer": "1", "id": "1"})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path


Save = Callable[..., None]


@pytest.fixture
def save(tiny: Callable[..., Any], folder: Path) -> Save:
    def save(name: str, family: str, tokenizer: Any = TOKENIZER, **fields: object) -> None:
        pretrained.save(tiny(family, vocab_size=len(tokenizer), **fields), tokenizer, folder / name)

    return save


def check(folder: Path, *stages: str, exactly: bool = True) -> None:
    file = folder / "recipe.yaml"
    file.write_text("stages:\n" + "".join(f"  {stage}\n" for stage in stages))
    reads.check(recipe.read(str(file), []), exactly=exactly)


def told(folder: Path, *stages: str, exactly: bool = True) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        check(folder, *stages, exactly=exactly)
    return str(caught.value).splitlines()


TUNED = "tuned: {kind: sft, model: given, data: rows.jsonl}"
TAUGHT = "taught: {kind: distill, student: tuned, method: METHOD, teacher: TEACHER, traces: rows.jsonl}"
GUIDED = ("guided: {kind: grpo, model: tuned, problems: [mine.jsonl], problems_each: 1, steps: 1, prompts_per_step: 1, "
          "teacher: {model: TEACHER}}")
ON_POLICY = ("taught: {kind: distill, student: tuned, method: on_policy, teacher: TEACHER, rollouts: {problems: "
             "[mine.jsonl], problems_each: 1, steps: 1, prompts_per_step: 1, group_size: 2}}")


@pytest.mark.parametrize("stage", [
    TAUGHT.replace("METHOD", "logits"), TAUGHT.replace("METHOD", "self"), GUIDED, ON_POLICY,
    TAUGHT.replace("METHOD, teacher: TEACHER", "ensemble, teachers: [given, TEACHER]"),
])
def test_a_teacher_with_another_tokenizer_is_told(folder: Path, save: Save, stage: str) -> None:
    save("given", "qwen3")
    save("other", "qwen3", OTHER)
    check(folder, TUNED, stage.replace("TEACHER", "given"))
    [said] = told(folder, TUNED, stage.replace("TEACHER", "other"))
    assert "recipe.yaml:3: " in said
    assert "other has another tokenizer than the student" in said


def test_text_and_words_of_both_need_no_tokenizer_in_common(folder: Path, save: Save) -> None:
    save("given", "qwen3")
    save("other", "qwen3", OTHER)
    check(folder, TUNED, TAUGHT.replace("METHOD", "cross_tokenizer").replace("TEACHER", "other"))


def test_a_teacher_of_another_shape_is_no_earlier_self(folder: Path, save: Save) -> None:
    save("given", "qwen3")
    save("wide", "qwen3", intermediate_size=80)
    stage = TAUGHT.replace("TEACHER", "wide")
    check(folder, TUNED, stage.replace("METHOD", "logits"))
    [said] = told(folder, TUNED, stage.replace("METHOD", "self"))
    assert "wide is no earlier self of the student: its intermediate_size is 80" in said


def test_a_model_that_cannot_be_upcycled_is_told_once(folder: Path, save: Save) -> None:
    mixed = ["mixed: {kind: upcycle, model: tuned}", "more: {kind: sft, model: mixed, data: rows.jsonl, mtp: {}}"]
    save("given", "qwen3")
    check(folder, TUNED, *mixed)
    save("given", "deepseek_v3")
    [said] = told(folder, TUNED, *mixed)
    assert "recipe.yaml:3: mixed: deepseek_v3 models are not upcycled without a shared expert" in said


@pytest.mark.parametrize(("dtype", "fits"), [("", False), (", dtype: float32", True)])
def test_widths_of_experts_are_of_the_precision_that_is_handed_on(
    folder: Path, save: Save, dtype: str, fits: bool
) -> None:
    save("given", "qwen3", intermediate_size=36, dtype="bfloat16")
    stages = TUNED.replace("}", f"{dtype}}}"), "mixed: {kind: upcycle, model: tuned}"
    if fits:
        check(folder, *stages)
    else:
        assert "mixed: the feed-forward blocks have 36 neurons" in told(folder, *stages)[0]


def test_a_family_without_a_module_is_told(folder: Path, save: Save) -> None:
    save("given", "jamba")
    [said] = told(folder, TUNED, "more: {kind: sft, model: tuned, data: rows.jsonl, mtp: {}}")
    assert "recipe.yaml:3: more: mtp: jamba models are not among" in said


@pytest.mark.parametrize(("family", "balance", "said"), [
    ("qwen3", "load: 0.1", "balance.load: qwen3 models have no experts to balance"),
    ("qwen3_moe", "bias_speed: 0.1", "balance.bias_speed: qwen3_moe routers have no selection bias to move"),
    ("qwen3_moe", "device: 0.1, devices: 3", "balance.devices: 4 experts do not split over 3 devices"),
    ("dbrx", "device: 0.1, devices: 3", "balance.devices: 4 experts do not split over 3 devices"),
])
def test_routers_that_cannot_be_balanced_so_are_told(
    folder: Path, save: Save, family: str, balance: str, said: str
) -> None:
    save("given", family)
    again = f"more: {{kind: sft, model: tuned, data: rows.jsonl, balance: {{{balance}}}}}"
    [line] = told(folder, TUNED, again)
    assert f"recipe.yaml:3: more: {said}" in line
    check(folder, TUNED, again.replace(balance, "bias_speed: 0"))


def test_an_adapter_holds_no_bias(folder: Path, save: Save) -> None:
    save("given", "deepseek_v3")
    again = "more: {kind: sft, model: tuned, data: rows.jsonl, balance: {bias_speed: 0.001}LORA}"
    check(folder, TUNED, again.replace("LORA", ""))
    [line] = told(folder, TUNED, again.replace("LORA", ", lora: {}"))
    assert "recipe.yaml:3: more: balance.bias_speed: an adapter cannot hold the routers' bias" in line


OWN = """
from typing import ClassVar
from pipeline.contract.fields import ModelInput
from pipeline.contract.stage import Stage
from pipeline.contract.work import Trained, Work


class Mine(Stage):
    kind: ClassVar[str] = "mine"
    makes: ClassVar[str] = "model"
    model: ModelInput
    balance: float = 0.5

    def work(self):
        return Work(trained=[Trained(self.model, 1)], rows=1)

    def run(self, ctx):
        return {}
"""


def test_a_stage_of_ones_own_may_call_anything_balance(folder: Path, save: Save) -> None:
    save("given", "qwen3_moe")
    (folder / "mine.py").write_text(OWN)
    trust.remember([folder])
    check(folder, TUNED, "more: {kind: mine.py:Mine, model: given}")


@pytest.mark.parametrize(("family", "sizes", "asked", "said"), [
    ("jamba", "num_hidden_layers: 8", "mtp: {}", "mtp: jamba models are not among"),
    ("dbrx", "attn_config: {rope_theta: 500000.0, clip_qkv: 8.0}", "fp8: {}",
     "fp8: how dbrx keeps its experts is not known in eight bits"),
])
def test_so_is_a_family_that_is_made_from_nothing(
    folder: Path, save: Save, family: str, sizes: str, asked: str, said: str
) -> None:
    save("given", "qwen3")
    fields = f"model_type: {family}, tie_word_embeddings: false, {sizes}"
    made = f"made: {{kind: pretrain, steps: 1, architecture: {{{fields}}}, {asked}}}"
    assert told(folder, TUNED, made)[0].startswith(f"{folder}/recipe.yaml:3: made: {said}")


SCORED = ("score: {kind: evaluate, models: [MODEL], problems: [mine.jsonl], problems_each: 1, speculate: mtp}")
BASE = "tuned: {kind: pretrain, steps: 1, architecture: {model_type: qwen3}MTP}"


@pytest.mark.parametrize("exactly", [True, False])
@pytest.mark.parametrize("base", [TUNED, BASE.replace("MTP", "")])
def test_who_drafts_needs_a_module(folder: Path, save: Save, base: str, exactly: bool) -> None:
    save("given", "qwen3")
    scored = SCORED.replace("MODEL", "again")
    again = "again: {kind: sft, model: tuned, data: rows.jsonlMTP}"
    [said] = told(folder, base, again.replace("MTP", ""), scored, exactly=exactly)
    assert "recipe.yaml:4: score: speculate: mtp drafts with a module" in said
    check(folder, base, again.replace("MTP", ", mtp: {}"), scored, exactly=exactly)
    check(folder, BASE.replace("MTP", ", mtp: {}"), again.replace("MTP", ""), scored, exactly=exactly)


def test_a_module_may_lie_beside_a_given_model_or_be_trained_by_who_drafts(folder: Path, save: Save) -> None:
    save("given", "qwen3")
    own = GUIDED.replace("teacher: {model: TEACHER}", "speculate: mtp, mtp: {}")
    check(folder, TUNED, own)
    assert told(folder, TUNED, own.replace(", mtp: {}", ""))
    assert told(folder, SCORED.replace("MODEL", "given"))
    (folder / "given" / "mtp.safetensors").touch()
    check(folder, SCORED.replace("MODEL", "given"), exactly=False)
    check(folder, TUNED, own.replace(", mtp: {}", ""), exactly=False)


def test_traces_without_verdicts_are_told(folder: Path, save: Save) -> None:
    save("given", "qwen3")
    stage = ("taught: {kind: distill, student: tuned, method: ensemble, teachers: [given, given], "
             "traces: [graded.jsonl, ROWS.jsonl]}")
    check(folder, TUNED, stage.replace("ROWS", "graded"))
    [said] = told(folder, TUNED, stage.replace("ROWS", "rows"))
    assert "recipe.yaml:3: taught: a row of rows.jsonl does not say what it was asked" in said
