"""Units: what may stand around a number. A missing unit is forgiven, another unit is not."""

import re
from fractions import Fraction

from rewards.maths.algebra import Malformed

# A dollar is § since cleaning, where $ is a sign of LaTeX.
_CURRENCIES = {"§": "dollar", "€": "euro", "£": "pound sterling", "¥": "yen", "₹": "rupee"}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SYNONYMS = {
    "centimetre": "cm", "centimeter": "cm", "metre": "m", "meter": "m", "kilometre": "km", "kilometer": "km",
    "millimetre": "mm", "millimeter": "mm", "inche": "inch", "in": "inch", "feet": "foot", "ft": "foot", "mile": "mi",
    "gram": "g", "kilogram": "kg", "litre": "l", "liter": "l", "hr": "hour", "h": "hour", "min": "minute",
    "sec": "second", "s": "second", "usd": "dollar", "buck": "dollar", "euro": "euro", "eur": "euro", "°": "degree",
    "deg": "degree", "rad": "radian", "yr": "year", "pm": "pm", "am": "am", "lb": "pound", "oz": "ounce",
    "mph": "mi/hour", "people": "person", "children": "child",
}  # fmt: skip
# Any word may be a unit ("12 apples"), except these: they make of a number something else than a number with a unit.
_NO_UNIT_WORDS = (
    "or and not no nor but either is isn are aren to if then else than times plus minus over mod modulo divided by "
    "multiplied squared cubed factorial percent pi sqrt root power one two three four five six seven eight nine ten "
    "zero twice wrong false incorrect never except maybe about approximately between remainder below mil mln mn bn "
    "grand score gross lakh crore infinity r i e x y z n tens ones pair pairs couple couples doubled tripled "
    "quadrupled halved less more fewer short extra missing off above under up down higher lower greater smaller "
    "negative positive nth th permille opposite reciprocal inverse dx dy dz dt du too many few enough eleven twelve "
    "twenty thirty forty fifty sixty seventy eighty ninety choose hex hexadecimal octal oct binary least most ish"
)
_NO_UNIT = frozenset(_NO_UNIT_WORDS.split())
# By their names, since months and births end as tenths and fourths do.
_FRACTION_WORD = re.compile(
    r"hal(?:f|ves)|(?:[\w-]*-)?thirds?|quarters?"
    r"|[\w-]*(?:four|fif|six|seven|eigh|nin|ten|teen|eleven|twelf|tie|hundred|thousand|illion)ths?"
)
_SHORT_UNIT_WORDS = (
    "nm um mm cm dm km mi ft in yd ha ac mg kg lb oz lbs ozs ml cl dl qt pt gal hr hrs min sec ms ns am pm yr yrs wk "
    "mol rpm mph kph kmh fps usd eur gbp rs cc pcs pc ct pts sq cu hz khz mhz ghz kb mb gb tb kw mw kwh kj ox "
    "eV keV MeV Pa kPa dB mA mV kV psi"
)
_SHORT_UNITS = frozenset(_SHORT_UNIT_WORDS.split())
"""Units of two or three letters in small letters, and as they are written where these would be a product: mv, ma."""
_LENGTHS = frozenset(("nm", "um", "mm", "cm", "dm", "km", "mi", "ft", "in", "yd"))
_FUNCTION_WORDS = "sin cos tan cot csc arcsin arccos arctan sinh cosh tanh ln log exp max lim det gcd lcm"
_FUNCTIONS = frozenset(_FUNCTION_WORDS.split())
# Letters that are units where a space parts them from a number. "5m" may be five times m, and is left to the algebra.
_SINGLE = frozenset("mgshlLAVWNJKCF")
_OF_ONE = ("each", "apiece")
"""Words behind a unit that add nothing to it."""
_CODES = {"USD": "§", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "Rs": "₹", "US": ""}
_CODE = re.compile(r"^([-+]?)\s*(?:\\text\s*\{\s*)?(USD|EUR|GBP|JPY|INR|Rs\.?|US(?=§))\s*\}?\s*(?=[§\d.])")
_ORDINAL = re.compile(
    r"(\d+)\s?(?:\^\s?)?(?:\{?\s?\\text\s?\{(?:st|nd|rd|th)\}\s?\}?|(?:\{\s?)?(?:st|nd|rd|th)(?:\s?\})?)"
)
_QUOTIENT = re.compile(r"\\frac\s*\{\s*\\text\s*\{([^{}]*)\}\s*\}\s*\{\s*\\text\s*\{([^{}]*)\}\s*(\^\{?[23]\}?)?\s*\}")
_UNDER = re.compile(r"\\text\s*\{([^{}]*)\}\s*\^\s*\{?\s*-([123])\s*\}?")
"""A unit to a negative power, which is what one divides by."""
_PREFIX = re.compile(r"^([-+]?)\s*(?:\\text\{\s*([§€£¥₹])\s*\}|([§€£¥₹]))\s*(.*)$", re.DOTALL)
_SUFFIX = re.compile(r"^(.*\S)\s*(?:\\text\{\s*([§€£¥₹])\s*\}|([§€£¥₹]))$", re.DOTALL)
_PERCENT = re.compile(r"^(.*\S)\s*(?:%|pct|percentage|\\text\{\s*(?:%|percent(?:age)?|pct\.?)\s*\})$", re.DOTALL)
_MARKED = re.compile(r"^(.+?)\s*((?:\\text\s*\{[^{}]*\}(?:\^\{?[23]\}?)?\s*/?\s*)+)$", re.DOTALL)
_COUNTED = re.compile(
    r"([-+]?[\d.,/ ]*\d|.*[})]) ?"
    r"((?![百万萬亿億兆十半多几余]|千(?![克米瓦]))[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]{1,6})", re.DOTALL,
)  # fmt: skip
"""A number with a unit of a script that has no spaces; not with 万, which makes it ten thousand times as large."""
_RATE = re.compile(r"^([-+]?[\d.,]*\d) ?/ ?([A-Za-z]{2,}(?: [A-Za-z]+)?)$")
_SHARE = re.compile(r"/(?:cent|mille?|hundred|thousand|\w+illion|[\d.]+)s?\b", re.IGNORECASE)
"""Per cent, per thousand or per 100, which make another number of the one before them."""
_PLAIN = re.compile(
    r"^([-+]?[\d.,/ ]*\d|.*\}|.*[π)])(\s*)"
    r"((?:square |cubic )?[A-Za-zµ][A-Za-zµ. ]*(?:/\s?[A-Za-z]+)?(?:\^\{?[23]\}?)?)$",
    re.DOTALL,
)


def split_unit(text: str) -> tuple[str, str, Fraction | int, bool]:
    """(scalar, unit in normal form or "", factor such as a million, whether a percentage)."""
    text = _CODE.sub(lambda m: m[1] + _CODES[m[2].rstrip(".")], text.strip())
    if ordinal := _ORDINAL.fullmatch(text):
        return ordinal[1], "", 1, False
    if "\\frac" in text:
        text = _QUOTIENT.sub(lambda m: f"\\text{{{m[1]}}}/\\text{{{m[2]}}}{m[3] or ''}", text)
    text = _UNDER.sub(lambda m: f"/\\text{{{m[1]}}}" + (f"^{{{m[2]}}}" if m[2] != "1" else ""), text)
    money = _PREFIX.match(text) or _SUFFIX.match(text)
    unit = ""
    if money:
        groups = money.groups()
        text = groups[0] + groups[3] if len(groups) == 4 else groups[0]
        unit = _CURRENCIES[next(g for g in groups[1:3] if g)]
    percent = _PERCENT.match(text)
    if percent:
        return percent[1], unit, 1, True
    if (degrees := _degrees_or_counted(text)) is not None:
        return *degrees, 1, False
    # $18/hour; without the sign of money or a mark around the word it is a quotient of letters.
    text = _RATE.sub(r"\1\\text{/\2}", text) if unit else text
    marked = _MARKED.match(text)
    if marked:
        words = re.sub(r"\\text\s*\{([^{}]*)\}", r"\1 ", marked[2])
        scalar = marked[1].strip()
        return _scaled(scalar.rstrip("/ "), "/" * scalar.endswith("/") + words, unit)
    plain = _PLAIN.match(text)
    if plain and _is_unit(plain[3], spaced=bool(plain[2]), number=plain[1]):
        return _scaled(plain[1].strip(), plain[3], unit)
    return text, unit, 1, False


def _degrees_or_counted(text: str) -> tuple[str, str] | None:
    """(scalar, "degree", "degree C" or "degree F", or a unit without a space); None where the text is no such
    number."""
    if not text.isascii() and (counted := _COUNTED.fullmatch(text)):
        return counted[1], counted[2]
    if text.endswith("°") and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return text[:-1].strip(), "degree"
    marked = re.fullmatch(r"(.*\S)\s*°\s*\\text\s*\{\s*([CF])\s*\}|(.*\S)\s*°\s*([CF])", text)
    return ((marked[1] or marked[3]), "degree " + (marked[2] or marked[4])) if marked else None


def _is_unit(words: str, *, spaced: bool, number: str) -> bool:
    if re.sub(r"\^\{?[23]\}?$", "", words).strip("() ") in _SINGLE:
        return spaced and re.fullmatch(r"[-+]?[\d.,/ ]+", number) is not None
    bare = re.sub(r"\^\{?[23]\}?$", "", words).strip(". ")
    if bare.split(" ")[0] in _FUNCTIONS:
        return False
    if re.fullmatch(r"[A-Za-z]{2,3}", bare) and not _is_short_word(bare, raised="^" in words):
        return False
    letters = re.sub(r"[^A-Za-z]", "", words)
    # Two letters stuck to a number are a product, unless everybody knows the unit.
    return len(letters) > 1 and (
        spaced or letters.lower() in {"cm", "km", "mm", "kg", "ml", "am", "pm", "mph", "hours", "usd"}
    )


def _is_short_word(word: str, *, raised: bool) -> bool:
    """Whether two or three letters are a unit, or a word that is counted: 5 ab is five times a and b. `raised` is what
    has an exponent, as lengths have."""
    if raised:
        return word.casefold() in _LENGTHS
    if word in _SHORT_UNITS or word.casefold() in _SHORT_UNITS:
        return True
    return len(word) == 3 and re.search("[aeiou]", word) is not None


def _scaled(scalar: str, words: str, currency: str) -> tuple[str, str, Fraction | int, bool]:
    words = re.sub(r"\s*(?:/|\bper\b)\s*", "/", words)
    words = re.sub(r"\s+(?=\^)", "", words.strip())
    parts = [part for part in re.split(r"[\s.]+", words) if part and part.casefold() not in _OF_ONE]
    factor = 1
    while parts and parts[0].casefold().rstrip("s") in _SCALES:
        factor *= _SCALES[parts.pop(0).casefold().rstrip("s")]
    if parts and parts[0].casefold() == "of":
        parts.pop(0)
    # No unit has so many words, but a sentence behind a number has.
    if len(parts) > 5 or words.endswith("/"):
        raise Malformed("a sentence")
    if _SHARE.match(words):
        raise Malformed("a share in words")
    if any(_FRACTION_WORD.fullmatch(word) for part in parts for word in part.casefold().split("/")):
        raise Malformed("a fraction in words")
    if any(re.sub(r"[^a-z]", "", part.casefold()) in _NO_UNIT and part.casefold() not in ("m", "s") for part in parts):
        raise Malformed("words that are no unit")
    unit = " ".join(_normal(part) for part in parts)
    unit = re.sub(r"^(?:square|sq) (\w+)$", r"\1^2", unit)
    unit = re.sub(r"^cubic (\w+)$", r"\1^3", unit)
    # $5 cents is not to be guessed at.
    if unit == "cent" and currency:
        raise Malformed("two units")
    return scalar, _joined(currency, unit), factor, False


def _joined(currency: str, unit: str) -> str:
    if not currency or not unit or unit == currency:
        return currency or unit
    return f"{currency}{'' if unit.startswith('/') else ' '}{unit}"


def units_agree(one: str, other: str) -> bool:
    """Whether two units may be of one number: the same, or money and money for something, $18 and $18 per day."""
    short, long = sorted((one, other), key=len)
    if short == long or (short.startswith("/") and long.endswith(short)):
        return True
    more = re.fullmatch(rf"{short}([ /])([^\d ]+)\D*", long) if short in _CURRENCIES.values() else None
    # "$18 left" is money, and $18 cm is nothing.
    return more is not None and (more[1] == "/" or more[2] not in _SHORT_UNITS | {*_SYNONYMS, *_SYNONYMS.values()})


def _normal(word: str) -> str:
    """One word of a unit: lower case, singular, the short form of the usual ones."""
    if "/" in word:
        return "/".join(_normal(part) for part in word.split("/"))
    raised = re.search(r"\^\{?([23])\}?$", word)
    stem = word[: raised.start()] if raised else word
    stem = re.sub(r"[^\w°µ]", "", stem).casefold()
    plural = len(stem) > 3 and stem.endswith("s") and not stem.endswith("ss")
    if plural or stem in ("cms", "kms", "kgs", "mls", "fts", "hrs", "yrs", "lbs"):
        stem = stem[:-1]
    return _SYNONYMS.get(stem, stem) + (f"^{raised[1]}" if raised else "")
