"""Calls people's own tools. Run as a script by eval.tools.foreign, never imported.

A request is a pickled (entry, hash of its source, arguments), which comes from our own process. The answer is OK and
what the tool says, FAILED and why it says nothing, in one line, or UNUSABLE and why it cannot be called.
"""

import pickle
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # until the search path comes
from rewards.conventions.awaiting import results
from rewards.frames import FAILED, OK, UNUSABLE, read_frame, write_frame
from rewards.pipe_ends import begin, ready

LONGEST = 1_000_000
"""Characters that go back; nobody reads as many."""


def main() -> None:
    requests, answers = begin()
    ready(requests, answers)
    while True:
        request = read_frame(requests)[8:]
        try:
            entry, source, arguments = pickle.loads(request)
            if source and entry.source_hash() != source:
                raise RuntimeError("it was edited since the run began; run it again")
            tool = entry.load()
        except BaseException as error:  # of a module that is not ours
            write_frame(answers, UNUSABLE, _told(error))
            continue
        try:
            [said] = results([tool(**arguments)])
            write_frame(answers, OK, str(said)[:LONGEST].encode(errors="replace"))
        except BaseException as error:  # sys.exit in a tool, among others
            write_frame(answers, FAILED, f"{type(error).__name__}: ".encode() + _told(error))


def _told(error: BaseException) -> bytes:
    return " ".join(str(error).split())[:300].encode(errors="replace")


if __name__ == "__main__":
    main()
