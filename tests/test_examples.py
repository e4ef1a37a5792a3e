"""Every block of code in recipes/README.md, taken from the file as it stands and used as the text around it says."""

import re
from pathlib import Path

import pyarrow
import pytest
import yaml
from pyarrow import parquet

from eval.problems import load
from pipeline.commands import cli
from pipeline.recipe import recipe
from pipeline.recipe.inputs import Source
from rewards.grade import grade
from rewards.rubric import Rubric
from rewards.sandbox.levels import Level
from rewards.sandbox.pool import sandbox
from rewards.types import Completion, Problem

GUIDE = Path(__file__).resolve().parent.parent / "recipes" / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
FILES = {
    name[1]: text for kind, text in BLOCKS if kind == "python" and (name := re.match(r"# (\w+\.py), beside", text))
}
RECIPE, *OTHERS = [text for kind, text in BLOCKS if kind == "yaml"]
STAGES = [text for text in OTHERS if "kind:" in text]
FRAGMENTS = [text for text in OTHERS if text not in STAGES]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files and its recipe, the current one."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    text = RECIPE
    if sandbox.report().level < Level.L3:  # what the recipe demands is not to be had on this machine
        text = text.replace("sandbox_at_least: L3", "sandbox_at_least: L1")
    (tmp_path / "mine.yaml").write_text(text)
    rows = [{"data_source": "sums", "prompt": [{"role": "user", "content": f"{number} + 1 = ?"}],
             "reward_model": {"ground_truth": str(number + 1)}} for number in range(32)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(text: str) -> recipe.Recipe:
    Path("mine.yaml").write_text(text)

    def resolve_hub(source: Source) -> str:
        return f"commit of {source.reference}"

    return recipe.read("mine.yaml", resolve_hub=resolve_hub)


def test_no_block_is_forgotten() -> None:
    assert {kind for kind, _ in BLOCKS} == {"yaml", "python"}
    assert set(FILES) == {"my_rules.py", "my_rewards.py", "riddles.py", "count.py"}
    assert len(FILES) == sum(kind == "python" for kind, _ in BLOCKS)
    assert (len(FRAGMENTS), len(STAGES)) == (8, 2)


def test_the_recipe_is_one_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "mine.yaml", "--trust"]) == 0
    shown = capsys.readouterr().out
    assert "zero" in shown
    assert "would run" in shown


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_what_a_stage_may_have_besides(fragment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.stages.grpo.missing", lambda: None)  # as where vLLM is installed
    text = Path("mine.yaml").read_text()
    given = yaml.safe_load(fragment)
    # in the place of what is there
    others = "".join(line for line in text.splitlines(True) if line.partition(":")[0].strip() not in given)
    made = read(others.rstrip() + "\n" + fragment)
    assert made.steps["zero"].config.model_dump() != read(text).steps["zero"].config.model_dump()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_of_its_own(stage: str) -> None:
    (name,) = yaml.safe_load(stage)
    config, written = read(f"stages:\n{stage}").steps[name].config.model_dump(), yaml.safe_load(stage)[name]
    assert {"kind": written["kind"], **{field: config[field] for field in written if field != "kind"}} == written


def test_hub_ids_are_read_as_the_comment_says() -> None:
    text = Path("mine.yaml").read_text().replace("model: base", "model: Qwen/Qwen3-30B-A3B-Base")
    assert read(text).steps["zero"].sources["Qwen/Qwen3-30B-A3B-Base"].origin == "hub"


def test_the_rule() -> None:
    rubric = Rubric.model_validate({"rules": {"my_rules.py:brevity": {"weight": 0.1, "most": 40}}},
                                   context={"base": Path.cwd()})
    problem = Problem("p", "1 + 1 = ?", "2", "math", "sums")
    for tokens, expected in ((40, 1.1), (41, 1.0)):
        completion = Completion("<answer>2</answer>", finished=True, tokens=tokens)
        assert rubric.score(problem, completion, grade(problem, completion)).total == pytest.approx(expected)


def test_rewards_of_other_libraries() -> None:
    fragment, _ = [text for text in FRAGMENTS if "verl:" in text]
    rubric = Rubric.model_validate(yaml.safe_load(fragment)["reward"], context={"base": Path.cwd()})
    problem = Problem("p", "1 + 1 = ?", "2", "verl:my_rewards.py:compute_score", "sums")
    for text, total in (("<answer> 2", 1.0 + 0.5), ("<answer>2</answer>", -1.0 + 0.2)):
        completion = Completion(text, ids=(1,) * 40)
        verdict = grade(problem, completion)
        assert verdict.correct is (total > 0)
        assert rubric.score(problem, completion, verdict).total == pytest.approx(total)
    brief = Rubric.model_validate({"correct": 0, "rules": {"trl:my_rewards.py:brief": 1}}, context={"base": Path.cwd()})
    assert brief.score(problem, Completion("2222"), verdict).total == 0.25
    assert brief.score(Problem("p", "?", "", "math", "sums"), Completion("2222"), verdict).total is None


def test_the_problem_set() -> None:
    train, test = (load(f"riddles.py:sums:{split}", 3, base=Path.cwd()) for split in ("train", "test"))
    assert [problem.prompt for problem in train] == ["0 + 0 = ?", "2 + 2 = ?", "4 + 4 = ?"]
    assert {problem.id for problem in train}.isdisjoint(problem.id for problem in test)
    assert all(grade(one, Completion(f"<answer>{one.answer}</answer>", finished=True)).correct for one in train)


@pytest.mark.parametrize("named", ["traces", "traces/data.jsonl"])
def test_the_stage_runs(named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage that knows nothing but `pipeline.stage`, on a data set of one's own."""
    data = Path("traces")
    data.mkdir()
    (data / "data.jsonl").write_text('{"prompt": "1 + 1 = ?", "completion": "2\u2028"}\n' * 3)
    Path("counts.yaml").write_text(f"stages:\n  counted: {{kind: count.py:Count, data: {named}}}\n")
    assert cli.main(["run", "counts.yaml"]) == 0
    assert "rows 3" in capsys.readouterr().out
