"""`python -m pipeline.run.accelerated ..`: `accelerate launch`, whose processes leave to the runner what it is to hear.

Ignored signals stay ignored in what a process starts; accelerate's launcher would be ended by them, and its stage with
it, without a checkpoint. What srun has started hears the runner through srun.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any  # what accelerate's parser has read

from pipeline.run import slurm
from pipeline.run.signals import hear_through_srun, leave_to_the_runner
from rewards.lazy import lazy

with lazy:  # signals may come while it loads
    from accelerate.commands import launch
    from accelerate.utils import launch as environments


def main() -> None:
    """`accelerate launch` with this process's arguments. Raises what it raises."""
    leave_to_the_runner(signal.SIGHUP, signal.SIGUSR1)
    if slurm.on_several(sys.argv[1:]):
        hear_through_srun()
        sys.argv[1:1] = slurm.rank()
    launch.simple_launcher = partial(_waiting, launch.simple_launcher)
    # Under DeepSpeed accelerate would add the current folder, whose files go before installed packages.
    environments.env_var_path_add = lambda name, _: os.environ.get(name, "")
    launch.main()


def _waiting(simple: Callable[[Any], None], args: Any) -> None:
    """By accelerate's launcher of one process, which SIGTERM would end beside a process that is at its checkpoint: that
    one has heard it, too. torch's launcher of several passes it on, and waits."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    simple(args)


if __name__ == "__main__":
    main()
