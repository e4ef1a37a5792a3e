"""What `retort new` writes: for each kind of thing a file that works as it is, and a test of it, from `templates/`.

The templates are real files, linted and checked as all others are; their names (`my_rule`, and of a stage's class
`MyStage`) are replaced when they are written.
"""

import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.authoring import schema

_FOLDER = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Template:
    """One kind of thing that can be begun: `file` is its template, `steps` tell what to do with it next.

    In `steps` {file} and {test} are the files that were written, {name} is the file's name in its folder, {stem} that
    without its ending, and {Name} the stem as a class is called.
    """

    what: str
    told: str
    file: str
    steps: Mapping[str, str]

    def names(self, stem: str) -> tuple[str, str]:
        """The names of the file and of its test."""
        return f"{stem}{Path(self.file).suffix}", f"test_{stem}.py"

    def texts(self, stem: str) -> list[str]:
        """What is in the two files."""
        own = Path(self.file).stem
        texts = [(_FOLDER / name).read_text(encoding="utf-8") for name in (self.file, f"test_{own}.py")]
        return [
            text.replace(own, stem).replace(class_name(own), class_name(stem))
            .replace("$schema=SCHEMA", f"$schema={schema.shipped().as_uri()}")
            for text in texts
        ]

    def taken(self) -> set[str]:
        """Names that the file uses itself, and that what it defines cannot have."""
        text = (_FOLDER / self.file).read_text(encoding="utf-8")
        names = {token.string for token in tokenize.generate_tokens(io.StringIO(text).readline)
                 if token.type == tokenize.NAME}
        own = Path(self.file).stem
        return names - {own, class_name(own)}


def class_name(stem: str) -> str:
    """`MyStage` for `my_stage`."""
    return "".join(part.capitalize() for part in stem.split("_"))


TEMPLATES: Mapping[str, Template] = {one.what: one for one in (
    Template("recipe", "a recipe of a tiny model, which runs in about a minute", "my_recipe.yaml", {
        "run it": "retort run {file}",
        "look first": "retort plan {file}",
        "test it": "pytest {test}",
        "its fields": "retort list recipe, and retort list stages grpo for those of a stage",
        "see the others": "retort list recipes",
    }),
    Template("stage", "a stage, here one that makes a dataset of another", "my_stage.py", {
        "try it": "pytest {test}",
        "in a recipe": "short: {{kind: {name}:{Name}, data: traces, most_words: 200}}, with the path from the recipe's "
                       "folder",
        "its fields": "retort list stages {file}:{Name}",
        "see the others": "retort list stages",
    }),
    Template("problems", "a set of problems to train and measure on", "my_problems.py", {
        "try it": "pytest {test}",
        "in a recipe": "problems: [{name}:{stem}:train], with the path from the recipe's folder",
        "ask a model": "retort eval MODEL --problems {file}:{stem}:test",
        "see the others": "retort list problems",
    }),
    Template("verifier", "a verifier, which tells whether an answer is right", "my_verifier.py", {
        "try it": "pytest {test}",
        "in a problem": 'Problem(.., verifier="{name}:{stem}"), with the path from the recipe\'s folder',
        "in a recipe": 'problems: ["mine.jsonl?verifier={name}:{stem}"] for all rows of a file',
        "see the others": "retort list verifiers",
    }),
    Template("rule", "a rule: a function that shapes rewards", "my_rule.py", {
        "try it": "pytest {test}",
        "in a recipe": "reward: {{rules: {{{name}:{stem}: {{weight: 0.1, most: 200}}}}}}, with the path from the "
                       "recipe's folder",
        "see the others": "retort list rules",
    }),
)}
