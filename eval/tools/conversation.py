"""Rollouts with turns: a model writes until it makes a call, is shown what the tool says, and goes on."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from eval.answer_reader import AnswerReader
from eval.engine.types import Engine, Request, Sampled, Sampling, Written, rollout_seed
from eval.forcing import joined
from eval.tools.box import Toolbox
from rewards.background import Background

Place = tuple[int, int]
"""The places of a request and of one of its seeds."""


class Conversations:
    """Draws rollouts in which calls are answered.

    `sampling.max_tokens` bounds a whole completion, what tools say included; a completion whose last call found no turn
    or no room any more is unfinished, unless it ended its turn by itself as chat models do. The tokens of what tools
    say have log-probability 0. Token ids of earlier turns stay as they were drawn. Each turn has a stream of its own,
    so that a rollout is the same whatever shares its batch.
    """

    def __init__(
        self, engine: Engine, reader: AnswerReader, box: Toolbox, requests: Sequence[Request], sampling: Sampling,
        written: Written | None = None,
    ) -> None:
        self.engine, self.reader, self.box = engine, reader, box
        self.requests, self.sampling, self.written = requests, sampling, written
        self.found: dict[Place, Sampled] = {}
        self._shown: dict[Place, Future[list[int]]] = {}

    def sample(self, progress: Callable[[int, int], None] | None = None) -> list[list[Sampled]]:
        """Of each request a rollout for each of its seeds."""
        # Tools are asked while others are still written.
        with Background() as background:
            places = [[(place, index) for index in range(len(one.seeds))] for place, one in enumerate(self.requests)]
            self._turn(background, self.requests, places, {}, progress)
            for turn in range(1, self.box.use.turns + 1):
                shown = self._room({place: future.result() for place, future in self._shown.items()})
                self._shown.clear()
                if not shown:
                    break
                self._turn(background, [self._next(place, ids, turn) for place, ids in shown.items()],
                           [[place] for place in shown], shown, None, last=turn == self.box.use.turns)
        return [[self.found[place, index] for index in range(len(one.seeds))]
                for place, one in enumerate(self.requests)]

    def _turn(
        self, background: Background, requests: Sequence[Request], places: Sequence[Sequence[Place]],
        shown: dict[Place, list[int]], progress: Callable[[int, int], None] | None, *, last: bool = False,
    ) -> None:
        """One turn of all rollouts that are at it, each behind what it is shown."""
        ends = (*self.sampling.stop, *self.box.form.stops)

        def done(request: int, index: int, drawn: Sampled) -> None:
            place = places[request][index]
            opened = self.reader.opens(requests[request].prompt)
            calls = self.box.calls(drawn.ids, opened=opened, ended=drawn.finished)
            begun = self.found.get(place, Sampled([], [], False))
            if calls and self.box.form.stops:
                drawn = replace(drawn, finished=False)  # such a call is no end
            self.found[place] = joined(begun, shown.get(place, []), drawn)
            if calls and not last:
                self._shown[place] = background.submit(self.box.shown, calls, drawn.ids[-1])
            elif self.written:
                self.written(*place, self.found[place])

        self.engine.sample(requests, replace(self.sampling, stop=ends), progress, done)

    def _left(self, place: Place, shown: list[int]) -> int:
        """Tokens that a rollout may still draw behind what it is shown."""
        return self.requests[place[0]].most(self.sampling) - len(self.found[place].ids) - len(shown)

    def _room(self, shown: dict[Place, list[int]]) -> dict[Place, list[int]]:
        """What is shown to those that have room for it and for a token more, in the order of their places; the others
        are done."""
        fitting = {place: ids for place, ids in sorted(shown.items()) if self._left(place, ids) > 0}
        for place in sorted(set(shown).difference(fitting)):
            if self.written:
                self.written(*place, self.found[place])
        return fitting

    def _next(self, place: Place, shown: list[int], turn: int) -> Request:
        request, index = self.requests[place[0]], place[1]
        return Request([*request.prompt, *self.found[place].ids, *shown],
                       [rollout_seed("turn", turn, request.seeds[index])], self._left(place, shown))
