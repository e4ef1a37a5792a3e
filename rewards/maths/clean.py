"""One spelling for answers that mean the same: LaTeX commands, Unicode signs and plain text become few plain signs.

Set braces are written as ⦃ ⦄, a dollar amount as §, words as \\text{..}; what remains of LaTeX is \\frac, \\sqrt,
\\binom, \\overline, functions and environments.
"""

import re
import unicodedata

LONGEST = 2_000
DEEPEST = 40

_SIGNS = {
    **{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)},
    "−": "-", "–": "-", "‐": "-", "‑": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "⁄": "/", "∕": "/",
    "≦": "≤", "≧": "≥", "⩽": "≤", "⩾": "≥", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2005": " ", "\u3000": " ",
    "º": "°", "…": "…", "½": "{1/2}", "⅓": "{1/3}", "⅔": "{2/3}", "¼": "{1/4}", "¾": "{3/4}", "⅕": "{1/5}",
    "⅛": "{1/8}", "√": "\\sqrt ", "𝜋": "π", "∅": "∅", "“": "", "”": "", "`": "", "，": ",", "。": ".", "：": ":",
    "％": "%",
}  # fmt: skip
_GREEK = "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi chi psi omega"
_LETTERS = dict(zip("αβγδεζηθκλμνξρστφχψω", (f"\\{name} " for name in _GREEK.split()), strict=True))
_UNSEEN = dict.fromkeys(map(chr, (0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFE0F, 0xFEFF)), "")
_TABLE = str.maketrans({**_SIGNS, **_UNSEEN, **_LETTERS, "ℝ": "\\mathbb{R}", "∼": "≈"})
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def _each(names: str, plain: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), plain)


_COMMANDS = {
    **_each("left right bigl bigr Bigl Bigr big Big bigg Bigg biggl biggr displaystyle textstyle scriptstyle "
                    "limits mathstrut hfill noindent tiny small normalsize large Large LARGE huge Huge bf it rm", ""),
    **_each("quad qquad space enspace thinspace medspace", " "),
    **_each("dfrac tfrac cfrac", "\\frac"),
    **_each("dbinom tbinom", "\\binom"),
    **_each("mathrm textrm textbf textit mathbf mathit mbox hbox textsf texttt mathsf textnormal operatorname bm "
                    "boldsymbol emph mathnormal underline", "\\text"),
    **_each("cdot times ast", "*"),
    **_each("le leq leqslant leqq", "≤"),
    **_each("ge geq geqslant geqq", "≥"),
    **_each("ne neq", "≠"),
    **_each("ldots dots cdots dotsc dotsb", "…"),
    **_each("lvert rvert vert mid", "|"),
    **_each("emptyset varnothing", "∅"),
    **_each("setminus backslash smallsetminus", "∖"),
    **_each("approx simeq sim", "≈"),
    **_each("textdollar mathdollar", "§"),
    **_each("lor vee", " or "),
    **_each("land wedge", " and "),
    "lbrace": "⦃", "rbrace": "⦄", "lt": "<", "gt": ">", "cup": "∪", "bigcup": "∪", "cap": "∩", "infty": "∞", "in": "∈",
    "pm": "±", "div": "/", "pi": "π", "circ": "°", "degree": "°", "percent": "%", "euro": "€", "pounds": "£",
    "lbrack": "[", "rbrack": "]", "langle": "⟨", "rangle": "⟩", "lparen": "(", "rparen": ")", "Bbb": "\\mathbb",
    "lg": "\\log _{10}", "colon": ":", "to": "→", "rightarrow": "→",
}  # fmt: skip
_ESCAPES = {"\\!": "", "\\,": " ", "\\;": " ", "\\:": " ", "\\>": " ", "\\ ": " ", "\\{": "⦃", "\\}": "⦄", "\\%": "%",
            "\\$": "§", "\\(": "", "\\)": "", "\\[": "", "\\]": "", "\\|": "|", "\\&": "&", "\\#": "#"}
_ESCAPE = re.compile(r"\\\\|\\[^A-Za-z\\\s]|\\ ")
_COMMAND = re.compile(r"\\([A-Za-z]+)[ \t]*")
_INFIX = re.compile(r"\{([^{}]*)\\(over|choose) ([^{}]*)\}")
_NAMES_OF_INFIX = {"over": "\\frac", "choose": "\\binom"}
_WORDS_OF_PLAIN_TEXT = {"sqrt": "\\sqrt", "pi": "π", "infinity": "∞", "percent": "%", "degrees": "°", "degree": "°",
                        "per cent": "%", "inf": "∞"}
_PLAIN = re.compile(r"(?<![A-Za-z\\])(?:sqrt|pi|inf(?:inity)?|per ?cent|degrees?)(?![A-Za-z])")
_OUTWARD = re.compile(r"([\[\](])([^\[\]()]+[,;][^\[\]()]+)([\[\])])")
"""An interval; ]0,1[ is how some write that it is open."""
_MARKUP = re.compile(r"</?(?:b|i|u|em|strong|span|code)>|\\(?:left|right)\s*\.(?!\d)|\\(?:text)?color\s*\{[a-zA-Z]+\}")
_BEFORE = r"(?:(?:the )?(?:final )?answer ?(?:is ?:?|:)|about|approximately|approx\.?|roughly)"
_PREFIX = re.compile(rf"(?:\\text ?\{{{_BEFORE} ?\}}|{_BEFORE}(?=[^A-Za-z.}}])) ?(?=\S)", re.IGNORECASE)
"""What is said before an answer and is no part of it."""
_REASON = re.compile(
    r"(?<=\S)[,;.]? ?(?:\(? ?\\text ?\{[ ,;]{0,2}\(?|\(?\b)(?:because|since|due to)\b.*", re.IGNORECASE | re.DOTALL
)
"""Why an answer is one, behind it. Conditions (if, when, where) are no reasons: they are a part of it."""
_CONCLUDED = re.compile(
    r"^\\text ?\{(?:therefore|thus|hence|so|then|we (?:get|have|find|obtain)|it is) ?[,:]?\} ?,?(?=.)"
    r"|(?<=\S) ?\\text ?\{(?:is|are) (?:the|our|my) (?:final |correct |only |required )?(?:answer|solution|result)s?\}$"
    r"|(?<=\S) ?\\text ?\{\((?:approximately|approx\.?|about|exactly|rounded)\)\}$", re.IGNORECASE,
)  # fmt: skip
"""Words in a box around an answer that add nothing to it."""
_TRANSPOSED = re.compile(r"(\([^()]*,[^()]*\)) ?\^ ?\{? ?(?:\\text ?\{)?(?:T|\\top|\\intercal) ?\}{0,2}")
_JOINED = re.compile(r"(?<=[)\]⦄\d]) ?(or|and) ?(?=[(\[⦃\d\\-]|[a-z] ?=)")
"""Between two answers, with or without spaces."""
_COUNTED = re.compile(r"\\text\s*\{(\d[^{}]*)\}")
_LETTERS_OF_UNITS = frozenset("gmslhLAVWNJK")
_CHOICES = re.compile(r"\(?[A-H]\)?(?:(?:,|,? (?:and|or)) \(?[A-H]\)?)+")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")


def clean(answer: str) -> str:
    """The answer in plain signs, with single spaces; "" where nothing is left. Call only for at most LONGEST
    characters."""
    # Before signs are normalized: NFKC would make 23 of 2³.
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: "^{" + m.group().translate(_RAISED) + "}", answer)
    text = re.sub(r"[₀-₉]+", lambda m: "_{" + m.group().translate(_LOWERED) + "}", text)
    text = text.translate(_TABLE).strip()
    if not text.isascii():
        text = "".join(sign if sign in "…µ" else unicodedata.normalize("NFKC", sign) for sign in text)
    text = _MARKUP.sub("", text).strip()
    # Markdown around the whole answer; two stars between numbers are a power.
    text = re.sub(r"^(\*\*?|__)(.*)\1$", r"\2", text, flags=re.DOTALL).strip()
    text = re.sub(r"(?<=[\w)])\*\*(?=[\w(-])", "^", text).replace("**", "")
    text = re.sub(r"(?:\\\\\s*)+$", "", text)
    # What stands on two lines is no one number.
    text = re.sub(r"(?<=\d)[ \t\r]*\n\s*(?=\d)", ", ", text) if "\n" in text else text
    text = re.sub(r" ?\{, \} ?", ",", text) if "{, }" in text else text
    text = re.sub(r"\\!\s*", "", text).replace("\\text{,}", ",").replace("{,}", ",").replace("{:}", ":")
    text = re.sub(r"\{(\\[,;: ])\}", r"\1", text).replace("\\mathop", "")
    text = re.sub(r"\\not\s*=", "≠", text)
    text = _ESCAPE.sub(lambda m: _ESCAPES.get(m.group(), m.group()), text)
    # After escapes: \$ is money by now and no longer a dollar sign.
    text = _dollars(text)
    text = _COMMAND.sub(_command, text)
    if "\\over " in text or "\\choose " in text:
        text = _INFIX.sub(lambda m: f"{_NAMES_OF_INFIX[m[2]]}{{{m[1]}}}{{{m[3]}}}", text)
    text = re.sub(r"\\frac (\d) *(\d)", r"\\frac {\1}{\2}", text)
    text = re.sub(r"\^\s*(?:\{\s*°\s*\}|°)", "°", text)
    text = _PLAIN.sub(lambda m: _WORDS_OF_PLAIN_TEXT[m.group()], text)
    text = text.replace("<=", "≤").replace(">=", "≥").replace("!=", "≠").replace("...", "…").replace("~", " ")
    # 3 x 10^5 is no variable x.
    text = re.sub(r"(?<=\d) ?[xX] ?(?=10 ?\^)", "*", text)
    text = _TEXT.sub(_text, text)
    text = _PLAIN.sub(lambda m: _WORDS_OF_PLAIN_TEXT[m.group()], text)
    text = re.sub(r"\s+", " ", text).strip()
    if "\\text" in text:
        text = _CONCLUDED.sub("", text).strip()
    if "^" in text and (transposed := _TRANSPOSED.fullmatch(text)):
        text = transposed[1]
    if "or" in text or "and" in text:
        text = _JOINED.sub(r" \1 ", text)
    if "because" in text or "since" in text or "due to" in text:
        text = _REASON.sub("", text)
    # An answer all in \text, such as \text{12 apples}.
    if counted := _COUNTED.fullmatch(text):
        text = counted[1]
    if said := _PREFIX.match(text):
        text = text[said.end() :]
    if quoted := re.fullmatch(r'"([^"]*)"|[\'‘]([^\'’]*)[\'’]|([A-Z])[):]', text):
        text = quoted[1] or quoted[2] or quoted[3] or ""
    if outward := _OUTWARD.fullmatch(text):
        text = ("(" if outward[1] == "]" else outward[1]) + outward[2] + (")" if outward[3] == "[" else outward[3])
    # Signs at the ends can hide one another, so until nothing more goes.
    while True:
        shorter = re.sub(r"^(?:(?:[≈=]|\\therefore)\s*)+|(?<!\d)\s*[.,;]+$|(?<=\d)[.,;]+$|\\+$", "", text).strip()
        if shorter.startswith("{") and _closes_at_end(shorter):
            shorter = shorter[1:-1].strip()
        if shorter == text:
            return text
        text = shorter


def too_deep(text: str) -> bool:
    """Whether brackets nest deeper than any answer does."""
    depth = 0
    for character in text:
        depth += (character in "([{⦃⟨") - (character in ")]}⦄⟩")
        if depth > DEEPEST:
            return True
    return False


def _command(match: re.Match[str]) -> str:
    name = match[1]
    # A degree sign behind a number; before one it is a command of some other meaning.
    if name == "deg" and match.string[: match.start()].rstrip()[-1:].isdigit():
        return "°"
    if name in _COMMANDS:
        return _COMMANDS[name]
    return "\\" + name + " "


def _dollars(text: str) -> str:
    """Dollar signs around formulas go; one before a number, with none to close it, is money."""
    if text.count("$") % 2:
        text = re.sub(r"\$(?=\s*[\d.])", "§", text, count=1)
    return text.replace("$", "")


_BEFORE_A_UNIT = re.compile(
    r"(?:[\d})π]|\}\s*/|[\d})π]\s*(?:\\,\s*)?\\[dt]?frac\s*\{(?:\s*\\[a-z]+\s*\{\s*\w+\s*\}\s*\}\s*\{)?)\s*$"
)
"""A number, a unit and a bar, or a number and a fraction, in whose second half the first one's unit stands before."""


def _text(match: re.Match[str]) -> str:
    content = match[1]
    plain = content.strip()
    unmarked = not re.search(r"[^\W\d_]", plain) or re.fullmatch(r"\(?[A-Za-z]\)?", plain)
    after_number = plain in _LETTERS_OF_UNITS and _BEFORE_A_UNIT.search(match.string[: match.start()])
    if plain in ("i", "e") or (unmarked and not after_number) or _CHOICES.fullmatch(plain):
        # Digits or signs in \text, or the letter of a choice; a one-letter unit after a number keeps its mark.
        return content
    if plain in ("or", "and"):
        return f" {plain} "
    return "\\text{" + plain + "}"


def _closes_at_end(text: str) -> bool:
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position == len(text) - 1
    return False
