"""Calls reward functions of other libraries. Run as a script by rewards.conventions.remote, never imported.

A request is a pickled (entry, hash of its source, options, Ask), which comes from our own process. The answer is OK and
the fields of every `Scored` as JSON, or FAILED and why there is none, in one line.
"""

import json
import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # until the search path comes
from rewards.frames import FAILED, OK, read_frame, write_frame
from rewards.pipe_ends import begin, ready


def main() -> None:
    requests, answers = begin()
    # Not at the top: what functions import is found only on the search path that has just come.
    from rewards.conventions.bind import bound
    from rewards.conventions.scoring import Scoring
    from rewards.errors import RetortError
    from rewards.scores import RubricError

    known: dict[tuple[str, str, str, str], Scoring] = {}
    ready(requests, answers)
    while True:
        request = read_frame(requests)[8:]
        name = "a reward function"
        try:
            entry, source, options, ask = pickle.loads(request)
            name = f"{entry.kind} {entry.reference!r}, for problem {ask.problem.id!r},"
            key = entry.reference, entry.target, source, repr(options)
            if key not in known:
                if source and entry.source_hash() != source:
                    raise RubricError(f"{name} was edited since the run began; run it again")
                known[key] = bound(entry, options)
            found = [[one.value, dict(one.parts), one.right, one.answer] for one in known[key].score(ask)]
            write_frame(answers, OK, json.dumps(found).encode())
        except RetortError as error:
            write_frame(answers, FAILED, " ".join(str(error).split()).encode(errors="replace"))
        except BaseException as error:  # sys.exit in a function, among others
            said = f"{name} failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            write_frame(answers, FAILED, said.encode(errors="replace"))


if __name__ == "__main__":
    main()
