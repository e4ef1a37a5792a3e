"""The house keeps its floors: rewards <- eval <- pipeline, nothing heavy in rewards, no file too long."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("rewards", "eval", "pipeline")  # a floor imports itself and those before it
NOT_IN_REWARDS = {"torch", "transformers", "trl", "datasets", "peft", "accelerate"}
LONGEST = 400  # lines


def sources() -> list[Path]:
    return sorted(file for folder in (*FLOORS, "recipes") for file in (ROOT / folder).rglob("*.py"))


def imports(file: Path, *, at_start: bool = False) -> Iterator[tuple[int, str]]:
    """Line and absolute module of every import in a file; with `at_start` only of those that run when it is
    imported."""
    inside: list[ast.stmt | ast.ExceptHandler] = [*ast.parse(file.read_text()).body]
    while inside:
        node = inside.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.relative_to(ROOT)}:{node.lineno}: a relative import"
            yield node.lineno, node.module or ""
        elif at_start and _runs_later(node):
            continue
        inside += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.ExceptHandler)]


def _runs_later(node: ast.stmt | ast.ExceptHandler) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_what_is_below(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1:]
    wrong = [f"{file.relative_to(ROOT)}:{line} imports {module}"
             for file in sources() if file.is_relative_to(ROOT / floor)
             for line, module in imports(file) if module.partition(".")[0] in (*above, "recipes", "tests")
             and not (floor == "pipeline" and module == "recipes")]
    assert wrong == []


def test_rewards_never_import_a_training_library() -> None:
    wrong = [f"{file.relative_to(ROOT)}:{line} imports {module}"
             for file in sources() if file.is_relative_to(ROOT / "rewards")
             for line, module in imports(file) if module.partition(".")[0] in NOT_IN_REWARDS]
    assert wrong == []


def test_no_module_that_starts_a_command_is_heavy() -> None:
    heavy = NOT_IN_REWARDS | {"math_verify", "sympy", "huggingface_hub", "numpy"}
    light = [ROOT / "pipeline" / "stages", ROOT / "pipeline" / "commands", ROOT / "eval" / "problems"]
    files = [file for file in sources() if any(file.is_relative_to(folder) for folder in light)]
    wrong = [f"{file.relative_to(ROOT)}:{line} imports {module} when it is imported"
             for file in files for line, module in imports(file, at_start=True) if module.partition(".")[0] in heavy]
    assert wrong == []


def test_no_file_is_too_long() -> None:
    files = [*sources(), *(ROOT / "tests").rglob("*.py")]
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_the_imports_of_this_test_are_found(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import a.b\ntry:\n    from c import d\nexcept ImportError:\n    import e\n"
                    "def f():\n    import g\nclass H:\n    import i\n")
    assert {module for _, module in imports(file)} == {"a.b", "c", "e", "g", "i"}
    assert {module for _, module in imports(file, at_start=True)} == {"a.b", "c", "e", "i"}
