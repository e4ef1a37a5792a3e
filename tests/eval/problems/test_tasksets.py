"""Tasksets of verifiers as problem sets: a stand-in for the package, and the package itself where it is there."""

import importlib.util
from pathlib import Path

import pytest

from eval.errors import ProblemSetError
from eval.problems import load
from eval.problems.content import content
from rewards.grade import grade
from rewards.registry import RegistryError
from rewards.types import Completion, Label

STATE = """
class State: ...

def state_cls(kind): return State
"""

PACKAGE = """
import importlib
import typing

from pydantic import BaseModel

class Model(BaseModel, arbitrary_types_allowed=True): ...
class TaskConfig(Model): ...

class TasksetConfig(Model):
    id: str = ""
    task: TaskConfig = TaskConfig()

class TaskData(Model):
    idx: int | None = None
    prompt: str | list | None = None
    system_prompt: str | None = None
    image: str | None = None

def reward(function=None, weight=1.0):
    def marked(given):
        given.reward, given.weight = True, weight
        return given
    return marked(function) if function else marked

def intercept(function):
    function.intercept = True
    return function

class Task:
    def __init__(self, data, config=None): self.data, self.config = data, config
    async def setup(self, trace, runtime): ...
    def hooks(self, kind): return [getattr(self, n) for n in dir(self) if hasattr(getattr(type(self), n, 0), kind)]
    def plugged_judges(self): return []
    async def score(self, trace, runtime=None):
        for one in self.hooks("reward"):
            trace.rewards[one.__name__] = Reward(score=await one(trace), weight=one.weight)

    @classmethod
    def data_type(cls): return cls.__orig_bases__[0].__args__[0]
    @classmethod
    def toolsets(cls, config): return []
    def __class_getitem__(cls, data): return typing._GenericAlias(cls, (data,))

class Taskset:
    INFINITE = False
    def __init__(self, config): self.config = config
    def __iter__(self):
        for number, task in enumerate(self.load()):
            yield type(task)(task.data.model_copy(update={"idx": number}), task.config)

    @classmethod
    def task_type(cls): return cls.__orig_bases__[0].__args__[0]
    @classmethod
    def toolsets(cls, config): return []
    def __class_getitem__(cls, task): return typing._GenericAlias(cls, (task,))

class Toolset: ...
class Env: ...
class Harness: ...

class Reward(Model):
    score: float
    weight: float

class MessageNode(Model):
    parent: int | None
    message: dict
    sampled: bool

class TraceTask(Model):
    type: str
    data: object

class AgentConfig(Model): ...

class AgentInfo(Model):
    config: object

class Trace(Model):
    task: object
    agent: object
    nodes: list[MessageNode]
    state: object
    is_completed: bool
    ok: bool
    stop_condition: str | None
    rewards: dict = {}

    @property
    def reward(self): return sum(one.score * one.weight for one in self.rewards.values())
    @property
    def is_truncated(self): return self.stop_condition == "max_output_tokens"
    @property
    def last_reply(self): return self.nodes[-1].message["content"].strip()

def taskset_config_type(name): return TasksetConfig
def load_taskset(config):
    module = importlib.import_module(config.id)
    return getattr(module, module.__all__[0])(config)

for kind in (Task, Taskset, Env, Harness, Toolset, TaskData, Trace): kind.__module__ = "verifiers.v1.those"
"""

MINE = '''
import verifiers.v1 as vf

__all__ = ["Sums"]

class Data(vf.TaskData):
    answer: str

class Sum(vf.Task[Data]):
    @vf.reward
    async def right(self, trace) -> float:
        return float(trace.last_reply == self.data.answer)

    @vf.reward(weight=0.5)
    async def short(self, trace) -> float:
        return float(len(trace.last_reply) < 3 and not trace.is_truncated)

class Sums(vf.Taskset[Sum]):
    def load(self):
        for i in range(40):
            yield Sum(Data(prompt=f"What is {i} + 2?", system_prompt="Add.", answer=str(i + 2)), self.config.task)
'''
IN_CLASS = "class Sums(vf.Taskset[Sum]):\n"
IN_TASK = "class Sum(vf.Task[Data]):\n"
KINDS = {
    "endless": (IN_CLASS, f"{IN_CLASS}    INFINITE = True\n"),
    "with_tools": (IN_CLASS, f"{IN_CLASS}    @classmethod\n    def toolsets(cls, config): return ['server']\n"),
    "set_up": (IN_TASK, f"{IN_TASK}    async def setup(self, trace, runtime): ...\n"),
    "changing": (IN_TASK, f"{IN_TASK}    @vf.intercept\n    async def swap(self, trace): ...\n"),
    "in_a_box": ("answer=str(i + 2))", "answer=str(i + 2), image='ubuntu')"),
    "looking": ("async def right(self, trace)", "async def right(self, trace, runtime)"),
    "no_question": ("prompt=f\"What is {i} + 2?\", ", ""),
    "of_a_world": ('["Sums"]\n', '["Sums", "World"]\nclass World(vf.Env): ...\n'),
    "many": ('["Sums"]\n', '["Sums", "More"]\nclass More(vf.Taskset): ...\n'),
    "needs_a_key": ("    def load(self):\n", "    def load(self):\n        {}['API_KEY']\n"),
    "broken": ("float(trace.last_reply == self.data.answer)", "1 / 0"),
    "odd": ('["Sums"]', "[]"),
}


@pytest.fixture(params=["stand-in", "package"])
def tasksets(request: pytest.FixtureRequest, own_modules: Path) -> Path:
    """Where modules of tasksets lie, which import the package or its stand-in."""
    if request.param == "stand-in":
        (own_modules / "verifiers" / "v1").mkdir(parents=True)
        (own_modules / "verifiers" / "__init__.py").touch()
        (own_modules / "verifiers" / "v1" / "__init__.py").write_text(PACKAGE)
        (own_modules / "verifiers" / "v1" / "state.py").write_text(STATE)
    elif importlib.util.find_spec("verifiers") is None:
        pytest.skip("the extra verifiers is not installed")
    (own_modules / "my_tasks.py").write_text(MINE)
    for name, (old, new) in KINDS.items():
        assert old in MINE
        (own_modules / f"{name}.py").write_text(MINE.replace(old, new))
    return own_modules


@pytest.mark.usefixtures("tasksets")
def test_its_tasks_are_problems_that_their_rewards_grade() -> None:
    train, test = (load(f"verifiers:somebody/my-tasks:{split}") for split in ("train", "test"))
    assert len(train) > len(test) > 0
    assert not {one.prompt for one in train} & {one.prompt for one in test}
    assert len({one.id for one in train + test}) == 40
    [one] = [problem for problem in train + test if "What is 7 " in problem.prompt]
    assert (one.prompt, one.answer, one.family) == ("Add.\n\nWhat is 7 + 2?", "9", "verifiers:somebody/my-tasks")
    assert one.meta["prompt"] == [{"role": "system", "content": "Add."}, {"role": "user", "content": "What is 7 + 2?"}]
    right, wrong, unfinished = (grade(one, Completion(text, finished=finished))
                                for text, finished in (("9", True), ("10", True), ("10", False)))
    assert (right.label, right.reason) == (Label.CORRECT, "score 1.5")
    assert (wrong.label, wrong.share) == (Label.WRONG, 0.5)
    assert unfinished.label == Label.TRUNCATED


@pytest.mark.usefixtures("tasksets")
def test_a_reward_that_fails_is_no_verdict() -> None:
    problem = load("verifiers:broken:test", 1)[0]
    verdict = grade(problem, Completion("9"))
    assert verdict.label == Label.UNGRADABLE
    assert "division by zero" in verdict.reason


def test_another_reward_is_another_set(tasksets: Path) -> None:
    first = content("verifiers:my-tasks:test", 3, 0)
    assert first == content("verifiers:my-tasks:test", 3, 0) != content("verifiers:my-tasks:train", 3, 0)
    module = tasksets / "my_tasks.py"
    module.write_text(module.read_text().replace("weight=0.5", "weight=0.25"))
    assert content("verifiers:my-tasks:test", 3, 0) != first


@pytest.mark.usefixtures("tasksets")
@pytest.mark.parametrize(("name", "said"), [
    ("endless", "verifiers:endless has no end, which a problem set has"),
    ("with-tools", "has tools, which are servers that are not started here"),
    ("set-up", "has tasks with a setup of their own, which is not called here"),
    ("changing", "has tasks with swap, which changes what is said"),
    ("in-a-box", "has tasks that want a box to work in (image)"),
    ("looking", "has the reward right, which looks into the box that an agent worked in"),
    ("no-question", "verifiers:no-question, task 0: 'prompt'"),
    ("of-a-world", "comes with an environment of its own"),
    ("many", "names the tasksets Sums, More; it has to be one"),
    ("needs-a-key", "the tasks of verifiers:needs-a-key cannot be read: KeyError: 'API_KEY'"),
    ("odd", "no 'load_environment' in odd"),
])
def test_what_cannot_be_asked_is_one_line(name: str, said: str) -> None:
    with pytest.raises((ProblemSetError, RegistryError)) as caught:
        load(f"verifiers:{name}:test")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
