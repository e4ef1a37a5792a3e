"""Small functions described in words ("add 3, then double"), graded by running them on test inputs."""

import random
from dataclasses import dataclass

from eval.problems.draw import distinct
from eval.problems.split import require_split, split_of
from rewards.types import Problem

# Each program is linear in x, so two inputs would tell any two apart; the others catch answers that are not linear.
INPUTS = (-7, -1, 0, 2, 5, 13)
LARGEST_NUMBER = 12


@dataclass(frozen=True)
class Operation:
    """One change of x: how it is said, and how Python writes it."""

    phrase: str
    operator: str
    number: int

    @property
    def statement(self) -> str:
        return f"x {self.operator}= {self.number}"


@dataclass(frozen=True)
class Program:
    """A function of x as a chain of operations."""

    operations: tuple[Operation, ...]

    @property
    def skeleton(self) -> str:
        # Without the words: "double" and "multiply by 2" are one operation, which belongs to one split.
        return " ".join(f"{operation.operator}{operation.number}" for operation in self.operations)

    @property
    def statements(self) -> list[str]:
        """One Python statement for each operation."""
        return [operation.statement for operation in self.operations]

    @property
    def prompt(self) -> str:
        links = ("", ", then ", ", finally ")
        told = "".join(link + operation.phrase for link, operation in zip(links, self.operations, strict=False))
        return f"f(x): {told}. Write f."

    @property
    def code(self) -> str:
        return f"def f(x): {'; '.join(self.statements)}; return x"

    def value(self, x: int) -> int:
        for operation in self.operations:
            if operation.operator == "+":
                x += operation.number
            elif operation.operator == "-":
                x -= operation.number
            else:
                x *= operation.number
        return x

    def problem(self, problem_id: str) -> Problem:
        tests = [{"input": [x], "expected": self.value(x)} for x in INPUTS]
        return Problem(
            id=problem_id,
            prompt=self.prompt,
            answer={"entry": "f", "tests": tests},
            verifier="code",
            family="programs",
            skeleton=self.skeleton,
            meta={"steps": len(self.operations), "solution": self.code},
        )


def draw_operation(rng: random.Random) -> Operation:
    kind = rng.choice(("add", "subtract", "multiply by", "double", "triple"))
    if kind == "double":
        return Operation(kind, "*", 2)
    if kind == "triple":
        return Operation(kind, "*", 3)
    number = rng.randint(2, LARGEST_NUMBER)
    return Operation(f"{kind} {number}", {"add": "+", "subtract": "-", "multiply by": "*"}[kind], number)


def draw_program(rng: random.Random) -> Program:
    return Program(tuple(draw_operation(rng) for _ in range(rng.choice((2, 3)))))


def draw_program_of(split: str, rng: random.Random) -> Program:
    """A random program of this split (`train` or `test`)."""
    while split_of((program := draw_program(rng)).skeleton) != split:
        pass
    return program


def programs(split: str, n: int | None, seed: int) -> list[Problem]:
    """One-line Python functions described in words, split by their operations and numbers."""
    require_split("programs", split)
    rng = random.Random(f"programs:{split}:{seed}")
    drawn = distinct(lambda: draw_program_of(split, rng), 1000 if n is None else n)
    return [program.problem(f"programs-{split}-{seed}-{i}") for i, program in enumerate(drawn)]
