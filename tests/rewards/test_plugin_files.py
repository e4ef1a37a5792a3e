"""Plug-ins given as files: their neighbours, what they read, and what changes when one of these does."""

import sys
from pathlib import Path

import pytest

from rewards import plugin_files
from rewards.plugin_files import PluginFileError

FILES = {
    "rule.py": "import words\nfrom pack import part as p\nimport pack.other\nimport json\nREADS = ['list.txt']\n"
               "def late():\n    import later as found\n"
               "    return found.N, words.N, p.N, pack.other.N, json.dumps(1)\n",
    "words.py": "from deeper import N\nimport random\nassert random.random() < 1\n",
    "deeper.py": "N = 2\n",
    "later.py": "from __future__ import annotations\nN: int = 3\n",
    "random.py": "raise RuntimeError('hides the library')\n",
    "list.txt": "one\n",
    "unused.py": "N = 9\n",
    "pack/__init__.py": "from .part import N\n",
    "pack/part.py": "from . import inner\nN = inner.N\n",
    "pack/inner.py": "import deeper\nfrom words import N as M\nN = deeper.N + M\n",
    "pack/other.py": "N = 5\n",
}
USED = {"words.py", "deeper.py", "later.py", "list.txt", "pack/__init__.py", "pack/part.py", "pack/inner.py",
        "pack/other.py"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, FILES)
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_neighbours_are_imported_and_hide_nothing(folder: Path) -> None:
    before, modules = list(sys.path), set(sys.modules)
    module = plugin_files.load(folder / "rule.py")
    assert module.late() == (3, 2, 4, 5, "1")
    assert sys.path == before
    assert {name for name in set(sys.modules) - modules if not name.startswith("_retort_plugin_")} <= {"random"}
    assert not list(folder.rglob("*.pyc"))
    assert plugin_files.load(folder / "rule.py") is module


def test_sources_are_what_decides_the_result(folder: Path) -> None:
    file = folder / "rule.py"
    assert plugin_files.sources(file) == [file, *sorted(folder / name for name in USED)]


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_hash_and_the_module_change_with_every_source_and_no_other_file(folder: Path, name: str) -> None:
    file = folder / "rule.py"
    first, module = plugin_files.source_hash(file), plugin_files.load(file)
    with (folder / name).open("a") as text:
        text.write("\n# edited\n")
    changed = name in USED | {"rule.py"}
    assert (plugin_files.source_hash(file) != first) == changed
    assert (plugin_files.load(file) is not module) == changed


def test_an_edited_neighbour_counts_at_once(folder: Path) -> None:
    assert plugin_files.load(folder / "rule.py").late()[1] == 2
    (folder / "deeper.py").write_text("N = 7\n")
    assert plugin_files.load(folder / "rule.py").late()[:3] == (3, 7, 14)


def test_two_folders_may_have_neighbours_of_one_name(tmp_path: Path) -> None:
    for name, number in (("a", 1), ("b", 2)):
        write(tmp_path / name, {"rule.py": "import words\nN = words.N\n", "words.py": f"N = {number}\n"})
    assert [plugin_files.load(tmp_path / name / "rule.py").N for name in ("a", "b")] == [1, 2]


def test_the_project_s_own_packages_are_never_neighbours(tmp_path: Path) -> None:
    write(tmp_path, {"rule.py": "from rewards.types import Label\n", "rewards/__init__.py": "", "rewards/types.py": ""})
    assert plugin_files.load(tmp_path / "rule.py").Label.CORRECT == "correct"
    assert plugin_files.sources(tmp_path / "rule.py") == [tmp_path / "rule.py"]


def test_a_module_of_a_package_has_the_package_s_files(tmp_path: Path) -> None:
    write(tmp_path, {
        "mine/__init__.py": "", "mine/rules.py": "import numpy\nfrom mine.words import N\nfrom .more import M\n",
        "mine/words.py": "N = 1\n", "mine/more.py": "M = 1\n", "mine/other.py": "", "numpy.py": "",
    })
    found = plugin_files.sources(tmp_path / "mine" / "rules.py", "mine.rules")
    assert {path.relative_to(tmp_path).as_posix() for path in found} == {
        "mine/__init__.py", "mine/rules.py", "mine/words.py", "mine/more.py",
    }


@pytest.mark.parametrize(("files", "said"), [
    ({"rule.py": "def (\n"}, "rule.py is not Python"),
    ({"rule.py": "import words\n", "words.py": "def (\n"}, "words.py is not Python"),
    ({"rule.py": "READS = ['gone.txt']\n"}, "rule.py:1: READS names 'gone.txt', and there is no such file"),
    ({"rule.py": "x = 1\nREADS = [x]\n"}, "rule.py:2: READS is a list of file names in quotes"),
    ({"rule.py": "READS = 'list.txt'\n"}, "READS is a list of file names"),
    ({"rule.py": "READS = []\nREADS += ['gone.txt']\n"}, "rule.py:2: READS is a list of file names in quotes, said on"),
    ({"rule.py": "if True:\n    READS = []\n"}, "rule.py:2: READS is a list of file names in quotes, said once"),
    ({"rule.py": "READS: list[str] = ['gone.txt']\n"}, "rule.py:1: READS names 'gone.txt'"),
])
def test_what_cannot_be_used_is_one_line(tmp_path: Path, files: dict[str, str], said: str) -> None:
    write(tmp_path, files)
    with pytest.raises(PluginFileError, match=said.replace("(", r"\(")) as caught:
        plugin_files.load(tmp_path / "rule.py")
    assert len(caught.value.lines) == 1


def test_a_failing_file_is_run_again_the_next_time(tmp_path: Path) -> None:
    write(tmp_path, {"rule.py": "from pathlib import Path\nassert Path(__file__).with_name('ready').exists()\n"})
    with pytest.raises(AssertionError):
        plugin_files.load(tmp_path / "rule.py")
    (tmp_path / "ready").touch()
    plugin_files.load(tmp_path / "rule.py")


def test_tracebacks_show_the_user_s_line(tmp_path: Path) -> None:
    write(tmp_path, {"rule.py": "import words\n\n\ndef fail():\n    raise ValueError('mine')\n", "words.py": ""})
    with pytest.raises(ValueError, match="mine") as caught:
        plugin_files.load(tmp_path / "rule.py").fail()
    last = caught.traceback[-1]
    assert (Path(str(last.path)), last.lineno + 1) == (tmp_path / "rule.py", 5)


@pytest.mark.parametrize("said", ["READS: list[str] = ['list.txt']", "READS: list[str]\nREADS = ['list.txt']"])
def test_files_that_a_typed_module_reads_count(tmp_path: Path, said: str) -> None:
    write(tmp_path, {"rule.py": f"{said}\n", "list.txt": "a"})
    assert plugin_files.sources(tmp_path / "rule.py") == [tmp_path / "rule.py", tmp_path / "list.txt"]
