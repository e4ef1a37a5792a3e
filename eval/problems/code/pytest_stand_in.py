"""What tests written for pytest find under that name. Its text runs before them in their child; nothing here imports
it.

Tests are plain functions, run one by one with the arguments that `parametrize` gives them. Fixtures are not there.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

_Kinds = type[BaseException] | tuple[type[BaseException], ...]


class _Raises:
    def __init__(self, kinds: _Kinds, pattern: str | None = None) -> None:
        self.kinds, self.pattern = kinds, pattern
        self.value: BaseException | None = None
        self.type: type[BaseException] | None = None

    def __enter__(self) -> "_Raises":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: object) -> bool:
        if kind is None:
            raise AssertionError(f"nothing of {self.kinds} was raised")
        self.value, self.type = value, kind
        return issubclass(kind, self.kinds) and (self.pattern is None or self.match(self.pattern))

    def match(self, pattern: str) -> bool:
        if not re.search(pattern, str(self.value)):
            raise AssertionError(f"{self.value} does not match {pattern!r}")
        return True


class _Approx:
    __array_ufunc__ = None  # so that arrays leave the comparison to this
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: object, rel: float | None = None, abs: float | None = None,  # noqa: A002
                 nan_ok: bool = False) -> None:
        self.expected, self.rel, self.abs, self.nan_ok = expected, rel, abs, nan_ok

    def __repr__(self) -> str:
        return f"approx({self.expected!r})"

    def __eq__(self, actual: object) -> bool:
        return self._same(self.expected, actual)

    def __ne__(self, actual: object) -> bool:
        return not self == actual

    def _same(self, expected: Any, actual: Any) -> bool:
        expected, actual = (one.tolist() if "tolist" in dir(one) else one for one in (expected, actual))
        if isinstance(expected, dict):
            return isinstance(actual, dict) and expected.keys() == actual.keys() and all(
                self._same(value, actual[key]) for key, value in expected.items())
        if isinstance(expected, list | tuple):
            return isinstance(actual, list | tuple) and len(expected) == len(actual) and all(
                map(self._same, expected, actual))
        numbers = all(isinstance(one, int | float | complex) for one in (expected, actual))
        if isinstance(expected, bool) or not numbers:
            return bool(expected == actual) and isinstance(actual, bool) >= isinstance(expected, bool)
        if expected != expected or actual != actual:
            return bool(self.nan_ok and expected != expected and actual != actual)
        if math.isinf(abs(expected)) or math.isinf(abs(actual)):
            return bool(expected == actual)
        # As pytest has it: an absolute tolerance alone is the only one.
        rel = self.rel if self.rel is not None else 1e-6 if self.abs is None else 0.0
        return bool(abs(expected - actual) <= max(rel * abs(expected), 1e-12 if self.abs is None else self.abs))


class _Mark:
    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Marks that say nothing of what is right."""
        def mark(*arguments: Any, **_: object) -> Any:
            return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else lambda function: function

        return mark

    @staticmethod
    def parametrize(names: str | Iterable[str], values: Iterable[Any], **_: object) -> Callable[..., Any]:
        listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        rows = [value.values if isinstance(value, _Param) else value if len(listed) > 1 else (value,)
                for value in values]

        def decorate(function: Any) -> Any:
            function.rows = [*vars(function).get("rows", []), [dict(zip(listed, row, strict=True)) for row in rows]]
            return function

        return decorate


class _Param:
    def __init__(self, *values: Any, **_: object) -> None:
        self.values = values


class pytest:
    approx, mark, param = _Approx, _Mark(), _Param

    @staticmethod
    def raises(kinds: _Kinds, *arguments: Any, match: str | None = None, **named: Any) -> _Raises:
        caught = _Raises(kinds, match)
        if arguments:
            with caught:
                arguments[0](*arguments[1:], **named)
        return caught

    @staticmethod
    def fail(reason: str = "", **_: object) -> None:
        raise AssertionError(reason)

    @staticmethod
    def run(function: Any, before: Callable[..., object] | None = None) -> None:
        """All calls of a test."""
        for rows in itertools.product(*getattr(function, "rows", [])):
            if before is not None:
                before()
            function(**{name: value for row in rows for name, value in row.items()})

    @staticmethod
    def run_method(kind: Any, name: str) -> None:
        """A test that is a method, of an instance of its own for each call."""
        if "debug" in dir(kind):  # unittest's: it raises what goes wrong
            kind(name).debug()
            return
        one = kind()
        before = getattr(one, "setup_method", None)
        takes = before is not None and before.__code__.co_argcount > 1
        pytest.run(getattr(one, name), (lambda: before(None)) if before is not None and takes else before)
