"""Verifier `math`: whether a short mathematical answer equals the gold one.

An exact path decides nearly everything in this process (rewards/maths/). What it cannot read, such as a sine or a cube
root of 2, goes to sympy in a process that can be killed: two seconds, less than a gigabyte, no signal or timer touched
here.

The policy: numbers are compared exactly, however large. A decimal stands for a number that no decimal can write only
with six digits or more. A percentage is its hundredth, and where the gold is one, the number before the sign will do. A
missing unit is forgiven, another one is not. Tuples, sets and intervals are types of their own, and all of a set is
needed.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from rewards.extract import extract_answer
from rewards.frames import LATE, OK
from rewards.maths.algebra import TooLarge, Unsupported, multiply, proportional, rational, same
from rewards.maths.answers import (
    Answer,
    Clock,
    Equation,
    Group,
    Matrix,
    Words,
    as_fraction,
    readings,
    region_of,
)
from rewards.maths.brackets import respelled, squeezed
from rewards.maths.clean import LONGEST, clean
from rewards.maths.decimals import decimal_digits, equal
from rewards.maths.latex import latex
from rewards.maths.regions import Region
from rewards.maths.scalars import Number
from rewards.types import Completion, Label, Problem, Verdict
from rewards.workers import Pool, Worker

SECONDS = 2.0
"""Seconds that sympy may take over one comparison."""

MOST_ITEMS = 64
"""Parts of an answer. Sets are compared part by part, in time that grows with the square of their number."""

_PLAIN = re.compile(r"\s*\$?([-+]?)(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?\.?\s*", re.ASCII)

# Nothing is started until an answer needs sympy: most runs never meet one.
_oracle = Pool(lambda: Worker(Path(__file__).parent / "maths" / "oracle.py", search_path=True))


class _Undecided(Exception):
    """The oracle could not tell; the message says why."""


def verify(problem: Problem, completion: Completion) -> Verdict:
    """The verdict on a completion whose gold answer is `str(problem.answer)`, or the box or #### in it."""
    found = extract_answer(completion)
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    gold = str(problem.answer)
    if "\\boxed" in gold or "####" in gold:  # a whole solution, as some data sets have in place of its answer
        gold = extract_answer(Completion(gold)).text or ""
    return compare(gold, found.text)


def compare(gold: str, answer: str) -> Verdict:
    """The verdict on an answer that is already extracted.

    UNGRADABLE where the gold answer cannot be read, or where the two could not be compared in time.
    """
    shown = answer if len(answer) <= 200 else answer[:197] + "..."
    plain_gold, plain = _plain(gold), _plain(answer)
    # Most answers of most sets are plain numbers, and need none of what follows.
    if plain_gold is not None and plain is not None:
        return Verdict(Label.CORRECT, shown, "equal") if plain_gold == plain else _different(gold, shown)
    return _by_text(gold, answer, shown) or _by_meaning(gold, answer, shown)


def _by_text(gold: str, answer: str, shown: str) -> Verdict | None:
    """The verdict where the two texts alone tell it: one of them is too long or empty, or they are the same."""
    # Before anything else is done with them: cleaning takes time that grows with the length.
    if len(gold) > LONGEST:
        return Verdict(Label.UNGRADABLE, shown, "the gold answer is too long to be one")
    if len(answer) > LONGEST:
        return Verdict(Label.WRONG, shown, f"more than {LONGEST} characters are no answer")
    gold_text, answer_text = clean(gold), clean(answer)
    if not gold_text:
        return Verdict(Label.UNGRADABLE, shown, "the gold answer is empty")
    if not answer_text:
        return Verdict(Label.NO_ANSWER, None, "empty answer")
    return Verdict(Label.CORRECT, shown, "the same text") if answer_text == gold_text else None


def _by_meaning(gold: str, answer: str, shown: str) -> Verdict:
    """The verdict on two texts that differ, by what they can be read as."""
    # The same failure counts differently on the two sides: for a gold answer nobody can be blamed, a completion can.
    try:
        golds = _readings(gold)
    except TooLarge as error:
        return Verdict(Label.UNGRADABLE, shown, f"the gold answer is too large to compute: {error}")
    try:
        answers = _readings(answer)
    except TooLarge as error:
        return Verdict(Label.WRONG, shown, f"too large to compute: {error}")
    if not golds and respelled(clean(gold)) == respelled(clean(answer)):
        return Verdict(Label.CORRECT, shown, "the same text")
    if not golds:
        # It can be compared as text alone, and as text it differs.
        return Verdict(Label.UNGRADABLE, shown, "the gold answer cannot be read")
    if not answers:
        return Verdict(Label.WRONG, shown, "the answer cannot be read as mathematics")
    return _of_readings(golds, answers, gold, shown)


def _of_readings(golds: tuple[Answer, ...], answers: tuple[Answer, ...], gold: str, shown: str) -> Verdict:
    """CORRECT where any two readings agree; UNGRADABLE where none do and one pair could not be compared."""
    # Any pair will do, since "1,5" does not say whether it is a decimal or two answers. What is undecided
    # of one pair is kept until the end, because a later pair may still agree.
    undecided = ""
    for g in golds:
        for a in answers:
            try:
                if agree(g, a):
                    return Verdict(Label.CORRECT, shown, "equal")
            except (_Undecided, Unsupported, TooLarge) as error:
                undecided = str(error) or "not decided"
    return Verdict(Label.UNGRADABLE, shown, undecided) if undecided else _different(gold, shown)


def _different(gold: str, shown: str) -> Verdict:
    return Verdict(Label.WRONG, shown, f"not equal to {gold if len(gold) <= 80 else gold[:77] + '...'}")


def _plain(text: str) -> tuple[bool, str, str] | None:
    """(negative, digits before the point, digits behind it) of a number written plainly, as nearly all are."""
    match = _PLAIN.fullmatch(text) if len(text) <= 100 else None
    if match is None:
        return None
    whole, part = match[2].replace(",", "").lstrip("0"), (match[3] or "").rstrip("0")
    return (match[1] == "-" and bool(whole or part), whole, part)


def agree(gold: Answer, given: Answer) -> bool:
    """Whether two read answers are the same."""
    match gold, given:
        case Number(), Number():
            same = _numbers_agree(gold, given)
        case Group(), Group():
            same = _groups_agree(gold, given) or _regions_agree(gold, given)
        case Number(), Group():
            same = _says_once(given, lambda item: _numbers_agree(gold, item))
        case Group(), Number():
            same = _says_once(gold, lambda item: _numbers_agree(item, given))
        case Words(), Words():
            same = gold.text == given.text
        case Matrix(), Matrix():
            same = _matrices_agree(gold, given)
        case Equation(), Equation():
            positive = gold.relation != "="  # an inequality turns around when it is multiplied with a negative number
            same = gold.relation == given.relation and proportional(
                gold.difference, given.difference, positive=positive
            )
        case (Clock(), _) | (_, Clock()):
            same = _clocks_agree(gold, given)
        case (Region(), _) | (_, Region()):
            same = _regions_agree(gold, given)
        case _:
            same = False
    return same


def _matrices_agree(gold: Matrix, given: Matrix) -> bool:
    shapes = [[len(row) for row in side.rows] for side in (gold, given)]
    pairs = zip(gold.rows, given.rows, strict=False)
    return shapes[0] == shapes[1] and all(agree(g, a) for r, s in pairs for g, a in zip(r, s, strict=True))


def _numbers_agree(gold: Number, given: Number) -> bool:
    if not _may_agree(gold, given):
        return False
    if gold.value is None or given.value is None:
        return _unread_numbers_agree(gold, given)
    if gold.percent != given.percent and _reads_as_points(given if gold.percent else gold):
        # 5 for 500% is a confusion of 5%, not the number 5; 50 for a gold of 50% is meant, 50% for 50 is not.
        return gold.percent and equal(multiply(gold.value, rational(100)), gold.digits, given.value, given.digits)
    if equal(gold.value, gold.digits, given.value, given.digits):
        return True
    hundredfold = multiply(gold.value, rational(100)) if gold.percent and not given.percent else None
    return hundredfold is not None and equal(hundredfold, gold.digits, given.value, given.digits)


def _may_agree(gold: Number, given: Number) -> bool:
    """Whether names, units, percent signs and bases leave it open that two numbers are the same."""
    # What only one side names is forgiven: "x = 5" and "5 cm" are ways to write 5.
    if gold.name and given.name and gold.name != given.name:
        return False
    if gold.unit and given.unit and gold.unit != given.unit:
        return False
    if gold.percent != given.percent and (gold.unit or given.unit):
        return False  # 5% is no $5
    return not given.unit.startswith("base ") or gold.unit == given.unit  # 40 to the base 9 is not 40


def _unread_numbers_agree(gold: Number, given: Number) -> bool:
    """Whether two numbers agree of which the exact path cannot read one: the same text, or equal to the oracle."""
    if gold.percent == given.percent and squeezed(gold.text) == squeezed(given.text):
        return True
    digits = decimal_digits(gold.digits, given.digits)
    # The oracle reads no percent sign, and without it would compare another number.
    return not gold.percent and not given.percent and _ask(_latex(gold), _latex(given), digits)


def _reads_as_points(number: Number) -> bool:
    """Whether a number without a percent sign, beside one that has it, can only mean percentage points."""
    value = number.value.constant if number.value is not None else None
    return value is not None and value.denominator == 1 and abs(value) > 1


def _groups_agree(gold: Group, given: Group) -> bool:
    if max(len(gold.items), len(given.items)) > MOST_ITEMS:
        raise TooLarge("too many parts")
    kinds = {gold.kind, given.kind}
    in_order = len(gold.items) == len(given.items) and all(
        agree(g, a) for g, a in zip(_in_order_of_names(gold), _in_order_of_names(given), strict=True)
    )
    if kinds <= {"(", "["}:
        return len(kinds) == 1 and in_order
    # 2:3 is no set of two numbers and equal to no other kind.
    if ":" in kinds:
        return len(kinds) == 1 and in_order
    if kinds & {"(", "["}:
        # Written bare it may be a tuple; a set is none, and the ends of a closed interval are not the interval.
        return "" in kinds and in_order and ("[" not in kinds or len(gold.items) > 2)
    # Both ways, and not by number: {1, 2} and {1, 1, 2} are one set.
    return _covers(gold.items, given.items) and _covers(given.items, gold.items)


def _in_order_of_names(group: Group) -> list[Answer]:
    """`y = 1, x = 2` is the tuple (2, 1)."""
    names = [item.name if isinstance(item, Number) else "" for item in group.items]
    if group.kind or "" in names:
        return list(group.items)
    return [item for _, item in sorted(zip(names, group.items, strict=True), key=lambda pair: pair[0])]


def _says_once(group: Group, agrees: Callable[[Number], bool]) -> bool:
    """One answer written several times, as in "7/2, or 3.5", is that answer; "x = 5, y = 5" is not."""
    return group.kind == "" and all(isinstance(item, Number) and not item.name and agrees(item) for item in group.items)


def _covers(a: tuple[Answer, ...], b: tuple[Answer, ...]) -> bool:
    return all(any(agree(x, y) for y in b) for x in a)


def _regions_agree(gold: Answer, given: Answer) -> bool:
    if not isinstance(gold, Region) and not isinstance(given, Region):
        return False
    a, b = region_of(gold), region_of(given)
    if a is None or b is None or len(a.spans) != len(b.spans) or (a.name and b.name and a.name != b.name):
        return False
    return all(
        s.closed == t.closed and same(s.low, t.low) and same(s.high, t.high)
        for s, t in zip(a.spans, b.spans, strict=True)
    )


def _clocks_agree(gold: Answer, given: Answer) -> bool:
    if isinstance(gold, Clock) and isinstance(given, Clock):
        if gold.unit and given.unit and gold.unit != given.unit:
            return False
        if (gold.first, gold.second) == (given.first, given.second):
            return True
        # 3:30 pm is 15:30; a gold answer of 3:30 without a unit has agreed above.
        if {gold.unit, given.unit} == {"", "pm"}:
            late, day = (gold, given) if gold.unit else (given, gold)
            return (late.first % 12 + 12, late.second) == (day.first, day.second)
        # 2:4 is the ratio 1:2, but 2:40 is a time and no ratio 1:20.
        timely = any(len(clock.second) == 2 or clock.unit for clock in (gold, given))
        return not timely and as_fraction(gold) == as_fraction(given)
    clock, other = (gold, given) if isinstance(gold, Clock) else (given, gold)
    if not isinstance(clock, Clock) or clock.unit or not isinstance(other, Number) or other.value is None:
        return False
    ratio = as_fraction(clock)
    return ratio is not None and not other.unit and other.value.constant == ratio


# A gold answer is read once for all rollouts of its group, which also tend to end in few different answers.
@lru_cache(maxsize=4096)
def _readings(text: str) -> tuple[Answer, ...]:
    return tuple(readings(text))


@lru_cache(maxsize=4096)
def _ask(gold: str, given: str, digits: int) -> bool:
    """Whether two scalars are equal, by the oracle, or where `digits` is not 0 to so many. Raises _Undecided, which is
    not cached."""
    request = json.dumps([gold, given, digits]).encode()
    try:
        with _oracle.worker() as worker:
            status, data = worker.ask(request, SECONDS)
    except (RuntimeError, OSError) as error:
        raise _Undecided(str(error)) from error
    # The process was killed: it took too long, or more memory than it may.
    if status != OK:
        raise _Undecided(f"no decision within {SECONDS:g} s" if status == LATE else "comparing took too much memory")
    match data.decode():
        case "equal":
            return True
        # "right": the model's answer cannot be read, which is its own fault; "left" is nobody's.
        case "different" | "right":
            return False
        case "left":
            raise _Undecided("the gold answer cannot be read")
    raise _Undecided("whether they are equal could not be decided")


def _latex(number: Number) -> str:
    if number.value is None:
        return number.text
    value = number.value.constant
    return latex(number.text) if value is None else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def forget_readings() -> None:
    """Drop what is remembered; the idle processes stay."""
    _readings.cache_clear()
    _ask.cache_clear()


def forget() -> None:
    """Drop what is remembered and end the idle processes."""
    forget_readings()
    _oracle.close()
