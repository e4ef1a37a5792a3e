"""The convention of verifiers' tasksets, `verifiers.v1`, which are all that there is from 0.4 on: a module exports a
class of tasks, and each task has data and methods that score the trace of what an agent did.

A task is made of its data, as verifiers does itself to score a trace again, and is given the trace of an agent who
answered once. Its rewards, metrics and judges are asked by its own `score`. There is no box that an agent works in
(`runtime`), and no tools, which are servers: `refusal` and `refusal_of_task` tell of what needs either.

Read from verifiers 0.3.1 and 0.4.0 (`Task.score`, `Trace`).
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from inspect import isfunction
from types import ModuleType
from typing import Any  # the package may not be there, and a task is of anybody's class

from rewards.conventions import awaiting
from rewards.conventions.scoring import Ask, Scoring, answer_messages, check_options, prompt_messages
from rewards.registry import RegistryError
from rewards.scores import RubricError, Scored, failure, number
from rewards.types import Completion, Problem

TASK = "task"
"""The name under which a problem's `meta` has the data of its task."""

_PACKAGE = "verifiers.v1"

_AROUND = ("setup", "finalize", "stage_verifier", "runtime_env")
"""Methods of a task that are called around an agent's run, for its box."""

_OF_BOX = ("image", "workdir", "agent_user", "skills", "artifacts")
"""What a task's data may ask of a box."""


def is_taskset(loaded: object) -> bool:
    """Whether it is a class of tasksets."""
    return isinstance(loaded, type) and _is_a(loaded, "Taskset")


def exported(module: ModuleType, kind: str = "Taskset") -> list[str]:
    """The names of a module's classes of this kind, which verifiers looks for in its `__all__`."""
    names = vars(module).get("__all__", ())
    return [name for name in names if isinstance(one := vars(module).get(name), type) and _is_a(one, kind)]


def made(module: str) -> Any:
    """The taskset that a module exports, by its default configuration. Raises what its code raises."""
    theirs = importlib.import_module(_PACKAGE)
    return theirs.load_taskset(theirs.taskset_config_type(module)(id=module))


def refusal(module: ModuleType, taskset: Any) -> str | None:
    """Why the tasks of a taskset cannot be asked once and scored by their answers, if they cannot."""
    for kind, what in {"Env": "an environment", "Harness": "a harness"}.items():
        if exported(module, kind):
            return f"comes with {what} of its own, which answers a model in ways of its own"
    if taskset.INFINITE:
        return "has no end, which a problem set has"
    task = type(taskset).task_type()
    own = [name for name in _AROUND if not _is_theirs(_definer(task, name))]
    if own:
        return f"has tasks with a {own[0]} of their own, which is not called here"
    changing = [name for one in task.__mro__ for name, value in vars(one).items()
                if isfunction(value) and vars(value).get("intercept")]
    if changing:
        return f"has tasks with {changing[0]}, which changes what is said"
    if taskset.toolsets(taskset.config) or task.toolsets(taskset.config.task):
        return "has tools, which are servers that are not started here"
    return None


def refusal_of_task(task: Any) -> str | None:
    """The same of one task."""
    data = task.data.model_dump()
    asked = [name for name in _OF_BOX if data.get(name)]
    if asked:
        return f"has tasks that want a box to work in ({asked[0]})"
    scoring = {one.__name__: one for one in task.hooks("reward")}
    scoring |= {one.reward_name: one.score for one in task.plugged_judges()}
    boxed = [name for name, one in scoring.items() if _needs_runtime(one)]
    if boxed:
        return f"has the reward {boxed[0]}, which looks into the box that an agent worked in"
    return None if scoring else "has tasks without a reward"


def bound_taskset(module: str, options: Mapping[str, object], who: str) -> Scoring:
    """The sum of a task's rewards by their weights; each reward's value is told beside it. Problems need the data of
    their tasks in the column `task`. Raises RegistryError."""
    check_options(options, [], who)
    try:
        taskset = made(module)
    except (Exception, SystemExit) as error:  # anyone's code
        raise RegistryError(f"{who} cannot be made with its default configuration: "
                            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
    task_class = type(taskset).task_type()
    data_class = task_class.data_type()

    def score(ask: Ask) -> list[Scored]:
        named = f"{who}, for problem {ask.problem.id!r},"
        traces = []
        try:
            task = task_class(data_class.model_validate(ask.problem.meta[TASK]), taskset.config.task)
            traces = [_trace(task, ask.problem, completion) for completion in ask.completions]
            awaiting.results([task.score(trace, None) for trace in traces])
        except (Exception, SystemExit) as error:  # anyone's code, which may call sys.exit
            raise failure(named, error) from error
        return [_scored(trace, named) for trace in traces]

    return Scoring(who, score, whole=True, needs=[TASK])


def _trace(task: Any, problem: Problem, completion: Completion) -> Any:
    """Of an agent that was asked the problem and said the completion."""
    theirs = importlib.import_module(_PACKAGE)
    state = importlib.import_module(f"{_PACKAGE}.state").state_cls(type(task))()
    said = [*prompt_messages(problem), *answer_messages(completion)]
    nodes = [
        theirs.MessageNode(parent=place - 1 if place else None, message=message, sampled=place == len(said) - 1)
        for place, message in enumerate(said)
    ]
    return theirs.Trace(
        task=theirs.TraceTask(type=type(task).__name__, data=task.data),
        agent=theirs.AgentInfo(config=theirs.AgentConfig()),
        nodes=nodes, state=state, is_completed=True, ok=completion.finished,
        stop_condition=None if completion.finished else "max_output_tokens",
    )


def _scored(trace: Any, named: str) -> Scored:
    unscored = [name for name, reward in trace.rewards.items() if reward is None]
    if unscored:
        raise RubricError(f"{named} gave no value for {unscored[0]}")
    parts = {name: number(f"{name!r} of {named}", reward.score) for name, reward in trace.rewards.items()}
    return Scored(number(named, trace.reward), parts)


def _needs_runtime(function: Callable[..., object]) -> bool:
    parameter = inspect.signature(function).parameters.get("runtime")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _definer(kind: type, name: str) -> type:
    """The class of `kind`'s line that has this method; where none has it, as in older versions, verifiers' own."""
    own_line = kind.__mro__
    return next((one for one in own_line if name in vars(one)), next(one for one in own_line if _is_theirs(one)))


def _is_a(loaded: type, kind: str) -> bool:
    """Whether it is of one of verifiers' classes, and not that class itself."""
    return not _is_theirs(loaded) and any(_is_theirs(one) and one.__name__ == kind for one in loaded.__mro__)


def _is_theirs(one: type) -> bool:
    return one.__module__.startswith(f"{_PACKAGE}.")
