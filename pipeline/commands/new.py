"""`retort new rule NAME`: the file of a rule of your own, with a test beside it that passes."""

import argparse
import importlib.util
import keyword
import sys
import sysconfig
from pathlib import Path

from pipeline.commands import guard
from pipeline.contract.errors import CommandError
from pipeline.recipe import trust
from rewards.rules import RULES

RULE = '''"""A rule for rewards. In a recipe, beside its file:

    reward: {{correct: 1.0, rules: {{{name}.py:{name}: {{weight: 0.1, most: 200}}}}}}
"""

from rewards.types import Completion, Problem


def {name}(problem: Problem, completion: Completion, *, most: int = 200) -> float:
    """1.0 for a completion of at most `most` words, falling evenly to 0.0 at twice as many."""
    words = len(completion.text.split())
    return max(0.0, min(1.0, 2.0 - words / most))
'''

TEST = '''from pathlib import Path

import pytest

from rewards.rubric import Rubric
from rewards.types import Completion, Label, Problem, Verdict

PROBLEM = Problem(id="1", prompt="What is 2 + 3?", answer="5", verifier="math", family="sums")


def rubric(**options: object) -> Rubric:
    """A rubric with this rule alone, named as a recipe in this folder names it."""
    rules = {{"{name}.py:{name}": {{"weight": 1.0, **options}}}}
    return Rubric.model_validate({{"rules": rules}}, context={{"base": Path(__file__).parent}})


@pytest.mark.parametrize(("text", "value"), [("", 1.0), ("one two", 1.0), ("one two three", 0.5), ("a b c d", 0.0)])
def test_{name}(text: str, value: float) -> None:
    reward = rubric(most=2).score(PROBLEM, Completion(text), Verdict(Label.WRONG))
    assert reward.parts["{name}"] == value
    assert reward.total == value


def test_{name}_takes_no_option_that_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="no option"):
        rubric(moost=2)
'''


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("rule",), help="a rule: a function that shapes rewards")
    parser.add_argument(
        "name", metavar="NAME", help="the function's name, and the file's: NAME.py, with test_NAME.py beside it"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="FOLDER", help="where to write them (default: here)"
    )


def main(args: argparse.Namespace) -> int:
    _check_name(args.name)
    if not args.folder.is_dir():
        raise CommandError(f"retort new: there is no folder {args.folder}")
    files = {args.folder / f"{args.name}.py": RULE, args.folder / f"test_{args.name}.py": TEST}
    for file in files:
        if file.exists():
            raise CommandError(f"retort new: {file} exists; choose another name, or --folder")
    for file, text in files.items():
        with file.open("x", encoding="utf-8") as out:
            out.write(text.format(name=args.name))
    trust.remember([args.folder])
    rule, test = files
    print(f"wrote {rule} and {test}")
    for what, how in {
        "try it": f"pytest {test}",
        "in a recipe": f"reward: {{rules: {{{rule.name}:{args.name}: {{weight: 0.1, most: 200}}}}}}, with the path "
                       f"from the recipe's folder",
        "see the others": "retort list rules",
    }.items():
        print(f"  {what:<16}{how}")
    return 0


def _is_installed(name: str) -> bool:
    """Whether a module of that name was installed; one that is found since it lies in a folder of one's own was not."""
    spec = importlib.util.find_spec(name)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    installed = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
    return any(Path(place).is_relative_to(folder) for place in places for folder in installed)


def _check_name(name: str) -> None:
    """Raise CommandError unless a file and a function may be called so without hiding anything."""
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        raise CommandError(f"retort new: a rule's name is a Python name such as my_rule, not {name!r}")
    if name in RULES:
        raise CommandError(f"retort new: there is a rule called {name!r} already; retort list rules shows them")
    if name in sys.stdlib_module_names or name in guard.PACKAGES or _is_installed(name):
        raise CommandError(f"retort new: a file {name}.py would hide the Python module {name!r}; choose another name")
