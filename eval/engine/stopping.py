"""Texts that end a rollout."""

from collections.abc import Callable, Sequence


class Stopping:
    """Whether what was written ends with one of the `stop` texts, or holds one that its last token completed.

    The end of the text alone is decoded at every token, which is enough tokens for the longest text even where each is
    a part of a character. Raises ValueError without `decode`.
    """

    def __init__(self, stop: Sequence[str], decode: Callable[[list[int]], str] | None) -> None:
        if decode is None:
            raise ValueError("texts can stop a rollout only where the engine was given a way to decode")
        self.stop, self.decode = tuple(stop), decode
        self.reach = max(len(text.encode()) for text in stop) + 8

    def ends(self, ids: list[int]) -> bool:
        """Whether these ids hold a stop text within their last tokens."""
        tail = self.decode(ids[-self.reach :])
        return any(text in tail for text in self.stop)
