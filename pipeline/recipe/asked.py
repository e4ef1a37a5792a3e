"""The problems that stages ask, looked at before the run: that there are enough of them, and what they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.errors import ProblemSetError
from eval.problems.content import content
from pipeline.contract.stage import Asks, Stage
from rewards.errors import RetortError
from rewards.registry import RegistryError


class AskedError(RetortError, ValueError):
    """What a stage asks cannot be known before it runs. The message is one line."""


class Contents:
    """What problem sets hold (see `eval.problems.content`), each loaded once; relative files start from `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, int | None, int], str | None] = {}

    def of(self, asked: Asks) -> str | None:
        """Raises AskedError in one line where the problems cannot be had."""
        key = (asked.reference, asked.n, asked.seed)
        if key not in self._known:
            try:
                self._known[key] = content(*key, base=self._folder)
            except (ProblemSetError, RegistryError) as error:
                raise AskedError(" ".join(str(error).split())) from error
            except Exception as error:  # a plug-in's set is foreign code and may raise anything
                raise AskedError(f"{asked.reference} does not give problems ({type(error).__name__}: "
                                 f"{' '.join(str(error).split())})") from error
        return self._known[key]


def asked_by(config: Stage, seed: int) -> list[Asks]:
    """What a stage says that it asks; `seed` is the stage's. Raises AskedError where saying so fails."""
    try:
        return list(config.asks(seed))
    except Exception as error:  # a stage may be anyone's code
        raise AskedError(f"`asks` of {type(config).__qualname__} fails ({type(error).__name__}: "
                         f"{' '.join(str(error).split())})") from error


def edited(problems: Mapping[str, str], asked: Sequence[Asks], folder: Path) -> list[str]:
    """The references of sets that do not hold any more what they held when the hashes `problems` were made, or whose
    verifiers were edited since."""
    contents = Contents(folder)
    found: list[str] = []
    for one in asked:
        if one.reference not in problems:
            continue
        try:
            held = contents.of(one)
        except AskedError:  # what cannot be had now is not what the stage has asked
            continue
        if held not in (None, problems[one.reference]):
            found.append(one.reference)
    return found
