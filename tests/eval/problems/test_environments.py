"""Environments of verifiers as problem sets: a stand-in for the package, and the package itself where it is there."""

import importlib.metadata
import importlib.util
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eval.errors import ProblemSetError
from eval.problems import environments, load, resolve
from eval.problems.content import content
from eval.tools.registry import TOOLS
from rewards.grade import grade, load_verifiers
from rewards.registry import RegistryError
from rewards.types import Completion, Label

PACKAGE = """
import signal
from abc import ABC

class Rubric:
    def __init__(self, funcs, weights=None):
        self.funcs, self.weights, self.class_objects = funcs, weights or [1.0] * len(funcs), {}

class Environment(ABC):
    def __init__(self, dataset=None, eval_dataset=None, system_prompt="", rubric=None, **others):
        self.rubric, self.system_prompt = rubric, system_prompt
        self.dataset_source = dataset if callable(dataset) else None
        self.dataset, self.eval_dataset = map(self.formatted, (None if callable(dataset) else dataset, eval_dataset))
        signal.signal(signal.SIGTERM, lambda *_: exit(143))

    def formatted(self, rows):
        system = [{"role": "system", "content": self.system_prompt, "name": None}] if self.system_prompt else []
        return rows and [{"prompt": [*system, {"role": "user", "content": row["question"], "name": None}], **row}
                         for row in rows]

    def get_dataset(self): return self.dataset_source() if self.dataset_source else self.dataset
    def get_eval_dataset(self): return self.eval_dataset

class MultiTurnEnv(Environment):
    def setup_state(self, state): ...

class SingleTurnEnv(MultiTurnEnv): ...

class ToolEnv(MultiTurnEnv):
    def __init__(self, tools, **others):
        self.tools = tools
        super().__init__(**others)
"""

MINE = '''
import verifiers as vf

ROWS = [{"question": f"What is {i} + 2?", "answer": str(i + 2), "info": {"level": 3}} for i in range(40)]

def right(completion, answer, info): return float(completion[-1]["content"] == answer and info["level"] == 3)
def short(completion, state): return 1 / len(state["trajectory"][0]["completion"][0]["content"])

def lookup(word: str) -> str:
    """Looks a word up.

    Args:
        word: The word.
    """
    return word[::-1]

def rubric(): return vf.Rubric(funcs=[right, short], weights=[1.0, 0.5])

def load_environment():
    return vf.SingleTurnEnv(dataset=rows(ROWS[:30]), eval_dataset=rows(ROWS[30:]), system_prompt="Add.",
                            rubric=rubric())
'''
KINDS = {
    "one_of_rows": "vf.SingleTurnEnv(dataset=rows(ROWS), rubric=rubric())",
    "tools": "vf.ToolEnv(tools=[lookup], dataset=rows(ROWS), rubric=rubric())",
    "lambdas": "vf.ToolEnv(tools=[lambda word: word], dataset=rows(ROWS), rubric=rubric())",
    "several_turns": "type('Game', (vf.MultiTurnEnv,), {'env_response': None})(dataset=rows(ROWS), rubric=rubric())",
    "of_its_own": "type('Mine', (vf.SingleTurnEnv,), {'setup_state': None})(dataset=rows(ROWS), rubric=rubric())",
    "number": "5",
    "needs_a_key": "{}['API_KEY']",
    "leaves": "exit(3)",
    "far_away": "vf.SingleTurnEnv(dataset=lambda: {}['HUB'], eval_dataset=rows(ROWS), rubric=rubric())",
}


@pytest.fixture(params=["stand-in", "package"])
def environment(request: pytest.FixtureRequest, own_modules: Path) -> Path:
    """Where modules of environments lie, which import the package or its stand-in."""
    rows = "list"
    if request.param == "stand-in":
        (own_modules / "verifiers.py").write_text(PACKAGE)
    elif importlib.util.find_spec("verifiers") is None:
        pytest.skip("the extra verifiers is not installed")
    elif importlib.metadata.version("verifiers") >= "0.4":
        pytest.skip("verifiers has no such environments from 0.4 on (test_tasksets.py has what it has)")
    else:
        rows = "__import__('datasets').Dataset.from_list"
    module = f"rows = {rows}\n{MINE}"
    (own_modules / "my_env.py").write_text(module)
    for name, made in KINDS.items():
        (own_modules / f"{name}.py").write_text(module.rpartition("def load_environment")[0]
                                             + f"def load_environment(): return {made}\n")
    return own_modules


@pytest.mark.usefixtures("environment")
def test_its_rows_are_problems_that_its_rubric_grades() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    problems = load("verifiers:somebody/my-env:train")
    assert (len(problems), len(load("verifiers:somebody/my-env:test"))) == (30, 10)
    assert load("verifiers:my-env:train", 4) == load("verifiers:my-env:train", 8)[:4]
    one = problems[7]
    assert (one.prompt, one.answer, one.family) == ("Add.\n\nWhat is 7 + 2?", "9", "verifiers:somebody/my-env")
    assert one.meta["prompt"] == [{"role": "system", "content": "Add."}, {"role": "user", "content": "What is 7 + 2?"}]
    right, wrong, unfinished = (grade(one, Completion(text, finished=finished))
                                for text, finished in (("9", True), ("10", True), ("10", False)))
    assert (right.label, right.reason) == (Label.CORRECT, "score 1.5")
    assert (wrong.label, wrong.share) == (Label.WRONG, 0.25)
    assert unfinished.label == Label.TRUNCATED
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.usefixtures("environment")
def test_it_is_made_in_the_main_thread_and_grades_in_any() -> None:
    problems = load("verifiers:my-env:test", 2)
    load_verifiers(problems)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(grade, problems[0], Completion(problems[0].answer)).result().correct


@pytest.mark.usefixtures("environment")
def test_rows_of_the_other_split_are_not_made() -> None:
    assert len(load("verifiers:far-away:test")) == 40


@pytest.mark.usefixtures("environment")
def test_rows_of_one_kind_are_split_by_what_they_ask() -> None:
    train, test = ({problem.prompt for problem in load(f"verifiers:one-of-rows:{split}")}
                   for split in ("train", "test"))
    assert len(train) > len(test) > 0
    assert not train & test
    assert len(train | test) == 40


def test_another_rubric_or_other_rows_are_another_set(environment: Path) -> None:
    entry, split = resolve("verifiers:my-env:test")
    assert (entry.name, split) == ("verifiers:my-env", "test")
    first = content("verifiers:my-env:test", 4, 0)
    assert first == content("verifiers:my-env:test", 4, 0) != content("verifiers:my-env:train", 4, 0)
    module = environment / "my_env.py"
    module.write_text(module.read_text().replace("1.0, 0.5", "1.0, 0.25"))
    assert content("verifiers:my-env:test", 4, 0) != first


@pytest.mark.usefixtures("environment")
def test_its_tools_are_told_by_the_names_that_a_recipe_gives_them() -> None:
    environments._told.clear()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        assert load("verifiers:tools:train")
    [said] = [str(one.message) for one in told if "has tools" in str(one.message)]
    reference = said.partition("use: [")[2].partition("]")[0]
    assert TOOLS.resolve(reference).load()("abc") == "cba"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("name", "said"), [
    ("my-env:dev", "verifiers:my-env:train or verifiers:my-env:test"),
    ("my-env", "problem set 'verifiers:my-env' does not say which split: write verifiers:my-env:test"),
    ("none:test", "there is no environment 'none': install its package, which has the module none"),
    ("a b:test", "an environment is named like its package"),
    ("lambdas:test", "<lambda>, which is no function of a module"),
    ("several-turns:test", "is a MultiTurnEnv; of verifiers' environments SingleTurnEnv and ToolEnv are known here"),
    ("of-its-own:test", "is a SingleTurnEnv with a setup_state of its own, which is not called here"),
    ("number:test", "load_environment made a int and no environment of verifiers"),
    ("needs-a-key:test", "cannot be made with its default arguments: KeyError: 'API_KEY'"),
    ("leaves:test", "cannot be made with its default arguments: SystemExit: 3"),
    ("far-away:train", "the train rows of verifiers:far-away cannot be read: KeyError: 'HUB'"),
    ("json:test", "no 'load_environment' in json"),
])
def test_what_cannot_be_asked_is_one_line(name: str, said: str) -> None:
    with pytest.raises((ProblemSetError, RegistryError)) as caught:
        load(f"verifiers:{name}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("verifiers") is not None, reason="the extra verifiers is installed")
def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "some_env.py").write_text(f"rows = list\n{MINE}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProblemSetError, match="needs the package verifiers: pip install 'retort\\[verifiers\\]'"):
        load("verifiers:some-env:test")
