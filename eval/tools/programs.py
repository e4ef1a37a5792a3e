"""Tool `python`: programs in the sandbox, each in a process of its own that knows nothing of those before it."""

import json

from rewards.sandbox.frames import Ended, Late, TooMuch
from rewards.sandbox.pool import sandbox

SECONDS = 5.0
MEGABYTES = 512
LONGEST_PROGRAM = 64_000


def python(code: str) -> str:
    """Runs a Python program and says what it prints. Nothing is kept from one program to the next.

    Args:
        code: The program. It has no input, no network and no files; results have to be printed.
    """
    if len(code) > LONGEST_PROGRAM:
        raise ValueError(f"a program of more than {LONGEST_PROGRAM:,} characters")
    try:
        what, said = json.loads(sandbox.answer({"mode": "print", "code": code, "stdin": ""}, SECONDS, MEGABYTES))
    except Late as error:
        raise TimeoutError(f"it did not end within {SECONDS:g} seconds") from error
    except Ended as error:
        raise RuntimeError("its process ended before the program did") from error
    except (TooMuch, ValueError, TypeError, RecursionError) as error:
        raise RuntimeError("it printed too much") from error
    if what != "value":
        raise RuntimeError(str(said))
    return str(said) or "(it printed nothing)"
