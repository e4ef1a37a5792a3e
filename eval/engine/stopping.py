"""Texts that end a rollout."""

from collections.abc import Callable, Sequence


class Stopping:
    """Whether what was written ends with one of the `stop` texts, or holds one that its last token completed.

    At every token only the end of what was written is decoded: enough tokens for the longest stop text even where each
    token is a single byte. Raises ValueError without `decode`.
    """

    def __init__(self, stop: Sequence[str], decode: Callable[[list[int]], str] | None) -> None:
        if decode is None:
            raise ValueError("texts can stop a rollout only where the engine was given a way to decode")
        self.stop, self.decode = tuple(stop), decode
        # Some more, since the first tokens of a tail may decode otherwise than inside a text: a character that is cut,
        # a leading space that is dropped.
        self.reach = max(len(text.encode()) for text in stop) + 8

    def ends(self, ids: list[int]) -> bool:
        """Whether these ids hold a stop text within their last tokens."""
        tail = self.decode(ids[-self.reach :])
        return any(text in tail for text in self.stop)
