"""A display whose reader may go away in the middle of a run, and whose log may find no room."""

from collections.abc import Callable, Mapping
from typing import ParamSpec

from pipeline.run.display.progress import Display

P = ParamSpec("P")


class UntilGone(Display):
    """Another display, for as long as it can be shown.

    What cannot be written ends no run by itself: `failed` is called with the error, and says whether what comes after
    it is shown. Where it is not, nothing is shown any more.
    """

    def __init__(self, inner: Display, failed: Callable[[OSError], bool]) -> None:
        self._inner, self._failed = inner, failed
        self._is_shown = True

    def started(self, stage: str, kind: str) -> None:
        self._tell(self._inner.started, stage, kind)

    def at_work(self, stage: str) -> None:
        self._tell(self._inner.at_work, stage)

    def progress(self, stage: str, done: float, total: float, figures: Mapping[str, object]) -> None:
        self._tell(self._inner.progress, stage, done, total, figures)

    def note(self, stage: str, text: str) -> None:
        self._tell(self._inner.note, stage, text)

    def log(self, stage: str, text: str) -> None:
        self._tell(self._inner.log, stage, text)

    def finished(self, stage: str, seconds: float, metrics: Mapping[str, object]) -> None:
        self._tell(self._inner.finished, stage, seconds, metrics)

    def reused(self, stage: str, artifact: str) -> None:
        self._tell(self._inner.reused, stage, artifact)

    def failed(self, stage: str, message: str) -> None:
        self._tell(self._inner.failed, stage, message)

    def say(self, text: str) -> None:
        self._tell(self._inner.say, text)

    def refresh(self) -> None:
        self._tell(self._inner.refresh)

    def close(self) -> None:
        self._tell(self._inner.close)

    def ended(self, code: int) -> None:
        self._tell(self._inner.ended, code)

    def _tell(self, tell: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        if not self._is_shown:
            return
        try:
            tell(*args, **kwargs)
        except OSError as error:
            self._is_shown = self._failed(error)
