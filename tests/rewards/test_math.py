"""The policy of mathematical answers: what is right and what is wrong. (maths/test_bombs.py: that no answer hangs
it.)"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.grade import grade
from rewards.math import compare
from rewards.types import Completion, Label, Problem

Rows = Callable[[str], list[dict[str, Any]]]

EQUAL = """
0.5 | 50\\%
50\\% | 0.5
150\\% | 1.5
18000 | 18\\,000
18000 | 18 000
18000 | 18,000
18000 | $18{,}000$
11111 | 11,\\! 111
5 | x=5
5 | \\text{area}=5
12 | 7+5
12 | 3 \\times 4
\\{1,2\\} | \\{1,1,2\\}
x<3 | (-\\infty,3)
3>x | (-\\infty,3)
0<x<1 | (0,1)
x<-1 or x>1 | (-\\infty,-1)\\cup(1,\\infty)
[2,\\infty) | x\\ge 2
[1,2] | 1\\le x\\le 2
(0,1) | x>0 \\text{ and } x<1
[0,3) | [0,1]\\cup(1,3)
x \\in [1,2] | [1,2]
\\frac{1}{2006!} | 1/2006!
\\frac{\\sqrt{2}}{2} | $\\frac{\\sqrt2}{2}$
2\\sqrt{3} | \\sqrt{12}
\\frac{1}{1+i} | \\frac{1-i}{2}
0.\\overline{3} | 1/3
0.1\\overline{6} | 1/6
1/3 | 0.3333333333
2/3 | 0.6666667
\\pi | 3.14159265
5 cm | 5
5 | $5
5 | \\$5.00
5 million | 5000000
10\\text{ cm}^2 | 10
60^\\circ | 60
12 | 12 apples
x^2+2x+1 | (x+1)^2
\\frac{x^2-1}{x-1} | x+1
\\text{even} | Even
\\text{no} | No
C | (C)
1,2 | 2,1
3\\pm\\sqrt{2} | 3+\\sqrt{2}, 3-\\sqrt{2}
2,3 | x=2 \\text{ or } x=3
5 | 5 or 5
1 \\frac12 | 3/2
-4\\frac{2}{3} | -\\frac{14}{3}
1.5 \\times 10^3 | 1500
0.000123 | 1.23e-4
x=2,y=1 | y=1,x=2
7 | **7**
7 | 7.
5 | \\left(5\\right)
25 | 5²
10 | \\dbinom52
\\frac{9}{2} | 4½
y=-x | x+y=0
\\emptyset | \\{\\}
12 ab | 12ab
2 xy | 2yx
\\frac{1}{2} mv^2 | \\frac{mv^2}{2}
12 | 12 men
5 ft^2 | 5
9 | 9 yd
9.8 | 9.8\\,\\mathrm{m}/\\mathrm{s}^2
60 | 60\\,\\text{km}/\\text{h}
9.8 \\text{ m/s}^2 | 9.8 \\frac{\\text{m}}{\\text{s}^2}
\\begin{pmatrix}1\\\\2\\end{pmatrix} | \\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}
"""

DIFFERENT = """
2 | 2\\%
50 | 0.5
5 | 500\\%
500\\% | 5
1000 | 1,00
100200 | 100, 200
5 | 3=4=5
5 | 7-1=5
-2 | 10-12
12 ab | 12
5 | 5 xy
5 | 5 \\sin A
5 | 5 ln b
\\frac{1}{2} mv^2 | \\frac12
\\frac{1}{2} bh | 0.5
5 | 0=5
5 | 5=5=5
5 | 5 or 6
5 | [5,5]
5 | (5,5)
5 | 5x
5 | not 5
5 | \\pm5
5 | 5 6
34 | 3 4
(1,2) | \\{1,2\\}
(1,2) | (2,1)
[1,2] | (1,2)
(-\\infty,3) | (-\\infty,3]
x>3 | x\\ge3
x<3 | x>3
\\frac{1}{2004!} | \\frac{1}{2006!}
1/3 | 0.33
0.33 | 1/3
\\pi | 3.14
5 cm | 5 m
\\$5 | €5
3:30 | 3:45
3:0 | 2:0
0:3 | 3:0
3:30 AM | 3:30 PM
ab | \\text{ba}
\\text{Monday} | Mondya
1234 | (1,234)
\\{5\\} | \\{5,6\\}
\\{1,2,3\\} | \\{1,2\\}
\\infty | -\\infty
\\infty | 1/0
0 | 0/0
i | -i
x=5 | y=5
\\sqrt{2} | 1.41
0.333333 | 0.333334
12345.67 | 12345.68
12345 | 12345.6
12345678901234567890 | 12345678901234567891
y=2x+3 | y=2x+4
x^2+y^2=4 | x^2+y^2=2
5 | 5 hundred
5 | five hundred
12 | 1 \\neq 12
5 | 5 hundredths
40 | 40_9
204_5 | 204_6
5 | 5 tenths
5 | 5 mil
5 | xy=5
no | on
Evelyn | nylevE
x<5 | x<3 and x<5
x>1 | x>1 and x>5
"""

SLOW_EQUAL = """
\\sin^2 x | 1-\\cos^2 x
\\sin(2x) | 2\\sin x\\cos x
\\cos 60^\\circ | \\frac12
\\arctan(1) | \\frac{\\pi}{4}
\\ln 4 | 2\\ln 2
\\sqrt[3]{2} | 2^{1/3}
"""

SLOW_DIFFERENT = """
\\sin 1 | \\sin 1 \\text{ or } 2
\\sin 1 | \\sin 1 )
\\sin 1 | \\sin 1 = 2
\\sin 1 | \\sin 1, 2
\\sin 1 | \\sin 1 ; 2
\\sin 1 | (\\sin 1, \\sin 1)
\\sin 1 | \\sin 1 hello
\\sin x | \\cos x
\\ln 2 | \\ln 3
1 | \\sin^2 x + \\cos x
\\sqrt[3]{2} | 1.26
"""


def pairs(table: str) -> list[tuple[str, str]]:
    return [tuple(part.strip() for part in line.split(" | ")) for line in table.splitlines() if line]  # type: ignore[misc]


@pytest.mark.parametrize(("gold", "answer"), pairs(EQUAL + SLOW_EQUAL))
def test_equal(gold: str, answer: str) -> None:
    for first, second in ((gold, answer), (answer, gold)):
        verdict = compare(first, second)
        assert verdict.correct, (first, second, verdict)


@pytest.mark.parametrize(("gold", "answer"), pairs(DIFFERENT + SLOW_DIFFERENT))
def test_different(gold: str, answer: str) -> None:
    assert compare(gold, answer).label is Label.WRONG


def test_the_number_before_the_sign_will_do_only_where_the_gold_is_a_percentage() -> None:
    assert compare("50\\%", "50").correct
    assert not compare("50", "50\\%").correct


def test_examples(rows: Rows) -> None:
    for row in rows("math_grading_examples.jsonl"):
        completion = Completion(row.get("completion", row.get("answer")))
        verdict = grade(Problem("", "", row["gold"], "math", ""), completion)
        assert verdict.correct == row["correct"], (row, verdict)
        assert verdict.label is not Label.UNGRADABLE


def test_gsm8k_and_math500_golds(rows: Rows) -> None:
    for row in rows("gsm8k_test.jsonl"):
        gold = row["answer"].split("####")[1].strip()
        assert grade(Problem("", "", gold, "math", ""), Completion(row["answer"])).correct
    for row in rows("math500_test.jsonl"):
        assert grade(Problem("", "", row["answer"], "math", ""), Completion(row["solution"])).correct, row["answer"]


EQUAL_GOLDS = [
    {"(-2,1)", "-2,1"}, {"-2,1", "1,-2"}, {"10,\\!080", "10080"}, {"120", "120^\\circ"}, {"15", "15\\mbox{ cm}^2"},
    {"2 \\sqrt{5}", "2\\sqrt{5}"}, {"30", "30^\\circ"}, {"36", "36^\\circ"}, {"36", "\\$36"}, {"40", "40_9"},
    {"5", "x=5"}, {"90", "90^\\circ"}, {"\\frac14", "\\frac{1}{4}"},
]  # fmt: skip
"""What two golds of MATH-500 have in common by the policy: a unit or a name that one leaves out, or the same number."""


@pytest.mark.parametrize("step", [1, 2, 5, 11, 50, 101, pytest.param(0, marks=pytest.mark.faults)])
def test_every_gold_is_wrong_for_another(rows: Rows, step: int) -> None:
    """Each against the gold `step` places on; for 0 each against all others."""
    gsm8k = sorted({row["answer"].split("####")[1].strip().replace(",", "") for row in rows("gsm8k_test.jsonl")})
    math500 = sorted({row["answer"] for row in rows("math500_test.jsonl")})
    for golds in (gsm8k, math500):
        others = [golds[step:] + golds[:step]] if step else [golds[n:] + golds[:n] for n in range(1, len(golds))]
        for some in others:
            for gold, other in zip(golds, some, strict=True):
                if {gold, other} not in EQUAL_GOLDS:
                    assert compare(gold, other).label is Label.WRONG, (gold, other)


numbers = st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**4)


def forms(value: Fraction) -> list[str]:
    over, under = value.numerator, value.denominator
    sign = "-" if over < 0 else ""
    found = [f"{over}/{under}", f"\\frac{{{over}}}{{{under}}}", f"{sign}\\dfrac{{{abs(over)}}}{{{under}}}",
             f"x={over}/{under}",
             f"\\frac{{{over * 6}}}{{{under * 6}}}", f"{over * 100}/{under}\\%" if under > 1 else f"${over}$"]
    if under == 1:
        found += [str(over), f"{over:,}", f"{over:,}".replace(",", "{,}"), f"{over}.00", f"\\boxed{{{over}}}"[7:-1]]
    elif abs(over) > under:
        found.append(f"{sign}{abs(over) // under}\\frac{{{abs(over) % under}}}{{{under}}}")
    return found


@given(numbers)
def test_any_two_forms_of_one_number_agree(value: Fraction) -> None:
    written = forms(value)
    for other in written[1:]:
        assert compare(written[0], other).correct, (written[0], other)
        assert compare(other, written[0]).correct, (other, written[0])


@given(numbers, numbers)
def test_two_different_numbers_never_agree(a: Fraction, b: Fraction) -> None:
    if a == b or a == b * 100 or b == a * 100:
        return
    for first, second in zip(forms(a), forms(b), strict=False):
        assert not compare(first, second).correct, (first, second)


SIGNS = [
    "\\frac", "\\sqrt", "\\text{", "\\sin", "\\pi", "\\{", "\\}", "\\cup", "\\le", "\\pm", "\\%", "^\\circ",
    "\\overline{", " or ", " and ", "\\ne"
]
MESS = st.text(
    alphabet="0123456789+-*/^!(){}[],.:;=<>|\\$% xyπ", max_size=40
) | st.text(max_size=12) | st.text(alphabet="⑤²₃٥½፩,.", max_size=6)
FORMULAS = st.lists(st.sampled_from([*SIGNS, *"0123456789+-*/^_!(){}[],.:;=<>|$ xi"]), max_size=20).map("".join)


@settings(max_examples=400)
@given(MESS | FORMULAS)
def test_any_mess_is_answered(text: str) -> None:
    for gold, answer in (("5", text), (text, "5"), ("(1,2]", text), ("\\text{yes}", text)):
        assert compare(gold, answer).label in Label


@pytest.mark.parametrize("gold", [
    "5", "$5$", "$\\boxed{5}$", "2+3=\\boxed{5}.", "2+3=5\n#### 5", "2+3=<<2+3=5>>5 #### 5", "As 2+3=5. ####5",
    "The answer is 5. #### 5", "One " * 300 + "#### 5", "\r\n #### 5\r\n", "#### Final Answer\n\n5",
])
def test_the_gold_answer_may_be_a_whole_solution(gold: str) -> None:
    problem = Problem("", "", gold, "math", "")
    assert grade(problem, Completion("\\boxed{5}")).correct
    assert grade(problem, Completion("\\boxed{6}")).label is Label.WRONG
    assert grade(Problem("", "", "\\boxed{", "math", ""), Completion("\\boxed{5}")).label is Label.UNGRADABLE


def test_gold_that_cannot_be_read_is_ungradable() -> None:
    assert compare("", "5").label is Label.UNGRADABLE
    assert compare("\\frac{1}{", "5").label is Label.UNGRADABLE
