"""The check of a recipe's training data against its test problems, before any work is done."""

from collections.abc import Iterator
from itertools import chain

from eval.contamination import Leak, TestTexts, Text, text_of
from eval.problems import load
from pipeline.contract import dataset
from pipeline.contract.dataset.forms import text_of as text_of_row
from pipeline.contract.errors import RecipeError
from pipeline.contract.stage import Asks, stage_seed
from pipeline.recipe import inputs
from pipeline.recipe.recipe import Recipe

SHOWN = 5


def check(recipe: Recipe) -> str | None:
    """One line on what was compared; None where a recipe has no training data or no test problems that can be compared.

    Compared are the problem sets that stages train on or draw traces from, and dataset files and datasets of the hub,
    with the sets that stages measure on (see Stage.asks and eval.contamination). Not read: the generated web of
    `pretrain`, which is made from training skeletons alone; what earlier stages make, since it comes from these same
    sets; what a model of the hub was trained on. A set's train split that is measured on is meant to be what it is.
    Raises RecipeError, with pairs, where a test problem is in the training data and the recipe does not say `leaks:
    tell`; InputError where a dataset cannot be downloaded.
    """
    asked = [use for step in recipe.steps.values() for use in step.config.asks(stage_seed(recipe.seed, step.name))]
    tests = [
        text
        # Who measures on training problems, to see how well they are learned, has no test set to protect.
        for use in _different(asked, "test") if not use.reference.endswith(":train")
        for text in _texts(recipe, use)
    ]
    # Files are read to their last row even where there is nothing to compare them with: a broken one is told before any
    # work is done.
    if not tests:
        for _ in _files(recipe):
            pass
        return None
    # Not by their names alone: another stage's draw from a set may have other problems under the same ids.
    asked_for = dict.fromkeys(text for use in _different(asked, "train") for text in _texts(recipe, use))
    trains = chain(asked_for, _files(recipe))
    first = next(trains, None)
    if first is None:
        return None
    index = TestTexts(dict.fromkeys(tests))
    leaks: list[Leak] = []
    count = 0
    for text in chain([first], trains):  # one after the other, since files may be large
        count += 1
        leaks += index.leaks(text)
    # Thirteen words in a row are often a common phrase: told, and no reason to stop.
    grave = [leak for leak in leaks if leak.grave]
    if grave and recipe.leaks == "stop":
        raise RecipeError(_complaint(recipe, grave))
    compared = f"{len(index.tests):,} test problems were looked for in {count:,} training texts"
    if grave:
        return f"{compared}: {_problems(grave)} of them are there, such as {grave[0].test.name} (leaks: tell)"
    if leaks:
        return (
            f"{compared}: none is there; {_problems(leaks)} share 13 words in a row with one, such as "
            f"{leaks[0].test.name}"
        )
    return f"{compared}: none is there"


def _different(asked: list[Asks], purpose: str) -> list[Asks]:
    return list(dict.fromkeys(use for use in asked if use.purpose == purpose))


def _texts(recipe: Recipe, use: Asks) -> Iterator[Text]:
    return (text_of(problem, use.reference) for problem in load(use.reference, use.n, use.seed, base=recipe.folder))


def _files(recipe: Recipe) -> Iterator[Text]:
    """Rows of the datasets, files or the hub's, that stages train on."""
    uses = [(reference, source, dataset.drops_bad_rows(step.config)) for step in recipe.steps.values()
            for reference, source in step.sources.items()
            if source.type == "dataset" and source.origin != "stage" and step.config.makes != "report"]
    # One stage that stops at bad rows is enough to stop.
    drops = {reference: all(drop for other, _, drop in uses if other == reference) for reference, _, _ in uses}
    for reference, source in {reference: source for reference, source, _ in uses}.items():
        path = source.path or inputs.download(source.repository, source.type, source.commit)
        selection = dataset.parse(reference).selection
        rows = dataset.records(path, selection, (lambda _: None) if drops[reference] else None)
        for number, row in enumerate(rows, 1):
            yield Text(f"{reference} row {number}", text_of_row(row))


def _complaint(recipe: Recipe, grave: list[Leak]) -> list[str]:
    lines = [f"{recipe.file}: the training data holds test problems: {_problems(grave)} of them"]
    first: dict[str, Leak] = {}
    for leak in grave:
        first.setdefault(leak.test.name, leak)
    for leak in list(first.values())[:SHOWN]:
        lines.append(f"  {leak.test.name} is in {leak.train.name} ({leak.detector}, {leak.share:.0%})")
        lines += [f"    test      {_short(leak.test.text)}", f"    training  {_short(leak.train.text)}"]
    if len(first) > SHOWN:
        lines.append(f"  and {len(first) - SHOWN} more")
    if any(leak.test.name == leak.train.name for leak in grave):
        lines.append("who means to measure on what is trained on says so by the split, `:train` behind the set")
    return [*lines, "take them out of the one or the other; `leaks: tell` in the recipe runs it all the same"]


def _problems(leaks: list[Leak]) -> int:
    return len({leak.test.name for leak in leaks})


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 160 else f"{plain[:157]}..."
