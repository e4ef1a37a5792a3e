"""The house keeps its order: floors and rooms, no circle, nothing heavy where a command starts, nothing too long to
read.

The rules are in house.py. Each is applied to the source tree and to a small tree in which it is broken on purpose.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import house

ROOT = Path(__file__).resolve().parent.parent
TRAINING_LIBRARIES = {"torch", "transformers", "trl", "datasets", "peft", "accelerate"}
SLOW_TO_LOAD = TRAINING_LIBRARIES | {"math_verify", "sympy", "huggingface_hub", "numpy"}
START_COMMANDS = ("pipeline/stages", "pipeline/commands", "eval/problems")
"""What `retort plan` imports for every recipe."""

Rule = Callable[[Path], list[str]]
RULES: tuple[Rule, ...] = (
    house.upward, house.circles, house.crowded, house.long_files, house.long_functions, house.many_returns,
    house.many_parameters, house.late_imports, house.anys_without_reason,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    assert rule(ROOT) == []


def test_any_is_rare() -> None:
    assert len(house.anys(ROOT)) < house.MOST_ANYS


def test_every_room_of_the_plan_is_there() -> None:
    assert {folder.parent.name for folder in (ROOT / "pipeline").glob("*/__init__.py")} == set(house.ROOMS)


def heavy(root: Path) -> list[str]:
    """Imports of training libraries in rewards/, and of what takes long to load where a command starts."""
    wrong = []
    for file in house.sources(root):
        place = file.relative_to(root).as_posix()
        starts = place.startswith(START_COMMANDS)
        named = SLOW_TO_LOAD if starts else TRAINING_LIBRARIES if place.startswith("rewards/") else set()
        wrong += [f"{place}:{line} imports {module}" for line, module, _ in house.imports(file, at_start=starts)
                  if module.partition(".")[0] in named]
    return wrong


def test_nothing_heavy_is_imported_below_or_at_the_start() -> None:
    assert heavy(ROOT) == []


def planted(folder: Path, **files: str) -> Path:
    """A source tree with these files; `a__b` in a name stands for `a/b`."""
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for floor in house.FLOORS:
        (folder / floor).mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(("importer", "text", "found"), [
    ("rewards__a", "from eval.x import y", "eval.x.y"),
    ("eval__a", "import pipeline.rl.objectives.loss", "pipeline.rl.objectives.loss"),
    ("pipeline__moe__a", "from pipeline.rl.objectives import loss", "pipeline.rl.objectives.loss"),
    ("pipeline__moe__a", "def f():\n    from pipeline.stages import grpo", "pipeline.stages.grpo"),
    ("pipeline__disk__a", "with lazy:\n    import pipeline.store.store", "pipeline.store.store"),
    ("pipeline__data__a", "if TYPE_CHECKING:\n    from pipeline import run", "pipeline.run"),
    ("pipeline__store__a", "from pipeline.garden import rose", "pipeline.garden.rose"),
    ("eval__a", "import recipes.plug", "recipes.plug"),
    ("pipeline__a", "import tests.conftest", "tests.conftest"),
])
def test_an_import_upward_is_found(tmp_path: Path, importer: str, text: str, found: str) -> None:
    [wrong] = house.upward(planted(tmp_path, **{importer: text}))
    assert wrong.endswith(f"imports {found}")


@pytest.mark.parametrize("text", [
    "from pipeline.models import build", "from pipeline.training.chunks import chunks", "import eval.prompts",
    "from rewards.types import Problem", "import torch", "from pipeline.rl.batch import Batch",
])
def test_imports_downward_are_right(tmp_path: Path, text: str) -> None:
    assert house.upward(planted(tmp_path, pipeline__rl__a=text)) == []


@pytest.mark.parametrize("back", [
    "import rewards.a", "from rewards.a import x", "from rewards import a", "def f():\n    import rewards.a",
    "with lazy:\n    from rewards import a", "if TYPE_CHECKING:\n    import rewards.a",
    "class C:\n    def f(self):\n        try:\n            pass\n        except ValueError:\n            import "
    "rewards.a",
])
def test_a_circle_is_found(tmp_path: Path, back: str) -> None:
    root = planted(tmp_path, rewards__a="from rewards.b import y", rewards__b="from rewards import c", rewards__c=back)
    assert house.circles(root) == ["rewards.a <-> rewards.b <-> rewards.c"]


def test_a_package_in_a_circle_with_its_own_module_is_found(tmp_path: Path) -> None:
    root = planted(tmp_path, rewards__a="from rewards import x")
    (root / "rewards" / "__init__.py").write_text("from rewards.a import x")
    assert house.circles(root) == ["rewards <-> rewards.a"]


def test_a_circle_through_the_package_around_a_module_is_found(tmp_path: Path) -> None:
    """Who imports eval.engine.types imports eval.engine first."""
    root = planted(tmp_path, eval__prompts="from eval.engine.types import x", eval__engine__types="")
    (root / "eval" / "engine" / "__init__.py").write_text("import eval.prompts\nfrom eval.engine import types\n")
    assert house.circles(root) == ["eval.engine <-> eval.prompts"]


def test_no_circle_where_there_is_none(tmp_path: Path) -> None:
    root = planted(tmp_path, rewards__a="import rewards.b\nimport rewards.c", rewards__b="import rewards.c",
                   rewards__c="import os")
    assert house.circles(root) == []


def test_a_crowded_room_and_a_file_without_a_room_are_found(tmp_path: Path) -> None:
    files = {f"pipeline__rl__f{number}": "" for number in range(house.MOST_FILES + 1)}
    stages = {f"pipeline__stages__f{number}": "" for number in range(house.MOST_FILES + 1)}
    root = planted(tmp_path, **files, **stages, pipeline__loose="", pipeline__stage="", pipeline__attic__x="")
    assert house.crowded(root) == [
        f"pipeline/rl: {house.MOST_FILES + 1} files", "pipeline/attic is in no room", "pipeline/loose.py is in no room",
    ]


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    function = "def f():\n" + "    x = 1\n" * house.MOST_LINES["function"]
    root = planted(tmp_path, rewards__a=function, eval__b="\n" * (house.MOST_LINES["file"] + 1), eval__c="\n" * 400)
    assert house.long_functions(root) == ["rewards/a.py:1 f: 61 lines"]
    assert house.long_files(root) == ["eval/b.py: 401 lines"]


def test_too_many_returns_and_parameters_are_found(tmp_path: Path) -> None:
    returns = "    if x: return 1\n"
    nested = "def g(self, x):\n    def h():\n" + "    " + returns * 1 + "    return 2\n" + returns * 5
    many = "def f(x):\n" + returns * 7
    wide = ("class C:\n    def eight(self, a, b, c, d, e, f, *g, **h): pass\n"
            "    def nine(self, a, b, c, d, e, f, g, *, h, i): pass\n")
    root = planted(tmp_path, rewards__a=many + nested, rewards__b=wide)
    assert house.many_returns(root) == ["rewards/a.py:1 f: 7 returns"]
    assert house.many_parameters(root) == ["rewards/b.py:3 nine: 9 parameters"]


def test_an_import_in_a_function_is_found(tmp_path: Path) -> None:
    root = planted(tmp_path, eval__a="class C:\n    def f(self):\n        import os\n",
                   eval__b="with lazy:\n    import torch\n")
    assert house.late_imports(root) == ["eval/a.py:2 f imports in line 3"]


def test_any_is_found_and_asked_for_a_reason(tmp_path: Path) -> None:
    uses = "def f(x: Any, y: 'str', *z: \"dict[str, Any]\") -> 'None':\n    \"\"\"Any text.\"\"\"\n"
    root = planted(
        tmp_path, pipeline__disk__a=f"from typing import Any, Literal\n{uses}",
        eval__b=f"from typing import Any\n{uses}", pipeline__disk__c=f"from typing import Any  # JSON\n{uses}",
    )
    assert house.anys(root) == [f"pipeline/disk/{name}.py:2" for name in "aacc"]
    assert house.anys_without_reason(root) == ["pipeline/disk/a.py:1"]


def test_what_is_heavy_is_found(tmp_path: Path) -> None:
    lazy = "with lazy:\n    import torch\nif TYPE_CHECKING:\n    import numpy\n"
    root = planted(tmp_path, rewards__a=lazy, pipeline__stages__b=lazy, pipeline__stages__c="from sympy import S",
                   pipeline__rl__d="import torch", eval__problems__e="class C:\n    import numpy.linalg")
    assert heavy(root) == [
        "eval/problems/e.py:2 imports numpy.linalg", "pipeline/stages/c.py:1 imports sympy",
        "rewards/a.py:2 imports torch",
    ]
