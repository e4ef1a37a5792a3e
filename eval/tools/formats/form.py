"""What a form of calls has to say."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from eval.tools.tool import Call, Tool


class CallForm(Protocol):
    """`stops` are texts with which a turn ends that makes a call, besides the tokens that end an answer."""

    stops: tuple[str, ...]

    def calls(self, turn: str, tools: Mapping[str, Tool], *, ended: bool) -> list[Call]:
        """The calls of a turn, as the model wrote it with its special tokens, behind `<think>` where its prompt opened
        the thinking; `ended` where it ended by itself."""
        ...

    def shown(self, said: Sequence[str], last: int) -> list[int]:
        """The token ids by which the model is shown what its calls came to, up to where it goes on; `last` is the
        token that its turn ended with."""
        ...
