"""Tasksets of verifiers (`verifiers.v1`) by name, as environments are: `verifiers:my-taskset:test`.

A taskset is a class that its module exports, whose tasks have data and methods that score an answer
(rewards.conventions.tasksets). Its tasks become problems where they are asked once, without tools and without a box to
work in; all others are refused. A taskset has no splits, so that it is split by what its tasks ask, as a user's own
file is.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any  # a task is of anybody's class

from eval.errors import ProblemSetError
from eval.problems.conversations import question
from eval.problems.split import split_of
from rewards.conventions import tasksets
from rewards.types import Problem


def problems_of_taskset(
    name: str, module: ModuleType, split: str, called: Callable[[Callable[[], Any], str], Any]
) -> list[Problem]:
    """The problems of a split. `called` calls code that may fail (`environments.py`). Raises ProblemSetError."""
    exported = tasksets.exported(module)
    if len(exported) != 1:
        raise ProblemSetError(f"{name}: the __all__ of {module.__name__} names the tasksets {', '.join(exported)}; it "
                              "has to be one")
    taskset = called(lambda: tasksets.made(module.__name__), f"{name} cannot be made with its default configuration")
    _require(name, tasksets.refusal(module, taskset))
    tasks = called(lambda: list(taskset), f"the tasks of {name} cannot be read")
    verifier = f"verifiers:{module.__name__}:{exported[0]}"
    every = [_problem(name, task, number, verifier) for number, task in enumerate(tasks)]
    return [problem for problem in every if split_of(problem.skeleton) == split]


def _require(name: str, refusal: str | None) -> None:
    if refusal:
        raise ProblemSetError(f"{name} {refusal}; such tasks are not known here")


def _problem(name: str, task: Any, number: int, verifier: str) -> Problem:
    _require(name, tasksets.refusal_of_task(task))
    data = task.data.model_dump(mode="json")
    told = list(_turns(data))
    text = question(told, f"{name}, task {number}")
    answer = data.get("answer")
    return Problem(
        id=re.sub(r"\s", "_", f"{name.partition(':')[2]}-{number}"),
        prompt=text,
        answer=answer if isinstance(answer, str) else "",
        verifier=verifier,
        family=name,
        skeleton=text,
        meta={tasksets.TASK: data, "prompt": told},
    )


def _turns(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The conversation that a task begins with."""
    if data.get("system_prompt"):
        yield {"role": "system", "content": data["system_prompt"]}
    prompt = data.get("prompt")
    if isinstance(prompt, str):
        yield {"role": "user", "content": prompt}
    else:
        yield from ({key: value for key, value in turn.items() if value is not None} for turn in prompt or [])
