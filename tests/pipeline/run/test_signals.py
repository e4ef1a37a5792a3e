"""Who hears what, tried in processes of their own."""

import signal
import subprocess
import sys

LISTENING = """
import os, signal, subprocess, sys
from pipeline.run import signals
signals.hear_through_srun()
signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM", flush=True))
child = subprocess.Popen(["sleep", "60"])
print("ready", flush=True)
while not sys.stdin.readline():
    pass
child.send_signal(signal.SIGUSR2)
child.terminate()
print(child.wait())
"""


def test_what_srun_passes_on_is_sigterm_and_nothing_to_what_was_started_from_there() -> None:
    listening = subprocess.Popen([sys.executable, "-c", LISTENING], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 text=True)
    assert listening.stdin is not None
    assert listening.stdout is not None
    with listening:
        assert listening.stdout.readline() == "ready\n"
        listening.send_signal(signal.SIGUSR2)
        assert listening.stdout.readline() == "SIGTERM\n"
        listening.stdin.write("go on\n")
        listening.stdin.flush()
        assert listening.stdout.read() == f"{-signal.SIGTERM}\n"
