"""Functions and rubrics written for verifiers, unchanged. Its classes are stood in for by ones of the same names, with
what the readers of versions 0.1.3 to 0.3.0 look at; where the package is installed its own are tried, too."""

import functools
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from rewards.conventions import remote
from rewards.rubric import Rubric, RubricError
from tests.rewards.conventions.groups import problem, rewards, rubric_of, totals, written


@pytest.fixture
def rubric(tmp_path: Path) -> functools.partial[Rubric]:
    return functools.partial(rubric_of, tmp_path)


PACKAGE = """
class Parser:
    def parse_answer(self, completion):
        return completion[-1]["content"].strip()
class Rubric:
    def __init__(self, funcs=None, weights=None, parser=None):
        self.{funcs} = list(funcs or [])
        self.{weights} = list(weights or [1.0] * len(self.{funcs}))
        self.parser = parser or Parser()
        self.class_objects = {{"parser": self.parser}}
    def score_rollout(self, state): raise NotImplementedError
class RubricGroup(Rubric):
    def __init__(self, rubrics):
        super().__init__()
        self.rubrics = rubrics
    def score_rollout(self, state): raise NotImplementedError
class JudgeRubric(Rubric):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.class_objects = {{"parser": self.parser, "judge": None}}
class Environment:
    def __init__(self, rubric): self.rubric = rubric
"""


@pytest.fixture(params=[("funcs", "weights"), ("reward_funcs", "reward_weights")], ids=["now", "before 0.1.8"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    funcs, weights = request.param
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "verifiers.py").write_text(PACKAGE.format(funcs=funcs, weights=weights))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "verifiers", raising=False)
    remote.close()  # the next process has this search path
    yield
    remote.close()
    sys.modules.pop("verifiers", None)


FUNCTIONS = """
def exact(completion, answer): return completion[-1]["content"] == answer
def by_attribute(completion, answer, **kwargs): return completion[-1].content == answer
def sees(prompt, completion, answer, state, info, task):
    assert prompt == [{"role": "user", "content": "How many are left?"}]
    assert state["completion"] == completion and state["answer"] == answer and state["info"] == info
    assert [turn["completion"] for turn in state["trajectory"]] == [completion]
    assert (task, info) == ("sums", {"least": 2}), info
    return info["least"]
async def slow(completion): return len(completion[0]["content"])
def relative(completions, answers, **kwargs):
    lengths = [len(completion[0]["content"]) for completion in completions]
    return [length - min(lengths) for length in lengths]
def plain(prompt, completion, level): return float(completion.startswith("5") and level == 3)
"""


@pytest.mark.parametrize(("name", "options", "expected"), [
    ("exact", {}, [1.0, 0.0]), ("by_attribute", {}, [1.0, 0.0]), ("sees", {}, [2.0, 2.0]), ("slow", {}, [1.0, 3.0]),
    ("relative", {}, [0.0, 2.0]), ("plain", {"conversational": False}, [1.0, 0.0]),
])
def test_functions(
    rubric: functools.partial[Rubric], name: str, options: dict[str, bool], expected: list[float]
) -> None:
    made = rubric(FUNCTIONS, f"verifiers:mine.py:{name}", **options)
    for info in ({"least": 2}, '{"least": 2}'):  # as text in data sets whose rows differ
        asked = problem(meta={"task": "sums", "info": info, "level": 3})
        made.require([asked])
        assert totals(made, asked, written("5", "475")) == expected


def test_a_column_that_is_not_there(rubric: functools.partial[Rubric]) -> None:
    with pytest.raises(RubricError, match="needs the column 'level'"):
        rubric(FUNCTIONS, "verifiers:mine.py:plain").require([problem()])


@pytest.mark.parametrize(("body", "said"), [
    ("None", "returned None"), ("'1'", "returned '1'"), ("float('nan')", "returned nan"),
    ("1 / 0", "ZeroDivisionError"),
    ("[1.0]", r"returned \[1.0\]"), ("completion.strip()", "conversational: false gives it texts"),
])
def test_what_is_no_reward_is_an_error(rubric: functools.partial[Rubric], body: str, said: str) -> None:
    made = rubric(f"def f(completion): return {body}", "verifiers:mine.py:f")
    with pytest.raises(RubricError, match=f"'verifiers:mine.py:f', for problem 'p1',.*{said}"):
        totals(made, problem(), written("5"))


WITH_PARSER = """
class Last:
    def parse_answer(self, completion): return completion[-1]["content"].split()[-1]
parser = Last()
def right(parser, completion, answer): return parser.parse_answer(completion) == answer
"""


def test_a_parser_is_named(rubric: functools.partial[Rubric]) -> None:
    assert totals(rubric(WITH_PARSER, "verifiers:mine.py:right", parser="parser"), problem(), written("is 5")) == [1.0]
    with pytest.raises(ValidationError, match="takes a parser"):
        rubric(WITH_PARSER, "verifiers:mine.py:right")
    with pytest.raises(ValidationError, match="did you mean 'parser'"):
        rubric(WITH_PARSER, "verifiers:mine.py:right", parser="parsr")


RUBRICS = """
import verifiers as vf
def right(parser, completion, answer, **kwargs): return parser.parse_answer(completion) == answer
async def longer(completion): return len(completion[0]["content"])
def metric(completion): return 7
rubric = vf.Rubric(funcs=[right, longer, metric], weights=[2.0, 0.5, 0.0])
group = vf.RubricGroup([rubric, vf.Rubric(funcs=[longer])])
judged = vf.JudgeRubric(funcs=[right])
empty = vf.Rubric()
broken = vf.Rubric(funcs=[lambda completion: 1 / 0])
class Mine(vf.Rubric):
    def score_rollout(self, state): return 1
mine = Mine(funcs=[right])
def asks(judge, completion): return 1
asking = vf.Rubric(funcs=[asks])
def load_environment(**kwargs):
    def local(completion): return 1.0
    return vf.Environment(vf.Rubric(funcs=[local]))
"""


@pytest.mark.usefixtures("package")
def test_rubrics(rubric: functools.partial[Rubric]) -> None:
    made = rubric(RUBRICS, "verifiers:mine.py:rubric")
    first, second = rewards(made, problem(), written("5", "four"))
    assert (first.total, second.total) == (2.5, 2.0)
    assert first.parts == {
        "correct": 0.0, "rubric": 2.5, "rubric/right": 1.0, "rubric/longer": 1.0, "rubric/metric": 7.0
    }
    assert totals(rubric(RUBRICS, "verifiers:mine.py:group"), problem(), written("5", "four")) == [3.5, 6.0]
    environment = rubric(RUBRICS, "verifiers:mine.py:load_environment")
    assert totals(environment, problem(), written("5")) == [1.0]


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(("name", "said"), [
    ("judged", "is a JudgeRubric: it asks a judge on a server"), ("empty", "a rubric without functions"),
    ("mine", "is a Mine, which scores in a way of its own"), ("asking", "asks a judge on a server"),
])
def test_rubrics_that_are_refused(rubric: functools.partial[Rubric], name: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rubric(RUBRICS, f"verifiers:mine.py:{name}")


@pytest.mark.usefixtures("package")
def test_a_function_of_a_rubric_that_fails_is_named(rubric: functools.partial[Rubric]) -> None:
    with pytest.raises(RubricError, match=r"'<lambda>' of rule 'verifiers:mine.py:broken', for problem 'p1', failed"):
        totals(rubric(RUBRICS, "verifiers:mine.py:broken"), problem(), written("5"))


@pytest.mark.skipif(importlib.util.find_spec("verifiers") is None, reason="the package verifiers is not installed")
def test_the_packages_own_rubric(rubric: functools.partial[Rubric]) -> None:
    source = """
import verifiers as vf
parser = vf.XMLParser(["think", "answer"])
def right(parser, completion, answer, **kwargs): return 1.0 if parser.parse_answer(completion) == answer else 0.0
rubric = vf.Rubric(funcs=[right, parser.get_format_reward_func()], weights=[1.0, 0.5], parser=parser)
"""
    made = rubric(source, "verifiers:mine.py:rubric")
    good, bad = totals(made, problem(), written("<think>\na\n</think>\n<answer>\n5\n</answer>", "5"))
    assert good == pytest.approx(1.5)
    assert bad is not None
    assert bad < 0.5
