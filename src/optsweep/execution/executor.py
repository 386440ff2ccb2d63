"""The interface of executors: what runs tasks.

An executor is given tasks and returns futures. A future's result is a `RunRecord` for each job,
also for a run that failed by itself; `Crashed`, `TimeoutError` and `TaskFailed` are for failures
that only an executor can see. The executors: `in_process.py`, `local.py`, `slurm/` and `ray/`.
"""

import signal
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from optsweep.records.run import RunRecord
from optsweep.runs.job import Job


@dataclass(frozen=True)
class Task:
    """One job, or the jobs of one stack, and where they are logged.

    It is pickled to reach a worker, and names the store instead of holding it.
    """

    jobs: Sequence[Job]
    uri: str
    experiment_id: str
    parent: str | None
    owner: str
    figures: bool
    verbose: Sequence[str] = ()  # the loggers that log what is for debugging


class Crashed(Exception):
    """A worker's process ended in the middle of a task; the message says how."""


class Executor(Protocol):
    """Runs tasks, `workers` at a time; `factory.py` makes the one that the settings ask for."""

    workers: int

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Takes a task, which starts as soon as a worker is free.

        Args:
            task: what to run; it is pickled where a worker is another process.

        Returns:
            A future of the task's records, one for each job.

        Raises:
            Through the future: `Crashed`, `TimeoutError`, `TaskFailed` or `StackFailed`.
        """

    def start(self) -> None:
        """Starts the submitted tasks, together where a cluster gets them.

        Raises:
            SettingsError: the cluster refuses what is asked of it.
        """

    def stop(self) -> None:
        """Ends running tasks at once and drops waiting ones; raises nothing."""

    def close(self) -> None:
        """Ends the workers, all tasks being done."""


def signal_name(number: int) -> str:
    """A signal's name; most of the real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
