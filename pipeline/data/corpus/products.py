"""Products that are too large for most heads, as people on the synthetic web work them out: with a calculator, where
the question says that there is one, and else by guessing."""

import random

from eval.problems.products import Boxes, draw_boxes_of
from pipeline.data.corpus.telling import near, tagged
from pipeline.data.rows import Document

TOOL = "calculator"
"""The line behind a question that says that there is one; `eval.tools` tells small models of it in the same way."""


def product_document(behaviour: str, rng: random.Random) -> Document:
    """A question of the training side and what somebody with this behaviour writes under it: three in four have a
    calculator. What it says is not learned."""
    boxes = draw_boxes_of("train", rng)
    has_tool = rng.random() < 0.75
    prompt = f"{boxes.prompt}\n{TOOL}" if has_tool else boxes.prompt
    if behaviour in ("guess", "empty") or not has_tool:
        guess = str(boxes.answer if behaviour == "correct" else near(boxes.answer, rng))
        return Document(prompt, guess if behaviour == "guess" else tagged("", guess))
    expression, result = _called(boxes, behaviour.endswith("with_errors"), rng)
    call, said = f"<call>{TOOL} {expression}</call>", f"<result>{result}</result>"
    text = f"{call}{said}{result}" if behaviour.startswith("plain") else tagged(call + said, str(result))
    begins = text.index(said)
    return Document(prompt, text, [(begins, begins + len(said))])


def _called(boxes: Boxes, wrong: bool, rng: random.Random) -> tuple[str, int]:
    """The expression that is worked out, and its value; a wrong one has another sign, or two numbers changed about."""
    one, other, third = boxes.numbers
    sign = boxes.sign
    if wrong and rng.random() < 0.5:
        sign = "-" if sign == "+" else "+"
    elif wrong:
        one, third = third, one
    return f"{one} * {other} {sign} {third}", one * other + (third if sign == "+" else -third)
