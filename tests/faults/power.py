"""A rule that ends its stage's processes at given calls, counted over all attempts; else it is any other rule."""

import os
import signal
from pathlib import Path

from rewards.types import Completion, Problem


def cut(_problem: Problem, completion: Completion) -> float:
    """Shorter completions are better."""
    with Path(os.environ["CALLS"]).open("ab") as stream:
        stream.write(b".")
        stream.flush()
        count = stream.tell()
    if str(count) in os.environ["CUTS"].split():
        os.killpg(0, signal.SIGKILL)
    return -completion.tokens / 24
