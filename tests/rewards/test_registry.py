"""The registry: four ways to name a plug-in, and one clear line for each mistake."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewards.registry import Registry, RegistryError

Plugins = Registry[Callable[..., Any]]

SOURCE = '''"""A file."""

def brevity(problem, completion, *, most=10):
    """Shorter is better."""
    return 1.0
'''


def registry() -> Plugins:
    return Registry("rule", {"join": "os.path:join", "dumps": "json:dumps"})


def test_built_in_is_loaded_only_on_load() -> None:
    entry = registry().resolve("dumps")
    assert (entry.name, entry.kind, entry.origin) == ("dumps", "rule", "built-in")
    assert entry.load()([1]) == "[1]"
    assert entry.summary.startswith("Serialize ``obj``")
    assert entry.options["indent"] is None


def test_dotted_reference() -> None:
    entry = registry().resolve("json:loads")
    assert entry.load()("3") == 3
    assert len(entry.source_hash()) == 64


def test_file_reference_is_relative_to_base(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    entry = registry().resolve("mine.py:brevity", base=tmp_path)
    assert entry.name == "brevity"
    assert entry.origin == str((tmp_path / "mine.py").resolve())
    assert entry.summary == "Shorter is better."
    assert entry.options == {"most": 10}
    assert entry.load()(None, None) == 1.0
    assert str(tmp_path) not in sys.path


def test_editing_the_file_changes_hash_and_function(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    before = registry().resolve("mine.py:brevity", base=tmp_path)
    first = before.source_hash()
    file.write_text(SOURCE.replace("return 1.0", "return 0.5"))
    after = registry().resolve("mine.py:brevity", base=tmp_path)
    assert after.source_hash() != first
    assert after.load()(None, None) == 0.5


def test_a_plug_in_file_may_be_called_rewards(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(SOURCE)
    assert registry().resolve("rewards.py:brevity", base=tmp_path).load()(None, None) == 1.0


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("dumsp", "did you mean 'dumps'?"),
        ("zzz", "there are dumps, join"),
        ("nowhere.py:f", "there is no file"),
        ("no_such_module_x:f", "there is no module 'no_such_module_x'"),
        ("json:", "write module:name"),
        ("", "named by text"),
    ],
)
def test_a_wrong_reference_is_one_clear_line(reference: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        registry().resolve(reference, base=tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_missing_in_a_file_is_found_before_it_runs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit(9)\n" + SOURCE)
    with pytest.raises(RegistryError, match="did you mean 'brevity'"):
        registry().resolve("mine.py:brevty", base=tmp_path)


def test_a_file_that_raises_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE + "\n1 / 0\n")
    with pytest.raises(RegistryError, match="ZeroDivisionError"):
        registry().resolve("mine.py:brevity", base=tmp_path).load()


def test_missing_attribute_of_a_module() -> None:
    with pytest.raises(RegistryError, match="did you mean 'dumps'"):
        registry().resolve("json:dump_s").load()


def test_add_and_clash() -> None:
    rules = registry()

    def mine(problem: object, completion: object) -> float:
        """Mine."""
        return 0.0 if problem is completion else 1.0

    assert rules.add(mine) is mine
    assert rules.resolve("mine").load() is mine
    assert [e.name for e in rules.entries()] == ["dumps", "join", "mine"]
    with pytest.raises(RegistryError, match="built-in"):
        rules.add(mine, name="dumps")


def test_listing_imports_no_plug_in() -> None:
    code = (
        "import sys; from rewards.registry import Registry\n"
        "r = Registry('rule', {'x': 'wave:open', 'y': 'colorsys:rgb_to_hls'})\n"
        "assert [(e.name, e.summary) for e in r.entries()][1][0] == 'y'\n"
        "assert 'wave' not in sys.modules and 'colorsys' not in sys.modules\n"
    )
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_entry_points_are_listed(tmp_path: Path) -> None:
    info = tmp_path / "shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[retort.shop]\nmine = json:loads\n")
    sys.path.insert(0, str(tmp_path))
    try:
        rules: Plugins = Registry("rule", {}, entry_points="retort.shop")
        entry = rules.resolve("mine")
    finally:
        sys.path.remove(str(tmp_path))
    assert entry.origin == "entry point of shop"
    assert entry.load()("2") == 2


def test_a_plug_in_s_neighbours_and_what_it_reads_are_part_of_its_hash(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("READS = ['words.txt']\nfrom words import *\n")
    (tmp_path / "words.py").write_text("def brevity(problem, completion):\n    return 1.0\n")
    (tmp_path / "words.txt").write_text("a\n")
    entry = registry().resolve("mine.py:brevity", base=tmp_path)  # only running it tells what `*` brings
    assert entry.load()(None, None) == 1.0
    seen = {entry.source_hash()}
    for name in ("words.py", "words.txt"):
        with (tmp_path / name).open("a") as text:
            text.write("# more\n")
        seen.add(entry.source_hash())
    assert len(seen) == 3
    (tmp_path / "words.txt").unlink()
    with pytest.raises(RegistryError, match=r"READS names 'words\.txt', and there is no such file"):
        entry.source_hash()
