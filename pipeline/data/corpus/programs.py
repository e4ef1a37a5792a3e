"""Small functions as people on the synthetic web write them."""

import random

from eval.problems.programs import Operation, Program
from pipeline.data.corpus.telling import Connectives, near, tagged


def tell_program(program: Program, behaviour: str, connectives: Connectives, rng: random.Random) -> str:
    """What somebody with this behaviour writes when asked for a function."""
    if behaviour == "guess":
        return _misread(program, rng).code
    if behaviour == "empty":
        return tagged("", _misread(program, rng).code)
    errors = behaviour in ("with_errors", "plain_with_errors")
    written = _misread(program, rng) if errors else program
    parts = []
    for told, statement in zip(program.operations, written.statements, strict=True):
        parts.append(f"{told.phrase}: {statement}")
    if behaviour == "corrected":
        faulty = rng.randrange(len(parts))
        wrong = _misread(program, rng, faulty).statements[faulty]
        right = program.statements[faulty]
        parts[faulty] = f"{parts[faulty].removesuffix(right)}{wrong}. {connectives.wait}, {right}"
    trace = connectives.number(parts)
    return f"{trace} {written.code}" if behaviour.startswith("plain") else tagged(trace, written.code)


def _misread(program: Program, rng: random.Random, index: int | None = None) -> Program:
    """The program with one operation taken for another."""
    if index is None:
        index = rng.randrange(len(program.operations))
    told = program.operations[index]
    operators = [operator for operator in "+-*" if operator != told.operator]
    if rng.random() < 0.5:
        taken = Operation(told.phrase, rng.choice(operators), told.number)
    else:
        taken = Operation(told.phrase, told.operator, max(2, near(told.number, rng)))
    operations = (*program.operations[:index], taken, *program.operations[index + 1 :])
    return Program(operations) if operations != program.operations else _misread(program, rng, index)
