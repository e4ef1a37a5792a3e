"""Verifier `gym`: what reasoning-gym's own scorer of a problem's generator says.

The gold answer is {"generator": name, "seed": s, "index": i}; the scorer's process makes the problem again from it,
since some problems hold what JSON does not. A score of 1 is CORRECT, anything less WRONG, with the score as `share`; an
answer over which a scorer raises that takes the problem's own is WRONG, too.
Scorers are foreign code over model-written text (some parse it as an expression), so they run in a process of their own
that is killed after `SECONDS`; it is not a sandbox.
"""

import json
from pathlib import Path

from rewards.extract import extract_answer
from rewards.frames import OK
from rewards.types import Completion, Label, Problem, Verdict
from rewards.workers import Pool, Worker

SECONDS = 10.0

_scorers = Pool(lambda: Worker(Path(__file__).parent / "gym_scorer.py", search_path=True))


def verify(problem: Problem, completion: Completion) -> Verdict:
    """The verdict on a completion. UNGRADABLE where the scorer fails, is late, or reasoning-gym is not installed."""
    found = extract_answer(completion)
    if found.text is None:
        return Verdict(Label.NO_ANSWER, None, found.where)
    shown = found.text if len(found.text) <= 200 else found.text[:197] + "..."
    request = json.dumps({**problem.answer, "answer": found.text}).encode()
    try:
        with _scorers.worker() as scorer:
            status, data = scorer.ask(request, SECONDS)
    except (RuntimeError, OSError) as error:
        return Verdict(Label.UNGRADABLE, shown, f"{error} (pip install 'retort[gym]'?)")
    if status != OK:
        return Verdict(Label.UNGRADABLE, shown, data.decode() or f"the scorer did not answer within {SECONDS:g} s")
    # Scorers of reasoning-gym give a little for a wrong answer of the right form. They are foreign code, so what is no
    # share is made one.
    score = min(1.0, max(0.0, float(data)))
    right = score >= 1.0
    return Verdict(Label.CORRECT if right else Label.WRONG, shown, f"the scorer gives {score:g}", share=score)


def close() -> None:
    """End the scorers' processes."""
    _scorers.close()
