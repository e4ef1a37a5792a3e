"""The answer is what stands after the thinking, and nothing inside the thinking ever is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.extract import extract_answer, extract_code, own_words, split_thinking
from rewards.types import Completion


def answer(text: str, *, in_thinking: bool = False) -> str | None:
    return extract_answer(Completion(text, in_thinking=in_thinking)).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>3+4=7</think><answer>7</answer>", "7"),
        ("3+4=7</think> <answer> 7 </answer>", "7"),
        ("<think>\\boxed{3}</think>so \\boxed{7}", "7"),
        ("<think><answer>3</answer></think><answer>7</answer>", "7"),
        ("<think>\\boxed{3}</think>", None),
        ("<think>\\boxed{3}", None),
        ("<think>a</think><think>\\boxed{3}", None),
        ("<answer>1</answer><answer>2</answer>", "2"),
        ("<answer>\\boxed{2}</answer>", "2"),
        ("<answer>The answer is 2</answer>", "2"),
        ("<answer>2", None),
        ("<answer></answer>", None),
        ("</answer>2<answer>", None),
        ("\\boxed{1} and then, after thought, \\boxed{2}", "2"),
        ("\\boxed{40}, \\boxed{41}, \\boxed{42}", "40, 41, 42"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
        ("\\boxed{42", None),
        ("\\boxed{1} \\boxed{42", None),
        ("\\boxed 5.", "5"),
        ("\\fbox{5}", "5"),
        ("\\boxed{18}\n\n(I put it in \\boxed{} as asked.)", "18"),
        ("Use \\boxed{ }. \\boxed{17} or \\boxed{} or \\boxed{18}", "18"),
        ("\\boxed{} and \\boxed{ }", None),
        ("\\boxed{}", None),
        ("16-3-4=9\n9*2=18\n#### 18", "18"),
        ("#### Final Answer\n\n42", "42"),
        ("#### Step 3: the sum\nIt is 42.\n#### **Answer**\n42", "42"),
        ("#### Conclusion\nThe final answer is 42.", "42."),
        ("The answer is 41.\n#### Tuesday\nI hope that helps.", "Tuesday"),
        ("#### 42\nThe answer is 41.", "42"),
        ("The final answer is 18.", "18."),
        ("**Final Answer:** 18", "18"),
        ("Answer: 17\nAnswer: 18", "18"),
        ("The answer is 17. Wait, the answer is 18", "18"),
        ("The final answer is 18. I hope it is correct.", "18"),
        ("The answer is 18. Or 19.", "18. Or 19."),
        ("**Final Answer**\n\n$18$", "$18$"),
        ("### Final Answer\n18\nor 19", "18\nor 19"),
        ("The final answer is:\n\n18", "18"),
        ("Answer\uff1a18", "18"),
        ("The answer is 18<|im_end|>", "18"),
        ("所以最终答案：18", "18"),
        ("答案是 **18**", "18**"),
        ("### Answer\n\n$$x = 5$$", "$$x = 5$$"),
        ("\\boxed\n{5}", "5"),
        ("The correct option is **B**.", "B**."),
        ("\\boxed{18}</s>", "18"),
        ("#### 18<end_of_turn>", "18"),
        ("#### 18<｜end▁of▁sentence｜>", "18"),
        ("18<end_of_turn>\n<eos>", "18"),
        ("The answer is 18. I am confident that this answer is correct.", "18."),
        ("The answer is 18.\n\nI hope this answer is helpful.", "18."),
        ("So the answer is 18.\n\nChecking: the answer is consistent with all conditions.", "18."),
        ("**Answer: 18**\n\nThis answer is reasonable since 18 < 20.", "18**"),
        ("Answer: 18\n\nNote: the answer is in dollars.", "18"),
        ("Answer:\n18\n\nThe answer is indeed correct. I hope that this answer is clear!", "18"),
        ("The final answer is 18. Let me know if my answer is unclear!", "18."),
        ("The answer is 17. The answer is 18. Now the answer is correct.", "18."),
        ("The answer is 18. Or 19. This answer is correct.", "18. Or 19."),
        ("The answer is 18 if this answer is correct.", "18 if this answer is correct."),
        ("The answer is 18. No, the answer is undefined.", "undefined."),
        ("The answer is 18. But that answer is wrong.", "wrong."),
        ("The answer is 18. Sorry, the answer is clearly 19.", "clearly 19."),
        ("The answer is 18. Wait, the answer is correct: 19", "correct: 19"),
        ("The answer is 18. The answer is in the interval (1, 2)", "in the interval (1, 2)"),
        ("Is it so? Answer: 18\nAnswer: correct", "correct"),
        ("The answer is correct.", "correct."),
        ("7", "7"),
        ("", None),
        ("no marked answer " * 100, None),
    ],
)
def test_answers(text: str, expected: str | None) -> None:
    assert answer(text) == expected


def test_a_prompt_may_have_opened_the_thinking() -> None:
    assert answer("it is \\boxed{5}", in_thinking=True) is None
    assert answer("it is</think>\\boxed{5}", in_thinking=True) == "5"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("\\boxed{3} for part (a) and \\boxed{4} for part (b).", "3, 4"),
        ("For part (a), \\boxed{3}, and for part (b), \\boxed{4}.", "3, 4"),
        ("(a) We find \\boxed{3}.\n\n(b) With (a) it is \\boxed{4}.", "3, 4"),
        ("(i) \\boxed{3}\n(ii) so \\boxed{4}\n(iii) hence \\boxed{5}", "3, 4, 5"),
        ("(1) first \\boxed{3}, (2) then \\boxed{3}", "3, 3"),
        ("a) it is \\boxed{3}\nb) it is \\boxed{4}", "3, 4"),
        ("Part a: \\boxed{3}. Then \\boxed{4}", None),
        ("I guess \\boxed{3}. No, \\boxed{4}", None),
        ("(b) \\boxed{3}, (a) \\boxed{4}", None),
        ("(a) \\boxed{3}", None),
    ],
)
def test_boxes_of_parts(text: str, parts: str | None) -> None:
    assert extract_answer(Completion(text)).parts == parts


@given(st.text())
def test_nothing_in_the_thinking_counts(thinking: str) -> None:
    assert answer(f"<think>{thinking}") is None
    assert answer(f"<think>{thinking.replace('</think>', '')}</think>") is None


@given(st.text())
def test_splitting_loses_nothing(text: str) -> None:
    thinking, remainder = split_thinking(Completion(text))
    assert thinking in text
    assert remainder is None or text.endswith(remainder)


@given(st.text(alphabet="\\boxed{}<answer>/ 1,#`", max_size=200))
def test_any_mess_is_answered(text: str) -> None:
    extract_answer(Completion(text))
    extract_code(Completion(text))


def test_long_texts_take_no_long_time() -> None:
    pieces = (
        "\\boxed{", "<answer>", "answer is ", "#", "```\n", "{", "\\boxed{1},", "(a)\\boxed{1}", "<eos> ",
        "final ", " \t", "  \n", "\n",
    )  # fmt: skip
    for piece in pieces:
        extract_answer(Completion(piece * 10_000))
        extract_code(Completion(piece * 10_000))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x): return x", "def f(x): return x"),
        ("<think>```python\nbad\n```</think>```python\ngood\n```", "good"),
        ("```python\none\n```\nor better\n```python\ntwo\n```\nbye", "two"),
        ("<think>t</think><answer>\ndef f(x):\n    return x\n</answer>", "def f(x):\n    return x"),
        ("<think>t</think><answer>```python\nx = 1\n```</answer>", "x = 1"),
        ("```python\nx = 1", "x = 1"),
        ("    return 1\n```", "    return 1"),
        ("\n    return 1\n```\n\nThis is one.", "    return 1"),
        ("def f(x):\n    return x\n```\nFor example:\n```python\nf(1)\n```", "def f(x):\n    return x"),
        ("from math import pi\n\ndef f(): return pi\n```\n", "from math import pi\n\ndef f(): return pi"),
        ("return 1\n```", "return 1"),
        (" Here it is:\n```\ndef f(x):", "def f(x):"),
        ("From here on\n```\nx = 1\n```\nit is one.", "x = 1"),
        ("    Indented words\n```python\nx = 1\n```", "x = 1"),
        ("<think>def f(x): return x", None),
        ("<answer></answer>", None),
        ("", None),
    ],
)
def test_code(text: str, expected: str | None) -> None:
    assert extract_code(Completion(text)).text == expected


@pytest.mark.parametrize(("last", "expected"), [
    ("print(f(1))", "first"), ("f(1) == 1", "first"), ("fg = 1", "first"), ("# def f(x)", "first"),
    ("def f(x):\n    return 2", "last"), ("class A:\n    def f(self): return 2", "last"), ("f = len", "last"),
    ("\n    return 2", "last"), ("async def f(x): return 2", "last"),
])
def test_a_block_that_shows_how_a_function_is_used_is_not_the_program(last: str, expected: str) -> None:
    first = "Here:\n```python\ndef f(x):\n    return 1\n```\nFor example:\n"
    completion = Completion(f"{first}```python\n{last}\n```\nDone.")
    chosen = extract_code(completion, ["f", "g"]).text
    assert chosen == ("def f(x):\n    return 1" if expected == "first" else last.lstrip("\n"))
    assert extract_code(completion).text == last.lstrip("\n")
    assert extract_code(completion, ["h"]).text == last.lstrip("\n")


@pytest.mark.parametrize(("written", "told", "rest", "expected"), [
    ("I look it up.", "\\boxed{12}", " So the answer is 7.", "7."),
    ("\\boxed{7}", "\n#### 12\n", "Done.", "7"),
    ("<think>Let me see", "<answer>12</answer><think>\n", "ah</think>7", "7"),
    ("<think>So long", "</think>\n\n", "7", "7"),
    ("<think>So long", "</think> is a tag", "7", None),
])
def test_what_a_tool_wrote_is_no_answer(written: str, told: str, rest: str, expected: str | None) -> None:
    span = (len(written), len(written) + len(told))
    assert extract_answer(Completion(written + told + rest, observations=(span,))).text == expected


def test_a_program_of_a_tool_is_not_the_models() -> None:
    mine, told = "```python\nmine\n```\n", "```python\ntheirs\n```\n"
    both = Completion(mine + told, observations=((len(mine), len(mine + told)),))
    assert extract_code(both).text == "mine"
    assert own_words(Completion(mine)).text == mine
