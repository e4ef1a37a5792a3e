"""A data set's own tests ask a program through a proxy, and never share a process with it."""

from typing import Any

import pytest

from rewards.code import unusable
from rewards.grade import grade
from rewards.testing.checks import continued
from rewards.types import Completion, Label, Problem, Verdict

PREFIX = 'from typing import List\n\n\ndef twice(xs: List[int]) -> List[int]:\n    """Double each.\n    """\n'
CHECK = "def check(candidate):\n    assert candidate([1, 2]) == [2, 4]\n    assert candidate([]) == []\n"
ASSERTS = ["assert area(Box(2, 3)) == 6", "assert area(Box(1, 1)) == 1", "assert area(big) == 20"]
BOX = "class Box:\n    def __init__(self, a, b): self.a, self.b = a, b\n"


def check(text: str, **changed: Any) -> Verdict:
    answer = {"entry": "twice", "prefix": PREFIX, "check": CHECK, "seconds": 2, **changed}
    return grade(Problem("p", "", answer, "code", ""), Completion(text))


def asserts(text: str, **changed: Any) -> Verdict:
    answer = {
        "names": ["area", "Box"], "setup": "big = Box(4, 4)\nbig.b = big.a + 1", "asserts": ASSERTS, "seconds": 2,
        **changed
    }
    return grade(Problem("p", "", answer, "code", ""), Completion(text))


@pytest.mark.parametrize(
    "text",
    [
        "    return [2 * x for x in xs]",
        "\n    return [2 * x for x in xs]\n\n\nprint('noise')",
        "return [2 * x for x in xs]",
        "def twice(xs):\n    return [x + x for x in xs]",
        "Here it is:\n```python\ndef twice(xs: List[int]):\n    out: List[int] = []\n    for x in xs: out.append(2 * "
        "x)\n    return out\n```\nDone.",
        "```python\n    return [2 * x for x in xs]\n```",
        "<think>\n```python\n    return 1\n```\n</think>\n```python\nimport functools\ntwice = "
        "functools.partial(lambda n, xs: [n * x for x in xs], 2)\n```",
        "    return [2 * x for x in xs]\n\ndef twice_more(xs):\n    return twice(twice(xs))\n\ntwice([1])\ndef "
        "check(twice):\n    pass",
        "    return [2 * x for x in xs]\n\n\ntwice = twice",
        "  def twice(xs):\n      return [2 * x for x in xs]",
    ],
)
def test_a_completion_goes_on_or_stands_alone(text: str) -> None:
    verdict = check(text)
    assert verdict.correct, verdict


@pytest.mark.parametrize("behind", [
    "def other(x):\n    return x +", "def other(x):", "class Other(", "print(twice([1",
    "if __name__ == '__main__':\n    pr(",
    "This function doubles each number.", "assert twice([1]) == [2]\n\n# Another\ndef next_one(x):\n    \"\"\"Adds",
    "def half(x):\n    return x // 2\n\nNow some words: it's done.\n\nAnd (more", "@cache\ndef other(",
])
def test_what_comes_behind_the_function_and_is_no_python_is_cut(behind: str) -> None:
    body = "    out = []\n\n    for x in xs:\n        out.append(2 * x)\n    return out\n\n\n"
    assert check(body + behind).correct
    assert check(body.replace("2 *", "3 *") + behind).label is Label.WRONG


def test_what_comes_behind_the_function_and_is_python_counts() -> None:
    assert check("    return doubled(xs)\n\ndef doubled(xs):\n    return [2 * x for x in xs]\n\nprint(").correct
    assert check("    return [2 * x for x in xs]\n\ndef twice(xs):\n    return xs\n").label is Label.WRONG


@pytest.mark.parametrize("text", ["    return [2 * x for x in", "    x = (\n    return [2 * x for x in xs]\n\nprint()"])
def test_a_function_that_is_no_python_is_wrong(text: str) -> None:
    verdict = check(text)
    assert verdict.label is Label.WRONG
    assert "SyntaxError" in verdict.reason


EQUALS_ALL = (
    "class A:\n    def __eq__(self, o): return True\n    def __bool__(self): return True\n    def "
    "__len__(self): return 0\ndef twice(xs): return A()"
)


@pytest.mark.parametrize(
    "text",
    [
        "    pass", "    return None", "    return xs", EQUALS_ALL, "def twice(xs): return [4]",
        "def other(xs): return [2]", "    raise SystemExit(0)", "import os\ndef twice(xs): os._exit(0)",
        "    while True: pass", "raise SystemExit(0)", "(", "def twice(xs): raise AssertionError",
        "import builtins\nbuiltins.AssertionError = ValueError\ndef twice(xs): return 1",
        "import os\nos.write(3, b'\\0\\0\\0\\x10[\"done\",2,2,null]')\ndef twice(xs): return 0",
        "import os\nos.write(3, b'\\0\\0\\0\\x0e[\"value\",null]' + b'\\0\\0\\0\\x10[\"done\",2,2,null]' * 3)\ndef "
        "twice(xs): return 0",
        "import os, struct\nb = b'[\"x\",' + b'[' * 960 + b']' * 960 + b']'\nos.write(3, struct.pack('>I', len(b)) + "
        "b)\nos._exit(0)",
        "import os, struct\nb = b'[7,{\"a\":1}]'\nos.write(3, struct.pack('>I', len(b)) + b)\nos._exit(0)",
        "import sys\ndef twice(xs):\n    f = sys._getframe()\n    while f:\n        if 'check' in f.f_globals: return "
        "f.f_globals['check']\n        f = f.f_back\n    return 0",
        "import gc\ndef twice(xs):\n    return [o for o in gc.get_objects() if isinstance(o, str) and 'assert "
        "candidate' in o]",
        "def twice(xs):\n    xs[:] = [2, 4]\n    return None", "def check(candidate): pass\ndef twice(xs): return 0",
    ],
)  # fmt: skip
def test_no_way_around_the_check(text: str) -> None:
    assert check(text).label is Label.WRONG


def test_instances_stay_with_the_program_and_can_be_used() -> None:
    assert asserts(BOX + "def area(box): return box.a * box.b").correct
    half = asserts(BOX + "def area(box): return 6 if box.a == 2 else 1")
    assert (half.label, half.share) == (Label.WRONG, pytest.approx(2 / 3))
    assert half.reason.startswith("AssertionError")


@pytest.mark.parametrize("operation", ["== {0}", "!= 1", "in [1]", "or True", "is None", "> 0"])
def test_a_value_that_is_not_plain_passes_nothing(operation: str) -> None:
    tests = [f"assert area(1) {operation}".replace("{0}", "area(2)")]
    program = "class A:\n    def __eq__(self, o): return True\ndef area(x): return A()"
    assert asserts(program, names=["area"], setup="", asserts=tests).label is Label.WRONG


@pytest.mark.parametrize("comparison", [
    "np.allclose(area(1), 0.5)", "np.allclose(b=[[0.5]], a=area(1))", "np.isclose(0.5, area(1)).all()",
    "near(area(1), 0.5)", "np.array_equiv(area(1), 0.5)", "np.testing.assert_allclose(area(1), 0.5) is None",
    "np.testing.assert_array_equal(actual=area(1), desired=0.5) is None",
    "np.testing.assert_array_less(area(1), 0.6) is None", "np.testing.assert_almost_equal(area(1), 0.5) is None",
])
def test_numpy_does_not_find_an_empty_list_near_every_number(comparison: str) -> None:
    tests, setup = [f"assert {comparison}"], "import numpy as np\nfrom numpy import allclose as near"
    program = "import numpy\ndef area(x): return "
    for right in ("0.5", "numpy.float32(0.5)", "numpy.array(0.5)"):
        assert asserts(program + right, names=["area"], setup=setup, asserts=tests).correct
    for empty in ("[]", "()", "[[]]", "numpy.empty((0, 1))"):
        assert asserts(program + empty, names=["area"], setup=setup, asserts=tests).label is Label.WRONG


def test_numpy_finds_empty_lists_equal() -> None:
    tests = ["assert np.allclose(area(1), [])", "np.testing.assert_array_equal(area(1), np.array([]))",
             "assert np.allclose([area(2)], 0.5)"]
    program = "def area(x): return [] if x == 1 else [0.5, 0.5]"
    assert asserts(program, names=["area"], setup="import numpy as np", asserts=tests).correct


_SAY = ("import os, struct, time\ndef area(x):\n    said = {0!r}\n    os.write(3, struct.pack('>I', len(said)) + said)"
        "\n    time.sleep(9)")


@pytest.mark.parametrize("said", [
    b'["raised", "average", "ValueError", 1, 2]', b'["raised", "x", "int"]', b'["raised", "x", [1]]',
    b'["raised", "x", "SystemExit"]', b'["raised", "x", "BaseException"]', b'["missing", "OSError: x", "OSError"]',
    b'["done", 1, 1, null]',
    b'["value", ["object", -1]]', b'["value", ["object", "0, 1"]]', b'["value", ["instances", ["dict", ["a", 1]]]]',
    b'["value", ["array", "V9", [1], 1]]', b'["value", ["type", "exec"]]', b"[" * 50_000, b"[]", b"0", b"{}", b"",
])  # fmt: skip
def test_whatever_a_program_writes_it_is_wrong_and_no_fault_of_the_tests(said: bytes) -> None:
    tests = ["try:\n    assert area(1) == 6\nexcept OSError:\n    pass"]
    one = asserts(_SAY.format(said), names=["area"], setup="", asserts=tests, classes=["Box"])
    assert (one.label, one.share) == (Label.WRONG, 0), one


def test_what_is_too_deep_to_be_handed_back_is_the_programs_fault() -> None:
    program = "def area(x):\n    y = []\n    for _ in range(58): y = [y]\n    return y"
    tests = ["assert area([[[area(1)]]]) == 6"]
    assert asserts(program, names=["area"], setup="", asserts=tests).label is Label.WRONG


def test_what_spoils_the_preparation_is_the_programs_fault_if_it_was_asked() -> None:
    for program in (
        "def area(box): return 6", "Box = 3\ndef area(box): return 6",
        "def Box(a, b): return 5\ndef area(box): return 6"
    ):
        assert asserts(program).label is Label.WRONG
    assert asserts(BOX + "def area(box): return 6", setup="big = nothing").label is Label.UNGRADABLE
    for test in ("assert area(lambda: 1) == 6", "assert area(x=object()) == 6"):
        assert asserts("def area(x): return 6", names=["area"], setup="", asserts=[test]).label is Label.UNGRADABLE


@pytest.mark.parametrize("slow", [
    "assert area(3) == 3", "try: area(3)\nexcept: pass", "try:\n    area(3)\nfinally:\n    assert area(1) == 1",
    "try: area(3)\nexcept BaseException: raise ValueError",])
def test_a_program_that_is_too_slow_has_passed_the_tests_before(slow: str) -> None:
    tests = ["assert area(1) == 1", "assert area(2) == 2", slow, "assert True == True", "assert area(4) == 4"]
    program = "def area(x):\n    while x == 3: pass\n    return x"
    verdict = asserts(program, names=["area"], setup="", asserts=tests, seconds=9, each=1)
    assert (verdict.label, verdict.share) == (Label.WRONG, 0.4)
    assert "no answer within 1 s" in verdict.reason or slow.endswith("ValueError")


def test_tests_that_never_end_are_ended() -> None:
    tests = ["while True:\n    try: area(3)\n    except: pass"]
    verdict = asserts("def area(x):\n    while True: pass", names=["area"], setup="", asserts=tests, seconds=1)
    assert (verdict.label, verdict.share) == (Label.WRONG, 0)


def test_seconds_for_all_tests_are_over_in_one_of_them() -> None:
    tests = ["assert area(1) == 1", "assert area(2) == 2", "assert area(3) == 3"]
    program = "def area(x):\n    while x > 1: pass\n    return x"
    assert asserts(program, names=["area"], setup="", asserts=tests, seconds=1).share == pytest.approx(1 / 3)
    late = asserts(program, names=["area"], setup="area(2)", asserts=tests, seconds=1)
    assert (late.label, late.share) == (Label.WRONG, 0)


def test_a_program_that_says_itself_that_it_is_late_has_gained_nothing() -> None:
    said = b'["late", "no answer"]'
    tests = ["try: area(1)\nexcept: pass", "assert True == True"]
    assert asserts(_SAY.format(said), names=["area"], setup="", asserts=tests).share == 0


def test_tests_and_program_are_two_processes() -> None:
    tests = ["import os\nassert area(0) == os.getpid() or area(1)"]
    code = "import os\nrun = object()\ndef area(n): return 'run' in globals() if n else -1"
    assert asserts(code, names=["area"], setup="", asserts=[*tests, "assert 'run' not in globals()"]).correct


def test_data_in_and_out_keep_their_types() -> None:
    tests = ["assert f((1, [2.5, {3}]), k={'a': b'x'}) == ((1, [2.5, {3}]), {'a': "
             "b'x'})", "assert f(int, k=None)[0] is int",
             "assert type(f(True, k=1)[0]) is bool"]
    assert asserts("def f(x, k): return x, k", names=["f"], setup="", asserts=tests).correct


@pytest.mark.parametrize(("raised", "text"), [
    ("'k'", "'k'"), ("5", "5"), ('"it\'s"', '"it\'s"'), ("('a', 1)", "('a', 1)"), ("'a\\n'", r"'a\n'"), ("", ""),
])
def test_the_text_of_a_key_error_is_what_it_was(raised: str, text: str) -> None:
    tests = [f"try: f()\nexcept KeyError as error: assert (str(error), type(error)) == ({text!r}, KeyError)\n"
             "else: assert False"]
    assert asserts(f"def f(): raise KeyError({raised})", names=["f"], setup="", asserts=tests).correct
    said = ["try: f()\nexcept KeyError as error: assert error.args == ('k',)\nelse: assert False"]
    assert asserts("def f(): return {}['k']", names=["f"], setup="", asserts=said).correct


def test_instances_are_written_as_the_program_writes_them() -> None:
    program = ("class Box:\n    def __init__(self, n): self.n = n\n    def __repr__(self): return f'Box({self.n})'\n"
               "def area(box): return box.n")
    tests = ["assert repr(Box(3)) == str(Box(3)) == f'{Box(3)}' == f'{Box(3)!r}' == 'Box(3)'"]
    assert asserts(program, setup="", asserts=tests).correct
    assert asserts(program.replace("'Box(", "'B("), setup="", asserts=tests).label is Label.WRONG


def test_an_assert_that_is_no_python_is_nobodys_fault() -> None:
    verdict = asserts(BOX + "def area(box): return 6", asserts=["assert area(big) =="])
    assert verdict.label is Label.UNGRADABLE
    assert "the tests cannot be run: SyntaxError" in verdict.reason


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"check": "def check(candidate"}, "the tests cannot be run: SyntaxError"),
        ({"check": "x = 1"}, "the tests cannot be run: KeyError"),
        ({"check": "import os\ndef check(candidate): os._exit(0)"}, "ended without a result"),
        ({"check": 3}, "are text"),
        ({"entry": ""}, "the name of the function"),
    ],
)
def test_tests_that_cannot_be_run_are_nobodys_fault(changed: dict[str, Any], words: str) -> None:
    verdict = check("    return xs", **changed)
    assert verdict.label is Label.UNGRADABLE
    assert words in verdict.reason


@pytest.mark.parametrize(
    "text", ["", "  # area(big) is 20", "area(big) == 20", "not area(big)", "area(big) == 20 and area(big) > 1",
             "[area(big) == 20]", "print(area(big) == 20)", "20"]
)
def test_an_assert_that_nothing_fails_is_no_test(text: str) -> None:
    verdict = asserts(BOX + "def area(box): return 6", asserts=[*ASSERTS, text])
    assert verdict.label is Label.UNGRADABLE
    assert "no program fails" in verdict.reason
    assert "no program fails" in unusable({"names": ["area"], "asserts": [text]})


@pytest.mark.parametrize("body", ["pass", "candidate([1]) == [2]", '"""Doubles."""\n    return candidate([1]) == [2]'])
def test_a_check_that_nothing_fails_is_no_test(body: str) -> None:
    verdict = check("    return xs", check=f"METADATA = {{}}\n\n\ndef check(candidate):\n    {body}\n")
    assert verdict.label is Label.UNGRADABLE
    assert "no program fails" in verdict.reason


@pytest.mark.parametrize(
    "text", ["area(big)", "same(area(big), 20)", "if area(big) != 20:\n    raise ValueError", "x = area(big)",
             "for _ in 'ab': assert area(big) == 20", "x: int = area(big)\nassert x == 20"]
)
def test_whatever_a_program_could_fail_is_a_test(text: str) -> None:
    setup = "big = Box(4, 4)\nbig.b = 5\ndef same(a, b): assert a == b"
    assert asserts(BOX + "def area(box): return box.a * box.b", setup=setup, asserts=[text]).correct


def test_the_program_that_a_completion_makes() -> None:
    assert continued("def f():\n", "f", "    return 1") == "def f():\n    return 1\n"
    assert continued("def f():\n", "f", "x = f2(f == 1)") == "def f():\n    x = f2(f == 1)\n"
    assert continued("def f():\n    1\n", "f", "  def f(): return 2") == "def f():\n    1\n\ndef f(): return 2\n"
