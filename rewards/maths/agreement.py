"""Whether two read answers are the same."""

from collections.abc import Callable

from rewards.maths.algebra import TooLarge, multiply, proportional, rational, same
from rewards.maths.answers import as_fraction, region_of
from rewards.maths.brackets import squeezed
from rewards.maths.decimals import decimal_digits, equal
from rewards.maths.decision import equal_by_value
from rewards.maths.kinds import Answer, Clock, Equation, Group, Matrix, Words
from rewards.maths.regions import Region
from rewards.maths.scalars import Number

MOST_ITEMS = 64
"""Parts of an answer. Sets are compared part by part, in time that grows with the square of their number."""


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
    return not gold.percent and not given.percent and equal_by_value(gold, given, digits)


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
