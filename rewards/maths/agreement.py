"""Whether two read answers are the same."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from rewards.maths.algebra import TooLarge, divide, letter, multiply, proportional, rational, same
from rewards.maths.answers import region_of
from rewards.maths.brackets import squeezed
from rewards.maths.clocks import clocks_agree, is_ratio_of
from rewards.maths.decimals import decimal_digits, equal
from rewards.maths.decision import equal_by_value
from rewards.maths.kinds import Answer, Choice, Clock, Equation, Group, Matrix, Named, Words
from rewards.maths.regions import Region
from rewards.maths.scalars import Number, number
from rewards.maths.units import units_agree

MOST_ITEMS = 64
"""Parts of an answer. Sets are compared part by part, in time that grows with the square of their number."""

_ROOTS = re.compile(r"([d-zA-Z])_\w+(?:,\1_\w+)+")
"""Names of solutions that are told apart by numbers alone, and so have no order: x_1, x_2, but not a_1, a_2, which are
terms of a sequence."""
_TWO_NUMBERS = re.compile(r"(\d+) ?([-*]) ?(\d+)")


def agree(gold: Answer, given: Answer) -> bool:
    """Whether two read answers are the same."""
    match gold, given:
        case Named(), Named():
            same = gold.name == given.name and agree(gold.value, given.value)
        case Named(), _:
            same = agree(gold.value, given)
        case _, Named():
            same = agree(gold, given.value)
        case (Choice(), _) | (_, Choice()):
            same = _choices_agree(gold, given)
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
            same = _matrices_agree(gold.rows, given.rows)
        case (Matrix(), Group()) | (Group(), Matrix()):
            same = _vectors_agree(_components(gold), _components(given)) or _matrices_agree(_rows(gold), _rows(given))
        case Equation(), Equation():
            positive = gold.relation != "="  # an inequality turns around when it is multiplied with a negative number
            same = gold.relation == given.relation and proportional(
                gold.difference, given.difference, positive=positive
            )
        case Clock(), Clock():
            same = clocks_agree(gold, given)
        case Clock(), Number():
            same = is_ratio_of(gold, given)
        case Number(), Clock():
            same = is_ratio_of(given, gold)
        case (Region(), _) | (_, Region()):
            same = _regions_agree(gold, given)
        case _:
            same = False
    return same


def _choices_agree(gold: Answer, given: Answer) -> bool:
    """Whether two answers, of which one or both are a choice with its text, name the same choice.

    The letter will do, and so will the text; a letter beside another text is another answer.
    """
    if isinstance(gold, Choice) and isinstance(given, Choice):
        alike = not gold.readings or not given.readings or _any_agree(gold.readings, given.readings)
        return gold.letter == given.letter and (gold.text == given.text or alike)
    if isinstance(gold, Choice):
        letter, texts = agree(number(gold.letter), given), _any_agree(gold.readings, (given,))
        return letter or (texts and not _is_letter(given))
    if isinstance(given, Choice):
        letter, texts = agree(gold, number(given.letter)), _any_agree((gold,), given.readings)
        return letter or (texts and not _is_letter(gold))
    return False


def _is_letter(answer: Answer) -> bool:
    return isinstance(answer, Number) and re.fullmatch(r"\(?[A-H]\)?", answer.text) is not None


def _any_agree(golds: Sequence[Answer], answers: Sequence[Answer]) -> bool:
    return any(agree(gold, given) for gold in golds for given in answers)


def _rows(side: Answer) -> Sequence[Sequence[Answer]]:
    """The rows of a matrix, or of a list of lists; none where it is neither."""
    if isinstance(side, Matrix):
        return side.rows
    lists = list(side.items) if isinstance(side, Group) and side.kind == "[" else []
    rows = [one.items for one in lists if isinstance(one, Group) and one.kind == "["]
    return rows if len(rows) == len(lists) else []


def _matrices_agree(gold: Sequence[Sequence[Answer]], given: Sequence[Sequence[Answer]]) -> bool:
    shapes = [[len(row) for row in rows] for rows in (gold, given)]
    pairs = zip(gold, given, strict=False)
    return shapes[0] == shapes[1] != [] and all(agree(g, a) for r, s in pairs for g, a in zip(r, s, strict=True))


def _vectors_agree(gold: list[Answer], given: list[Answer]) -> bool:
    """Whether one row or one column of numbers and a tuple are the same vector, by their components."""
    return len(gold) == len(given) > 1 and all(agree(g, a) for g, a in zip(gold, given, strict=True))


def _components(side: Answer) -> list[Answer]:
    """The parts of a vector or a tuple, in order; none where it is neither."""
    if isinstance(side, Group):
        if _assigns(side):
            return sorted(side.items, key=_name)
        return list(side.items) if side.kind in ("(", "⟨") else []
    if not isinstance(side, Matrix):
        return []
    if len(side.rows) == 1:
        return list(side.rows[0])
    return [row[0] for row in side.rows] if all(len(row) == 1 for row in side.rows) else []


def _numbers_agree(gold: Number, given: Number) -> bool:
    for degrees, radians in ((gold, given), (given, gold)):
        if _are_degrees_and_radians(degrees, radians):
            return _angles_agree(degrees, radians)
    if not _may_agree(gold, given) or _only_values_agree(gold.text, given.text):
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


def _are_degrees_and_radians(degrees: Number, radians: Number) -> bool:
    """Whether one number is an angle in degrees and the other one in radians, which π tells where no unit does."""
    if degrees.unit != "degree" or degrees.value is None or radians.value is None or radians.percent:
        return False
    return radians.unit == "radian" or (not radians.unit and "π" in radians.value.letters)


def _angles_agree(degrees: Number, radians: Number) -> bool:
    if degrees.value is None or radians.value is None:
        return False
    turned = multiply(degrees.value, divide(letter("π"), rational(180)))
    return equal(turned, degrees.digits, radians.value, radians.digits)


def _only_values_agree(gold: str, given: str) -> bool:
    """Whether two texts are a range, a score or a size, as 10-12, 3-1 and 2*3 are, with other numbers.

    The same value is no sign that they say the same: 10-12 and 11-13 are both -2.
    """
    pairs = [_TWO_NUMBERS.fullmatch(text) for text in (gold, given)]
    if pairs[0] is None and pairs[1] and pairs[1][2] == "-" and int(pairs[1][1]) < int(pairs[1][3]):
        return True  # nobody writes -2 as 10-12, and a range is no number
    if pairs[0] is None or pairs[1] is None or pairs[0][2] != pairs[1][2]:
        return False
    (a, b), (c, d) = ((int(pair[1]), int(pair[3])) for pair in pairs if pair is not None)
    return (a, b) != (c, d) and (pairs[0][2] == "-" or (a, b) != (d, c))


def _may_agree(gold: Number, given: Number) -> bool:
    """Whether names, units, percent signs and bases leave it open that two numbers are the same."""
    # What only one side names is forgiven: "x = 5" and "5 cm" are ways to write 5.
    if not _names_agree(gold.name, given.name):
        return False
    if gold.unit and given.unit and not units_agree(gold.unit, given.unit):
        return False
    if gold.percent != given.percent and (gold.unit or given.unit):
        return False  # 5% is no $5
    return not given.unit.startswith("base ") or gold.unit == given.unit  # 40 to the base 9 is not 40


def _names_agree(gold: str, given: str) -> bool:
    """Whether two names may be of the same thing: y may be f(x), and a missing name is forgiven."""
    if "y" in (gold, given) and (gold + given).endswith(("(x)y", "(t)y", "(x)", "(t)")):
        return True
    return not gold or not given or gold == given


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
    if len(gold.items) > MOST_ITEMS:
        raise TooLarge("too many parts")
    if len(given.items) > MOST_ITEMS:
        return False  # of so many parts it is no way to write a shorter answer
    if _assigns(gold) or _assigns(given):
        return _assignments_agree(gold, given)
    kinds = {"(" if side.kind == "⟨" else side.kind for side in (gold, given)}
    in_order = _agree_in_order(gold.items, given.items)
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


def _assigns(group: Group) -> bool:
    """Whether each part has a name of its own, as in `x = 1, y = 2` and `(x, y) = (1, 2)`."""
    names = [_name(item) for item in group.items]
    return len(names) > 1 and all(names) and len(set(names)) == len(names)


def _name(item: Answer) -> str:
    return item.name if isinstance(item, Number | Named) else ""


def _assignments_agree(gold: Group, given: Group) -> bool:
    """Whether the same values go to the same names, or where one side has no names, stand in the order of names: `y =
    1, x = 2` is the point (2, 1)."""
    sides = [sorted(side.items, key=_name) if _assigns(side) else list(side.items) for side in (gold, given)]
    if _assigns(gold) and _assigns(given):
        return [*map(_name, sides[0])] == [*map(_name, sides[1])] and _agree_in_order(*sides)
    named, bare = (gold, given) if _assigns(gold) else (given, gold)
    roots = _ROOTS.fullmatch(",".join(sorted(map(_name, named.items))))
    if roots and bare.kind in ("", "or", "{"):
        # x_1 and x_2 are values of x.
        values = [[_unnamed(item) for item in side.items] for side in (gold, given)]
        same_letter = {_name(item) for item in bare.items} <= {"", roots[1]}
        return same_letter and _covers(*values) and _covers(*reversed(values))
    return bare.kind in ("", "(", "⟨") and _agree_in_order(*sides)


def _unnamed(item: Answer) -> Answer:
    return replace(item, name="") if isinstance(item, Number) else item


def _agree_in_order(gold: Sequence[Answer], given: Sequence[Answer]) -> bool:
    return len(gold) == len(given) and all(agree(g, a) for g, a in zip(gold, given, strict=True))


def _says_once(group: Group, agrees: Callable[[Number], bool]) -> bool:
    """One answer written several times, as in "7/2, or 3.5", is that answer; "x = 5, y = 5" is not."""
    # Either no name or one and the same: "x = 5, y = 5" is two answers.
    once = group.kind in ("", "or") and len({_name(item) for item in group.items}) == 1
    return once and all(isinstance(item, Number) and agrees(item) for item in group.items)


def _covers(a: Sequence[Answer], b: Sequence[Answer]) -> bool:
    return all(any(agree(x, y) for y in b) for x in a)


def _regions_agree(gold: Answer, given: Answer) -> bool:
    if not isinstance(gold, Region) and not isinstance(given, Region):
        return False
    a, b = region_of(gold), region_of(given)
    if a is None or b is None or len(a.spans) != len(b.spans) or not _names_agree(a.name, b.name):
        return False
    return all(
        s.closed == t.closed and same(s.low, t.low) and same(s.high, t.high)
        for s, t in zip(a.spans, b.spans, strict=True)
    )
