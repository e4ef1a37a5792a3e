"""Products of numbers of two digits, with one more added or taken away: more than a small model does in its head."""

import random
from dataclasses import dataclass

from eval.problems.draw import distinct
from eval.problems.split import require_split, split_of
from eval.problems.words import NAMES, THINGS
from rewards.types import Problem

VERBS = {"+": ("buys", "finds", "gets"), "-": ("sells", "loses", "drops")}


@dataclass(frozen=True)
class Boxes:
    """So many boxes of so many things, and then some more or fewer of them."""

    pronoun: str
    name: str
    thing: str
    verb: str
    numbers: tuple[int, int, int]

    @property
    def sign(self) -> str:
        return "+" if self.verb in VERBS["+"] else "-"

    @property
    def skeleton(self) -> str:
        boxes, each, more = self.numbers
        return f"{boxes} * {each} {self.sign} {more}"

    @property
    def answer(self) -> int:
        boxes, each, more = self.numbers
        return boxes * each + (more if self.sign == "+" else -more)

    @property
    def prompt(self) -> str:
        boxes, each, more = self.numbers
        return (f"{self.name} has {boxes} boxes of {each} {self.thing}. {self.pronoun} {self.verb} {more}. "
                "How many are there now?")


def draw_boxes(rng: random.Random) -> Boxes:
    """A random problem, whose answer is between 22 and 9,900."""
    pronoun, sign = rng.choice(tuple(NAMES)), rng.choice("+-")
    numbers = rng.randint(11, 99), rng.randint(11, 99), rng.randint(2, 99)
    return Boxes(pronoun, rng.choice(NAMES[pronoun]), rng.choice(THINGS), rng.choice(VERBS[sign]), numbers)


def draw_boxes_of(split: str, rng: random.Random) -> Boxes:
    """A random problem of this split (`train` or `test`)."""
    while split_of((boxes := draw_boxes(rng)).skeleton) != split:
        pass
    return boxes


def products(split: str, n: int | None, seed: int) -> list[Problem]:
    """Products of two numbers of two digits, plus or minus a third, told as a story; split by the sums."""
    require_split("products", split)
    rng = random.Random(f"products:{split}:{seed}")
    drawn = distinct(lambda: draw_boxes_of(split, rng), 500 if n is None else n)
    return [
        Problem(
            id=f"products-{split}-{seed}-{i}", prompt=boxes.prompt, answer=str(boxes.answer), verifier="math",
            family="products", skeleton=boxes.skeleton,
        )
        for i, boxes in enumerate(drawn)
    ]
