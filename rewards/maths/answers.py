"""How a text is read as an answer. A text may have several readings ("1,5"); all are returned."""

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from rewards.maths.algebra import (
    Malformed,
    TooLarge,
    Unsupported,
    add,
    divide,
    negative,
)
from rewards.maths.brackets import CLOSING, WORDS, end_of_bracket, split, squeezed
from rewards.maths.clean import clean, too_deep
from rewards.maths.clocks import clock, full_hour
from rewards.maths.dates import date
from rewards.maths.kinds import Answer, Choice, Equation, Group, Matrix, Named, Words
from rewards.maths.matrices import MATRIX, cells
from rewards.maths.numerals import variants
from rewards.maths.parser import parse
from rewards.maths.quantities import quantity, with_plain_names
from rewards.maths.reals import real_value
from rewards.maths.regions import REALS, Region, Span, except_for, inequalities, interval, union
from rewards.maths.scalars import Number, number

_RELATION = re.compile(r"[<>≤≥]")
# What may stand before an equals sign as the name of a value: x, x_1, f(x), f'(2), \angle ABC, |A|, (x, y).
_LETTER = r"\\?[A-Za-zα-ωπ]"
_NAME = (
    rf"{_LETTER}\w*(?:_\{{?\w+\}}?)?|\\text ?\{{[^{{}}]*\}}|[A-Za-z](?:\^\{{-1\}}|'+)?\((?:[A-Za-z]|-?\d+)\)"
    r"|m?\\angle ?[A-Z]{1,3}|\\(?:vec|overrightarrow) ?\{[A-Za-z]+\}|\\frac ?\{d[a-z]\}\{d[a-z]\}|\|[A-Z]\|"
    r"|\\overline ?\{[A-Z]{2}\}|\([a-z](?: ?, ?[a-z])+\)"
)
# A colon with a digit behind it belongs to a ratio or a time of day.
_ASSIGNED = re.compile(rf"^({_NAME})\s*(?:=|∈|:(?!\s*\d))\s*(.*)$")
_OF_MATRIX = re.compile(rf"^(?:{_NAME}|(?:[A-Z]|\\text ?\{{[A-Z]\}}) ?\^ ?(?:\{{ ?(?:-1|T) ?\}}|T)) ?= ?")
_HEADING = re.compile(r"^\\text ?\{(?:the )?(?:domain|range|solutions?(?: set)?) ?(?:is ?)?:? ?\} ?", re.IGNORECASE)
_SHORT = re.compile(rf"{_LETTER}(?:_\{{?\w+\}}?)?")
_FUNCTION = re.compile(r"[A-Za-z](?:\^ ?\{-1\}|'+)?\((?:[A-Za-z]|-?\d+)\)|\\frac ?\{d[a-z]\}\{d[a-z]\}")
_OR = re.compile(r"\s+or\s+")
_CHOICE = re.compile(r"(?:\(([A-H])\)|([A-H])[).:]) +(?![-+*/^=,]|or\b|and\b)(?!.*(?:\([A-H]\)|\b[A-H][).:]))(.+)")
_ALL_SUCH = re.compile(
    r"⦃ ?[a-z] ?(?:∈ ?(?:\\mathbb ?(?:\{R\}|R)) ?)?[|:]((?:[^|:]|\|[^|]+\|)*[<>≤≥](?:[^|:]|\|[^|]+\|)*)⦄"
)
"""{x : x < 3} is what it bounds x to."""
_OPTION = re.compile(r"(?:\\text\s*\{)?(?:option|choice|answer)\s*:?\s*\}?\s*\(?([A-H])\)?\}?", re.IGNORECASE)
_COUNTING = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_SAID = {
    **dict.fromkeys(("all real numbers", "all reals", "all real numbers x"), "\\mathbb{R}"),
    **dict.fromkeys(("no solution", "no solutions", "empty set", "the empty set"), "∅"),
    "no real solutions": "\\text{no real solution}", "noon": "12:00 PM", "midnight": "12:00 AM",
    **{word: str(value) for value, word in enumerate(_COUNTING.split())},
}
"""What some say in words and others write."""
_EXCEPT = re.compile(r"([a-z]) *≠([^≠]+)")
_SPOKEN = re.compile(r"(?=.*[^\W\d_]{3})[\w\s.,'’:-]+")


def readings(answer: str) -> list[Answer]:
    """Every way to read an answer; none where it cannot be read. Raises TooLarge for what is not worth computing."""
    text = clean(answer)
    if not text or too_deep(text):
        return []
    if all_such := _ALL_SUCH.fullmatch(text):
        text = all_such[1]
    # "All reals - {2}" is often written with a minus.
    text = re.sub(rf"^({'|'.join(map(re.escape, REALS))}) ?- ?⦃", r"\1∖⦃", text)
    text = _SAID.get(re.sub(r"\\text|[{}]", "", text).strip().casefold(), text)
    found: list[Answer] = []
    for variant in variants(text):
        try:
            # Every spelling is tried: "1,500" may be a number, or two answers.
            found.extend(_read(variant))
        except (Malformed, Unsupported):
            continue
        except RecursionError as error:
            # No answer nests so deeply; somebody tries to break the parser.
            raise TooLarge("nested too deeply") from error
    if not found and _SPOKEN.fullmatch(spoken := re.sub(r"\\text|[{}]", "", text)):
        found.append(Words(squeezed(spoken)))  # "June 20": to be compared as words
    return found


def _read(text: str) -> Iterator[Answer]:
    marked = _marked(text)
    if marked is not None:
        yield marked
    else:
        yield from _related(_exact(text) if "≈" in text else text)


def _marked(text: str) -> Answer | None:
    """An answer that a sign of its own marks as a date, a matrix, an exception, an inequality, words or a choice."""
    day, matrix = date(text), MATRIX.match(_OF_MATRIX.sub("", text))
    if day or matrix:
        return _matrix(matrix) if matrix else Words(day)
    if excluded := _EXCEPT.fullmatch(text):
        return Region(tuple(except_for(parse(excluded[2]))), excluded[1])
    if "≠" in text and (_RELATION.search(text) or text.count("≠") > 1):
        return _bounded(text)
    if "…" in text or "≠" in text or "→" in text:
        return Words(squeezed(text))
    return _choice(text)


def _choice(text: str) -> Answer | None:
    """"option B", or the letter of a choice before the choice's text."""
    if option := _OPTION.fullmatch(text):
        return number(option[1])
    choice = _CHOICE.fullmatch(text)
    return Choice(choice[1] or choice[2], squeezed(choice[3]), tuple(readings(choice[3]))) if choice else None


def _related(text: str) -> Iterator[Answer]:
    """An answer that is taken apart at a union, a relation, a comma or an equals sign, or else is whole."""
    assigned = _ASSIGNED.match(text)
    if (named := _of_quantity(text)) is not None:
        yield from named
    elif "∪" in text or "∖" in text:
        yield union([interval(part) for part in split(assigned[2] if assigned else _HEADING.sub("", text), "∪")])
    elif _RELATION.search(text):
        yield _bounded(text)
    elif len(parts := _parts(text)) > 1:
        yield _several(parts, either=_OR.search(text) is not None)
    elif assigned and ("∈" in text or "=" in text or ":" in text):
        yield from _assigned(text, assigned)
    elif "=" in text:
        yield _equation(text)
    else:
        yield from _lone(_whole(text))


def _of_quantity(text: str) -> Iterator[Answer] | None:
    """`V_1:V_2 = 11:21` is its value, with the name of what has it; None where no quantity is named."""
    left, equals, right = text.partition("=")
    if not equals or "=" in right or not (name := quantity(left)):
        return None
    return (Named(name, value) for value in _related(right.strip()))


def _parts(text: str) -> list[str]:
    return [part for piece in re.split(r"\s+(?:or|and)\s+", text) for part in split(piece, ",;") if part.strip()]


def _exact(text: str) -> str:
    """`x ≈ 2.5` says what `x = 2.5` says; 24π ≈ 75.4 says 24π, as long as that is so."""
    left, *others = text.split("≈")
    if len(others) != 1:
        raise Malformed("a chain of approximations")
    if "=" not in left and re.fullmatch(_NAME, left.strip()):
        return f"{left} = {others[0]}"
    exact, near = number(left.rpartition("=")[2].strip()), number(others[0].strip())
    if (
        exact.value is None
        or near.value is None
        or abs(real_value(exact.value) / real_value(near.value) - 1) > Decimal("0.01")
    ):
        raise Malformed("approximations that are none")
    return left


def _lone(answers: Iterator[Answer]) -> Iterator[Answer]:
    """The answers, and where one is a set of a single number that number too: it is how some write their only
    solution."""
    for answer in answers:
        yield answer
        match answer:
            case Group(kind="{", items=(Number() as only,)):
                yield only


def _whole(text: str) -> Iterator[Answer]:
    """An answer without a separator or relation outside of brackets."""
    if not text:
        raise Malformed("an empty place")
    if text == "∅":
        yield Group("{", ())
    elif text in REALS:
        yield union([interval(text)])
    elif (bracketed := _bracketed(text)) is not None:
        yield bracketed
    elif re.fullmatch(r"[(\[].*[,;].*[)\]]", text):
        yield union([interval(text)])
    elif "±" in text:
        signs = [text.replace("±", sign) for sign in "+-"]
        yield Group("or", tuple(number(sign.lstrip("+ ")) for sign in signs))
    elif (time := clock(text)) is not None:
        yield time
    elif ":" in text:
        yield _ratio(split(text, ":"))
    else:
        if (hour := full_hour(text)) is not None:
            yield hour
        yield from _words_or_number(text)


def _bracketed(text: str) -> Group | None:
    """A tuple, a set or a list; None where the brackets hold one thing, or are no pair."""
    if text[0] not in CLOSING or end_of_bracket(text) != len(text):
        return None
    inner = [part.strip() for part in split(text[1:-1], ",;")]
    if text[0] in "({" and len(inner) == 1:
        return None
    if text[0] == "⦃" and inner == [""]:
        return Group("{", ())
    if not all(inner):
        raise Malformed("an empty place")
    if text[0] == "⦃":
        return Group("{", tuple(_each(inner)))
    return Group(text[0], tuple(_item(part) for part in inner))


def _each(parts: list[str]) -> list[Answer]:
    """The answers of a list, in which ± makes two of one."""
    items: list[Answer] = []
    for part in parts:
        item = _item(part)
        items += item.items if isinstance(item, Group) and "±" in part and item.kind == "or" else [item]
    return items


def _words_or_number(text: str) -> Iterator[Answer]:
    words = re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text).strip(" ()\"'")
    if WORDS.fullmatch(words) and ("\\text" in text or len(words) > 2 or words.casefold() == "no"):
        yield Words(squeezed(words))
        # "Evelyn" is no product of letters (its anagrams would be equal to it); "xyz" is.
        spoken = re.search(r"[aeiouAEIOU]", words) and not re.search(r"\b\w\b", words)
        if "\\text" in text or spoken:
            return
    yield number(text)


def _ratio(parts: list[str]) -> Group:
    first, *others = map(parse, parts)
    if not others:
        raise Malformed("a colon in brackets")
    return Group(":", tuple(Number("", divide(other, first)) for other in others))


def _item(text: str) -> Answer:
    text = text.strip()
    if text and text[0] in "([⦃⟨" and end_of_bracket(text) == len(text):
        return next(_whole(text))
    if "=" in text:
        assigned = _ASSIGNED.match(text)
        named = _of_quantity(text)
        if named is not None:
            return next(named)
        return next(_assigned(text, assigned)) if assigned else _equation(text)
    return next(_whole(text))


def _several(parts: list[str], *, either: bool) -> Group:
    """Answers with commas, "and" or, with `either`, "or" between them: `n=2,3,4` names all of them once."""
    parts = [part.strip() for part in parts]
    first = _ASSIGNED.match(parts[0])
    if first and "=" in parts[0] and not any("=" in part for part in parts[1:]):
        parts[0] = first[2]
    items = _each(parts)
    # n = 2, 3, 4 are three values of one letter; x = 1, y = 2 are not, and keep their names.
    names = {item.name if isinstance(item, Number) else "" for item in items}
    values = len(names) == 1 and bool(first and "=" in first[0])
    if values and first and "" in names:
        items = [_called(item, _short(first[1])) for item in items]
    # Alternatives and the values of one letter have no order, and are no point.
    return Group("or" if either or values else "", tuple(_solutions(items)))


def _solutions(items: list[Answer]) -> list[Answer]:
    """`p = 5, q = 2; p = 7, q = 2` are two pairs: names that come again in every part begin a part each."""
    names = [item.name if isinstance(item, Number) else "" for item in items]
    size = len(set(names))
    parts = [items[at : at + size] for at in range(0, len(items), size)]
    alike = all({item.name for item in part if isinstance(item, Number)} == set(names) for part in parts)
    if size < 2 or size == len(items) or "" in names or not alike:
        return items
    return [Group("", tuple(part)) for part in parts]


def _called(item: Answer, name: str) -> Answer:
    """The answer, and each of alternatives, with a name."""
    if isinstance(item, Number):
        return replace(item, name=name)
    if isinstance(item, Group) and item.kind in ("or", "{"):
        return replace(item, items=tuple(_called(part, name) for part in item.items))
    return replace(item, name=name) if isinstance(item, Region) else item


def _short(name: str) -> str:
    """The name of a letter or a function, in one spelling; "" for a name in words, which is not compared."""
    return re.sub(r"[{} ]", "", name) if _SHORT.fullmatch(name) or _FUNCTION.fullmatch(name) else ""


def _assigned(text: str, match: re.Match[str]) -> Iterator[Answer]:
    """`x = 5` is its value; `y = 2x + 3` its value and an equation; a chain of equations is nothing."""
    name, rest = match[1], match[2].strip()
    if name[0] == "(":
        yield from _named(split(name[1:-1], ","), rest)
        return
    # xy = 6 is an equation between two letters.
    if re.fullmatch(r"[a-z]{2}", name):
        yield _equation(text)  # a product is no variable
        return
    if not rest or "=" in rest or (":" in rest and "=" in text):
        raise Malformed("a chain of equations")
    short = _short(name)
    for value in _lone(_whole(rest)):
        if "∈" in text and (region := region_of(value)) is not None:
            yield _called(region, short)  # what something is in is no point
        # S = {1, 2} is the name of the set, and x in it that of its elements.
        elif isinstance(value, Group) and value.kind == "{" and "∈" not in text:
            yield value
        else:
            yield _called(value, short) if short else value
    if "=" in text and _SHORT.fullmatch(name):
        try:
            yield _equation(text)
        except (Unsupported, Malformed):
            return


def _named(names: list[str], tuple_: str) -> Iterator[Answer]:
    """`(x, y) = (1, 2)` is its tuple, and the same as `x = 1, y = 2`."""
    values = next(_whole(tuple_))
    if not isinstance(values, Group) or values.kind != "(" or len(values.items) != len(names):
        raise Malformed("a tuple of another length")
    pairs = zip(values.items, names, strict=True)
    named = tuple(replace(value, name=name.strip()) if isinstance(value, Number) else value for value, name in pairs)
    yield Group("(", named)


def _bounded(text: str) -> Region | Equation:
    """An inequality in one letter as the region it bounds; in several letters as what it says of their difference."""
    text, name = with_plain_names(text)
    try:
        region = inequalities(text)
        return replace(region, name=name) if name else region
    except Unsupported:
        sides = re.split(r"([<>≤≥])", text)
        if len(sides) != 3:
            raise
        # What is compared is left - right < 0, whatever way it was written.
        difference = add(parse(sides[0]), negative(parse(sides[2])))
        if sides[1] in ">≥":
            difference = negative(difference)
        return Equation(difference, "<" if sides[1] in "<>" else "≤")


def _equation(text: str) -> Equation | Number:
    sides = split(text, "=")
    if len(sides) != 2:
        raise Malformed("a chain of equations")
    left, right = parse(sides[0]), parse(sides[1])
    # 5 = x says what x = 5 says.
    if re.fullmatch(r"[A-Za-z]", sides[1].strip()) and left.constant is not None:
        return Number(sides[0].strip(), left, name=sides[1].strip())
    difference = add(left, negative(right))
    if not difference.letters - {"π", "e", "∞"}:
        raise Malformed("an equation between numbers")
    return Equation(difference)


def _matrix(match: re.Match[str]) -> Matrix:
    if match[2] == "v":
        # vmatrix is a number and no matrix.
        raise Unsupported("a determinant")
    return Matrix(tuple(tuple(_item(cell) for cell in row) for row in cells(match)))


def region_of(answer: Answer) -> Region | None:
    """A pair in brackets as the interval that it may be, or a region itself."""
    if isinstance(answer, Region):
        return answer
    if isinstance(answer, Group) and answer.kind in "([" and answer.kind and len(answer.items) == 2:
        low, high = answer.items
        if not (isinstance(low, Number) and isinstance(high, Number)) or low.name or high.name:
            return None  # (x, y) = (1, 2) is a point
        if low.value is not None and high.value is not None:
            closed = answer.kind == "["
            try:
                return union([[Span(low.value, high.value, (closed, closed))]])
            except (Malformed, Unsupported):
                return None
    return None
