"""Environments of verifiers (Brown 2025) by name: `verifiers:gsm8k:test` (extra `verifiers`).

An environment is a module whose function `load_environment` makes an object with rows and a rubric. Its rows become
problems, and its rubric is what grades them (rewards.conventions.verifiers): a score of at least 1 is correct. One that
has rows for training alone, or for evaluation alone, is split by what its questions ask, as a user's own file is.

Two of its classes ask a question once and are known here: SingleTurnEnv, and ToolEnv, whose tools a recipe names among
its own. All others answer a model in ways of their own, and are refused.
"""

import importlib
import importlib.util
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from inspect import isfunction
from pathlib import Path
from typing import Any  # an environment may be of anybody's class

from eval.errors import ProblemSetError
from eval.problems.conversations import question, sayable
from eval.problems.draw import draw
from eval.problems.split import require_split, split_of
from eval.problems.tasksets import problems_of_taskset
from rewards.conventions.tasksets import exported
from rewards.foreign import signals_kept
from rewards.registry import Entry, Registry
from rewards.types import Problem

PREFIX = "verifiers:"
MAKER = "load_environment"
ROWS = {"train": "dataset", "test": "eval_dataset"}
"""What verifiers calls the rows of a split."""

_told: dict[str | tuple[str, type[Warning], int], int] = {}
"""What `warnings` has shown of this module."""


def entry_of(name: str, registry: Registry[Any], base: Path | None) -> Entry[Any]:
    """The entry of `name`, which begins with the prefix: the environment's maker, as a user's own problem set. Raises
    ProblemSetError where there is no such environment."""
    module = module_of(name)
    if not module.isidentifier():
        raise ProblemSetError(f"{name}: an environment is named like its package, such as {PREFIX}gsm8k:test")
    if importlib.util.find_spec(module) is None:
        raise ProblemSetError(f"there is no environment {name.removeprefix(PREFIX)!r}: install its package, which has "
                              f"the module {module}")
    return registry.resolve(f"{module}:{MAKER}", base=base)


def module_of(name: str) -> str:
    """The module of an environment, as verifiers finds it: "verifiers:some/my-env" is `my_env`."""
    return name.removeprefix(PREFIX).rpartition("/")[2].replace("-", "_")


def environment(name: str, entry: Entry[Any]) -> Callable[[str, int | None, int], list[Problem]]:
    """The problem set of one environment, made with its default arguments."""

    def problems(split: str, n: int | None, seed: int) -> list[Problem]:
        require_split(name, split)
        if importlib.util.find_spec("verifiers") is None:
            raise ProblemSetError(f"{name} needs the package verifiers: pip install 'retort[verifiers]'")
        module = _called(lambda: importlib.import_module(module_of(name)), f"{name} cannot be imported")
        if MAKER not in vars(module) and exported(module):
            return draw(problems_of_taskset(name, module, split, _called), n, seed)
        made = _called(entry.load(), f"{name} cannot be made with its default arguments")
        _require_known(name, made)
        return draw(list(_problems(name, made, split)), n, seed)

    return problems


def _called(function: Callable[[], Any], failing: str) -> Any:
    """What a function of an environment gives. Raises ProblemSetError, which begins with `failing`."""
    try:
        with signals_kept():
            return function()
    except (Exception, SystemExit) as error:  # anyone's code, which may need keys, a network or arguments
        said = " ".join(str(error).split())[:200]
        raise ProblemSetError(f"{failing}: {type(error).__name__}: {said}") from error


def _require_known(name: str, made: object) -> None:
    """Raises ProblemSetError for an environment that does more than ask once and grade."""
    theirs = [one for one in type(made).__mro__ if one.__module__.partition(".")[0] == "verifiers"]
    kinds = [one.__name__ for one in theirs]
    if "Environment" not in kinds:
        raise ProblemSetError(f"{name}: {MAKER} made a {type(made).__name__} and no environment of verifiers")
    if kinds[0] not in ("SingleTurnEnv", "ToolEnv"):
        raise ProblemSetError(f"{name} is a {kinds[0]}; of verifiers' environments SingleTurnEnv and ToolEnv are known "
                              "here, and others answer a model in ways of their own")
    known = {attribute for one in theirs for attribute, value in vars(one).items()
             if isfunction(value) and not attribute.startswith("__")}
    for own in type(made).__mro__[: type(made).__mro__.index(theirs[0])]:
        if changed := sorted(known & set(vars(own))):
            raise ProblemSetError(f"{name} is a {kinds[0]} with a {changed[0]} of its own, which is not called here")
    if kinds[0] == "ToolEnv":
        _tell_of_tools(name, made)


def _tell_of_tools(name: str, made: object) -> None:
    """Say by which names a recipe gives a model the environment's tools. Raises ProblemSetError for what has none."""
    references = []
    for tool in vars(made)["tools"]:
        if not isfunction(tool) or tool.__qualname__ != tool.__name__:
            called = getattr(tool, "__qualname__", type(tool).__name__)
            raise ProblemSetError(f"{name} has the tool {called}, which is no function of a module: only such are "
                                  "called here")
        references.append(f"{tool.__module__}:{tool.__name__}")
    if references:
        warnings.warn_explicit(
            f"{name} has tools, which a model is given by tools: {{use: [{', '.join(references)}]}}", RuntimeWarning,
            "retort", 0, registry=_told,
        )


def _problems(name: str, made: object, split: str) -> Iterator[Problem]:
    there = [of for of, dataset in ROWS.items() if _has(made, dataset)]
    both = len(there) == len(ROWS)
    for of in [split] if both else there:
        # Rows may be made, or downloaded, when they are asked for.
        rows = _called(getattr(made, f"get_{ROWS[of]}"), f"the {of} rows of {name} cannot be read")
        for number, row in enumerate(rows):
            made_of = _problem(name, row, f"{name}, {of} row {number}", f"{name.removeprefix(PREFIX)}-{of}-{number}")
            if both or split_of(made_of.skeleton) == split:
                yield made_of


def _has(made: object, dataset: str) -> bool:
    """Whether an environment has rows under this name; for those that it does not have it would give others."""
    held = vars(made)
    return held.get(dataset) is not None or held.get(f"{dataset}_source") is not None


def _problem(name: str, row: Mapping[str, Any], where: str, id_: str) -> Problem:
    told = row["prompt"]
    if isinstance(told, list):  # a table has a value, if only None, in every column of every message
        told = [{key: value for key, value in turn.items() if value is not None} for turn in told]
    text = told if isinstance(told, str) else question(told, where)
    beside = {key: value for key, value in row.items() if key not in ("prompt", "answer") and value is not None}
    return Problem(
        id=re.sub(r"\s", "_", id_),
        prompt=text,
        answer=row.get("answer", ""),
        verifier=f"{PREFIX}{module_of(name)}:{MAKER}",
        family=name,
        skeleton=text,
        meta=sayable({**beside, **({"prompt": told} if isinstance(told, list) else {})}),
    )
