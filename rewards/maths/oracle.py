"""The slow path: whether two LaTeX scalars are equal, by sympy over math-verify's parser. Run as a script, never
imported.

Serves frames (see rewards/workers.py): seconds (8 bytes) and JSON [left, right, digits] in, each side as LaTeX or as
the hexadecimal numerator and denominator of a rational number; OK and "equal", "different", "left" or "right" (that
side cannot be read) or "unknown" out. Each request is answered by a forked child,
which is kept for the next one and killed at its deadline or when its memory runs out, so that sympy is imported only
once.

Equality is decided by value: both sides are computed to 100 digits at several rational points of their letters.
math-verify's own comparison is not used for that, since it forgives too much.
"""

import contextlib
import gc
import json
import os
import resource
import select
import signal
import struct
import sys
import time
import types
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal
from pathlib import Path

# Our own modules, without the package `rewards` itself, which imports what is not found before the search path comes.
_package = types.ModuleType("rewards")
_package.__path__ = [str(Path(__file__).resolve().parents[1])]
sys.modules["rewards"] = _package
from rewards.frames import DIED, HEADER, LATE, OK, read_frame, write_frame  # noqa: E402
from rewards.lazy import lazy  # noqa: E402

with lazy:  # there is no site package to be found before the search path has come
    import sympy
    from latex2sympy2_extended import latex2sympy


MEMORY = 3 << 28
"""Bytes of address space that a child may have beyond what the imports took: below a gigabyte with them."""

AFTERWARDS = 1.0
"""Seconds after its deadline at which a child ends of itself. That is when nobody is left to end it: at a bomb it would
see no pipe close."""

UNCOMPUTABLE = (
    ArithmeticError,  # a float that overflows, a division by zero
    TypeError,  # the truth of an inequality about an integral that stays one
    ValueError,  # the gamma function at a pole
    NotImplementedError,  # said where no algorithm is known
    RecursionError,  # nested deeper than the interpreter goes
    AttributeError, LookupError,  # an operand of a kind that sympy did not expect there
)
"""What sympy raises over what reads as an expression and has no value that it can compute."""

DIGITS = 100
"""Digits to which both sides are computed."""

SPARE = 20
"""Digits of those computed that are not looked at, since the last ones may be lost in computing."""

MOST_DIGITS = 300
"""Digits that a decimal may have where two sides are compared to so many."""

POINTS = 6
"""Points at which two sides with letters have to agree."""

ATTEMPTS = 16
"""Points that are tried, of which some tell nothing."""


def read_scalar(text: "str | list[str]") -> "object":
    """A sympy expression. Raises ValueError for whatever is no scalar."""
    if isinstance(text, list):
        return sympy.Rational(*(int(part, 16) for part in text))
    try:
        value = latex2sympy(text)
    except Exception as error:  # a parser made of a grammar raises of many kinds over text that it was not made for
        raise ValueError(str(error)[:100]) from error
    if not isinstance(value, sympy.Expr):
        raise ValueError("no scalar")
    # Whoever writes i means the imaginary unit; to the parser it is a letter like any other.
    return value.subs(sympy.Symbol("i"), sympy.I)


def cut(number: "object", place: int) -> set[int]:
    """A real number in units of 10 ** place, cut off and rounded, with its sign."""
    value = Decimal(str(number))
    units = value.copy_abs().scaleb(-place, Context(prec=2 * MOST_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN))
    sign = 1 if value > 0 else -1
    return {sign * int(units), sign * int(units.to_integral_value(ROUND_HALF_UP))}


def rounds_to(exact: "object", near: "object", digits: int) -> bool:
    """Whether a decimal of so many digits is an exact number cut off or rounded to them."""
    # The exponents tell sizes apart however large they are: a float has no room for 10^500.
    sizes = [Decimal(str(number)).adjusted() for number in (near, exact)]
    place = sizes[0] - digits + 1
    return abs(sizes[0] - sizes[1]) <= 1 and bool(cut(near, place) & cut(exact, place))


def equal(left: "str | list[str]", right: "str | list[str]", digits: int) -> str:
    """Whether two scalars are equal, as the word that is sent back.

    Where `digits` is not 0 one side is a decimal of that many digits, and the other may be cut off or rounded to it.
    """
    sides = []
    for name, text in (("left", left), ("right", right)):
        try:
            sides.append(read_scalar(text))
        except ValueError:
            return name
    a, b = sides
    letters = sorted(a.free_symbols | b.free_symbols, key=str)  # type: ignore[attr-defined]
    if a == b:
        return "equal"
    rest = a - b  # type: ignore[operator]
    if rest.is_Rational:  # what cannot be computed has gone: 10^-200 beside a sine is no rounding error
        return "equal" if rest == 0 else "different"
    for real in (True, False) if letters else (False,):
        found = at_points(a, b, letters, digits, real)
        if found != "unknown":
            return found
    # A logarithm of 0 is no number, as the gold answer is one.
    if not letters and a.is_Rational and b.evalf(DIGITS).has(sympy.zoo, sympy.nan):  # type: ignore[attr-defined]
        return "different"
    return "unknown"


def is_real_within(side: "object", values: "dict[object, object]") -> bool:
    """Whether every root, power and logarithm in it is real there: the square of the root of -2 is a detour through
    what is not."""
    parts = side.atoms(sympy.Pow, sympy.log)  # type: ignore[attr-defined]
    return not any(part.subs(values).evalf(15).is_real is False for part in parts)


def point(attempt: int, place: int) -> "object":
    """A fixed value for a letter that no answer is written for: every other time all are above 1, where most roots and
    logarithms are real, and between small and of either sign, where |x| and x, or x(x + 1) and its absolute value, are
    not the same."""
    if attempt % 2 == 0:
        return sympy.Rational(7 * attempt + 11 + 13 * place, 9 + 4 * place + attempt)
    near = sympy.Rational(5 * attempt + 3 * place + 2, 7 * attempt + 11 + 2 * place)
    return (near, -near, -1 - near, -2 - near, 1 - near, -near, near, -near)[(attempt // 2 + 3 * place) % 8]


def at_points(a: "object", b: "object", letters: "list[object]", digits: int, real: bool) -> str:
    """Compare two sides at points; with `real` only where both are real: ln(xy) is ln x + ln y wherever that is a real
    number."""
    points = 0
    for attempt in range(ATTEMPTS):
        values = {name: point(attempt, place) for place, name in enumerate(letters)}
        x, y = (side.subs(values).evalf(max(DIGITS, digits + SPARE)) for side in (a, b))  # type: ignore[attr-defined]
        # A pole, or what has no value at this point, tells nothing; another point may.
        if not (x.is_number and y.is_number) or x.has(sympy.nan, sympy.zoo) or y.has(sympy.nan, sympy.zoo):
            continue
        if real and not (x.is_real and y.is_real and all(is_real_within(side, values) for side in (a, b))):
            continue
        if x.is_infinite or y.is_infinite:
            if x != y:
                return "different"
            continue
        if digits and not letters and x.is_real and y.is_real and x != 0 and y != 0:
            near, exact = (x, y) if a.is_Rational else (y, x)  # type: ignore[attr-defined]
            return "equal" if rounds_to(exact, near, digits) else "different"
        size = max(abs(x), abs(y))
        if abs(x - y) > size * sympy.Float(10) ** -(DIGITS - SPARE):
            return "different"
        points += 1
        if points >= (POINTS if letters else 1):
            return "equal"
    return "unknown"


def work(requests: int, answers: int) -> None:
    """The child: answers one request after another until it is killed, or nobody asks any more."""
    used = 1 << 30
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:  # Linux; elsewhere a guess
        used = int(file.read().split()[0]) * resource.getpagesize()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    # The kernel's own action, which ends the process: a handler in Python would wait until a long computation in C is
    # through.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        frame = read_frame(requests)
        left, right, digits = json.loads(frame[8:])
        signal.setitimer(signal.ITIMER_REAL, struct.unpack(">d", frame[:8])[0] + AFTERWARDS)
        try:
            found = equal(left, right, digits)
        except MemoryError:
            os._exit(1)  # whatever else were done now might need memory, too
        except UNCOMPUTABLE:
            found = "unknown"
        signal.setitimer(signal.ITIMER_REAL, 0)
        write_frame(answers, OK, found.encode())


class Child:
    """A forked process that has sympy loaded and answers requests until one of them is its last."""

    def __init__(self) -> None:
        request_end, self.requests = os.pipe()
        self.answers, answer_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.requests)
                os.close(self.answers)
                # sympy warns and prints; on descriptor 1 that would be taken for a frame.
                null = os.open(os.devnull, os.O_RDWR)
                for standard in (0, 1, 2):
                    os.dup2(null, standard)
                work(request_end, answer_end)
            finally:
                os._exit(1)
        os.close(request_end)
        os.close(answer_end)

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """(status, answer) within the seconds that the request begins with."""
        deadline = time.monotonic() + struct.unpack(">d", request[:8])[0]
        try:
            write_frame(self.requests, 0, request)
        except BrokenPipeError:
            return DIED, b""
        data = bytearray()
        while len(data) < HEADER.size or len(data) < HEADER.size + HEADER.unpack_from(data)[1]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                return LATE, b""
            part = os.read(self.answers, 4096)
            if not part:
                return DIED, b""
            data += part
        return data[0], bytes(data[HEADER.size :])

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.requests)
        os.close(self.answers)


def main() -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.path[:] = read_frame(0).decode().split("\0")

    # The first of anything is slow: have it behind us before the fork.
    equal("\\frac{1}{2}+\\sin ( x )^{2}", "\\sqrt { x }+\\log _ { 2 } ( 3 )", 0)
    # What is frozen the collector does not touch, so that these pages stay shared with every child.
    gc.collect()
    gc.freeze()
    write_frame(1, OK, b"ready")
    child = Child()
    while True:
        status, data = child.ask(read_frame(0))
        try:
            write_frame(1, status, data)  # first, since it takes time to give back much memory
        finally:
            if status != OK:
                child.end()
        if status != OK:
            child = Child()


if __name__ == "__main__":
    main()
