"""What carries tasks out, behind one small interface: processes of this machine, or this process.

An executor is given tasks and gives futures. A future's result is a `RunRecord` for each job, also
for a run that failed by itself; `Crashed`, `TimeoutError` and `TaskFailed` are for what only an
executor can see. Each executor has a file: `processes.py`, `slurm.py` and `ray_cluster.py`.
"""

import signal
from concurrent.futures import Future
from typing import Protocol

from optsweep.execution.task import Task
from optsweep.records.run import RunRecord


class Crashed(Exception):
    """A worker's process ended in the middle of a task; the message says how."""


class Executor(Protocol):
    """Carries tasks out, `workers` at a time."""

    workers: int

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Takes a task, to be started as soon as a worker is free."""

    def start(self) -> None:
        """Starts what was submitted: together, where it is handed over to somebody else."""

    def stop(self) -> None:
        """Ends running tasks at once and drops waiting ones."""

    def close(self) -> None:
        """Ends the workers, all tasks being done."""


def signal_name(number: int) -> str:
    """A signal's name; most of the real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
