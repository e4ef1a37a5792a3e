"""Imports that wait: when they load, what a stand-in can do, and what is said of what is not there."""

import builtins
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from rewards.lazy import Lazy, lazy

with lazy:
    import fractions as lazy_fractions
    from fractions import Fraction as LazyFraction


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package on the search path that nothing has imported yet, with a module `inner` and one that lacks another."""
    folder = tmp_path / "waiting"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "NUMBERS = [3, 5]\n"
        "def double(x, *, add=0):\n    return 2 * x + add\n"
        "class Box:\n    size = 7\n"
        "def __getattr__(name):\n"
        "    if name == 'made':\n        return 'made when asked for'\n"
        "    raise AttributeError(name)\n"
    )
    (folder / "inner.py").write_text("NAME = 'inside'\n")
    (folder / "broken.py").write_text("import surely_nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "waiting"
    for name in [name for name in sys.modules if name.partition(".")[0] == "waiting"]:
        del sys.modules[name]


def loaded() -> set[str]:
    return {name for name in sys.modules if name.partition(".")[0] == "waiting"}


def test_a_module_is_loaded_when_it_is_first_read_from(package: str) -> None:
    with lazy:
        import waiting
    assert loaded() == set()
    assert repr(waiting) == "<lazy waiting>"
    assert loaded() == set()  # to print it is not to use it
    assert waiting.NUMBERS == [3, 5]
    assert loaded() == {package}


def test_each_name_of_a_from_import_waits(package: str) -> None:
    with lazy:
        from waiting import NUMBERS, Box, double
        from waiting import inner as renamed
    assert loaded() == set()
    assert repr(renamed) == "<lazy waiting.inner>"
    assert double(4, add=1) == 9
    assert loaded() == {package}
    assert renamed.NAME == "inside"  # a module inside the package, which the package has not imported
    assert loaded() == {package, "waiting.inner"}
    assert list(NUMBERS) == [3, 5]
    assert NUMBERS[1] == 5
    assert Box.size == 7
    assert isinstance(Box(), Box)


def test_a_name_that_a_module_makes_when_it_is_asked_for(package: str) -> None:
    with lazy:
        from waiting import made
    assert made.upper() == "MADE WHEN ASKED FOR"
    assert loaded() == {package}


def test_a_stand_in_works_in_isinstance_and_as_a_constructor() -> None:
    half = LazyFraction(1, 2)
    assert type(half) is Fraction
    assert isinstance(half, LazyFraction)
    assert isinstance(half, (str, LazyFraction))
    assert not isinstance("1/2", LazyFraction)
    assert LazyFraction.from_float(0.5) == half
    assert lazy_fractions.Fraction is Fraction


def test_what_is_set_on_a_stand_in_is_set_on_the_module(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with lazy:
        import waiting
    monkeypatch.setattr(waiting, "NUMBERS", [8])
    assert sys.modules[package].NUMBERS == [8]
    monkeypatch.undo()
    assert sys.modules[package].NUMBERS == [3, 5]
    waiting.extra = 1
    del waiting.extra
    assert not hasattr(sys.modules[package], "extra")


def test_a_missing_module_is_told_where_it_is_used_and_by_its_name() -> None:
    with lazy:
        import surely_nowhere
        from surely_nowhere.deeper import thing
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'surely_nowhere'$"):
        surely_nowhere.anything  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match="'surely_nowhere'"):
        thing()


@pytest.mark.usefixtures("package")
def test_a_missing_name_is_told_with_its_module() -> None:
    with lazy:
        from waiting import nothing
        from waiting.inner import nobody
    with pytest.raises(ImportError, match=r"^cannot import name 'nothing' from 'waiting'$"):
        nothing()
    with pytest.raises(ImportError, match=r"^cannot import name 'nobody' from 'waiting.inner'$"):
        nobody()


@pytest.mark.usefixtures("package")
def test_a_module_inside_that_lacks_something_says_what_it_lacks() -> None:
    with lazy:
        from waiting import broken
    with pytest.raises(ModuleNotFoundError, match="'surely_nowhere'"):
        broken.anything  # noqa: B018


def test_a_failed_import_is_tried_again(package: str, tmp_path: Path) -> None:
    with lazy:
        from waiting import broken
    with pytest.raises(ModuleNotFoundError):
        broken.NAME  # noqa: B018
    (tmp_path / package / "broken.py").write_text("NAME = 'mended, and of another length'\n")
    assert broken.NAME == "mended, and of another length"


@pytest.mark.usefixtures("package")
def test_what_is_no_function_is_not_called() -> None:
    with lazy:
        from waiting import NUMBERS
    with pytest.raises(AssertionError, match=r"<lazy waiting\.NUMBERS> is no function or class"):
        NUMBERS()


@pytest.mark.usefixtures("package")
def test_imports_are_plain_again_behind_the_block_also_after_an_error() -> None:
    plain = builtins.__import__
    with lazy:
        pass
    assert builtins.__import__ is plain
    with pytest.raises(KeyError), lazy:
        raise KeyError
    assert builtins.__import__ is plain
    import waiting
    assert not isinstance(waiting, Lazy)


@pytest.mark.parametrize(("line", "complaint"), [
    ("import waiting.inner", "write `from waiting import inner`"),
    ("from . import inner", "relative imports are not put off"),
])
def test_what_cannot_be_put_off_is_refused(package: str, line: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint), lazy:
        exec(line, {"__name__": "waiting.other", "__package__": package})
    assert loaded() == set()


def test_other_threads_import_as_ever_meanwhile(package: str) -> None:
    found: list[object] = []

    def elsewhere() -> None:
        import waiting
        found.append(waiting)

    with lazy:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(10)
    assert found == [sys.modules[package]]


@pytest.mark.usefixtures("package")
def test_two_threads_in_blocks_at_once_do_not_disturb_each_other() -> None:
    plain = builtins.__import__
    inside, both, kinds = threading.Event(), threading.Event(), {}

    def first() -> None:
        with lazy:
            inside.set()
            both.wait(0.2)  # the other thread is at its own block by now
            import waiting
        kinds["first"] = type(waiting)

    def second() -> None:
        inside.wait(10)
        with lazy:
            both.set()
            import waiting
        kinds["second"] = type(waiting)

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert kinds == {"first": Lazy, "second": Lazy}
    assert builtins.__import__ is plain
    assert loaded() == set()


@pytest.mark.usefixtures("package")
def test_threads_that_use_a_stand_in_at_once_get_one_thing() -> None:
    with lazy:
        from waiting import Box
    start, made = threading.Barrier(8), []

    def use() -> None:
        start.wait(10)
        made.append(Box())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == 8
    assert len({type(box) for box in made}) == 1
