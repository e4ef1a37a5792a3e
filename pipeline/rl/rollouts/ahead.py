"""Rollouts that are one round ahead: a server draws the next round while this one is trained on.

What is trained on then was drawn by the policy of a round before. Its probabilities are known, and truncated
importance sampling weighs by them, as it does for a server's own rounding. (Noukhovitch et al. 2024, arXiv 2410.18252,
train one step off; what is left out are their losses, for which they do without weights.)
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from eval.engine.types import Sampled
from pipeline.rl.rollouts.drawing import Visit

Round = tuple[list[Visit], list[Sampled]]
"""What was asked, and what was drawn for it."""


class Ahead:
    """`draw` is done in a thread of its own, of which no process that ends waits for the end. Nothing of it is in a
    checkpoint: a training that goes on draws the round that it begins with anew, with the weights of then."""

    def __init__(self, draw: Callable[[list[Visit]], Round]) -> None:
        self.draw = draw
        self._begun: tuple[list[Visit], Future[Round]] | None = None

    def begin(self, visits: Sequence[Visit]) -> None:
        """Begin to draw a round, with the weights that the server has now."""
        future: Future[Round] = Future()
        asked = list(visits)

        def work() -> None:
            try:
                future.set_result(self.draw(asked))
            except Exception as error:  # told where the round is asked for
                future.set_exception(error)

        self._begun = asked, future
        threading.Thread(target=work, name="ahead", daemon=True).start()

    def take(self, visits: Sequence[Visit]) -> Round | None:
        """The round of these visits, waited for; None where another or none was begun. Raises what drawing it has
        raised."""
        begun, self._begun = self._begun, None
        return begun[1].result() if begun and begun[0] == list(visits) else None
