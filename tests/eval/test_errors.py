"""What a person can mend ends a command in one line, with the exit code of its class."""

import pytest

from eval.compare import compare
from eval.errors import ComparisonError, ProblemSetError, ServerError, Unanswered
from eval.report import difference
from rewards.errors import RetortError

ROW = {"problem": "one", "verdict": "correct"}


@pytest.mark.parametrize(("error", "exit_code"), [
    (ProblemSetError, 2), (ComparisonError, 2), (ServerError, 2), (Unanswered, 1),
])
def test_errors_have_the_one_root_and_an_exit_code(error: type[RetortError], exit_code: int) -> None:
    assert issubclass(error, RetortError)
    assert error.exit_code == exit_code
    assert error("one line").lines == ["one line"]


@pytest.mark.parametrize("error", [ProblemSetError, ComparisonError])
def test_errors_of_arguments_are_value_errors_too(error: type[RetortError]) -> None:
    assert issubclass(error, ValueError)


@pytest.mark.parametrize("of_two", [compare, difference])
def test_models_that_share_too_few_problems_cannot_be_compared(of_two: object) -> None:
    assert callable(of_two)
    with pytest.raises(ComparisonError, match="at least two problems in common, not 1"):
        of_two([ROW], [ROW])
