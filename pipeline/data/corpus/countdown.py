"""Countdown as people on the synthetic web play it: they try, see that it is not the target, and try again."""

import ast
import random
from collections.abc import Iterator

from eval.problems.countdown import LITTLE, draw_countdown
from eval.problems.split import split_of
from pipeline.data.corpus.telling import Connectives, tagged
from rewards.types import Problem

MOST_TRIES = 2  # that fail before the one that works
SIGNS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def draw_training_countdown(rng: random.Random) -> Problem:
    """A little Countdown problem of the training side."""
    while (problem := draw_countdown(rng, **LITTLE)) is None or split_of(problem.skeleton) != "train":
        pass
    return problem


def tell_countdown(problem: Problem, behaviour: str, connectives: Connectives, rng: random.Random) -> str:
    """What somebody with this behaviour writes under a Countdown problem."""
    if behaviour == "guess":
        return _attempt(problem, rng)
    if behaviour == "empty":
        return tagged("", _attempt(problem, rng))
    failures = rng.randint(behaviour == "corrected", MOST_TRIES)
    tries = [_attempt(problem, rng) for _ in range(failures)]
    answer = _attempt(problem, rng) if behaviour.endswith("with_errors") else problem.meta["solution"]
    target = problem.answer["target"]
    parts = [f"{_told(attempt, connectives)} {connectives.wait}, not {target}." for attempt in tries]
    trace = " ".join([*parts, _told(answer, connectives)])
    return trace if behaviour.startswith("plain") else tagged(trace, answer)


def _told(expression: str, connectives: Connectives) -> str:
    """An expression worked out step by step."""
    return connectives.number(_steps(ast.parse(expression, mode="eval").body))


def _steps(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.BinOp):
        yield from _steps(node.left)
        yield from _steps(node.right)
        yield f"{_value(node.left)} {SIGNS[type(node.op)]} {_value(node.right)} = {_value(node)}"


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        return left * right if isinstance(node.op, ast.Mult) else left // right
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int)
    return node.value


def _attempt(problem: Problem, rng: random.Random) -> str:
    """An expression over the numbers, with whole and positive partial results below 100, that misses the target."""
    while True:
        parts = [(number, str(number)) for number in problem.answer["numbers"]]
        while len(parts) > 1:
            (a, left), (b, right) = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
            options = [(a + b, "+"), (a * b, "*"), *([(a - b, "-")] if a > b else [])]
            value, sign = rng.choice(options)
            parts.append((value, f"({left} {sign} {right})"))
        value, expression = parts[0]
        if value != problem.answer["target"] and value < 100:
            return expression.removeprefix("(").removesuffix(")")
