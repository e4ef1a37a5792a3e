"""`python -m pipeline.run.accelerated ..`: `accelerate launch`, whose processes leave to the runner what it is to hear.

Ignored signals stay ignored in what a process starts; accelerate's launcher would be ended by them, and its stage with
it, without a checkpoint. What srun has started hears the runner through srun.
"""

import runpy
import signal
import sys

from pipeline.run import slurm
from pipeline.run.signals import hear_through_srun, leave_to_the_runner

if __name__ == "__main__":
    leave_to_the_runner(signal.SIGHUP, signal.SIGUSR1)
    if slurm.on_several(sys.argv[1:]):
        hear_through_srun()
        sys.argv[1:1] = slurm.rank()
    runpy.run_module("accelerate.commands.launch", run_name="__main__", alter_sys=True)
