"""What carries tasks out, behind one small interface: processes of this machine, or this process.

An executor is given tasks and gives futures. A future's result is a `RunRecord` for each job, also
for a run that failed by itself; `Crashed`, `TimeoutError` and `TaskFailed` are for what only an
executor can see. Each executor has a file: `processes.py`, `slurm.py` and `ray_cluster.py`.
"""

import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from optsweep.config.launchers import ClusterLaunch, Launch, RayLaunch, SlurmLaunch
from optsweep.config.settings import Settings
from optsweep.errors import StackFailed, TaskFailed, describe
from optsweep.execution.worker import Task, carry
from optsweep.records.run import RunRecord
from optsweep.system.cores import cores


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


class InProcess:
    """Carries a task out where it is submitted, without isolation: for debuggers."""

    workers = 1

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Returns when the task is done."""
        future: Future[list[RunRecord]] = Future()
        try:
            future.set_result(carry(task))
        except StackFailed as failure:
            future.set_exception(failure)
        except Exception as error:  # one task's failure, as in a process of its own
            future.set_exception(TaskFailed(describe(error)))
        return future

    def start(self) -> None:
        """Nothing waits."""

    def stop(self) -> None:
        """Nothing runs beside the caller."""

    def close(self) -> None:
        """Nothing was started."""


def signal_name(number: int) -> str:
    """A signal's name; most of the real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def make_executor(
    launch: Launch, workers: int, folder: Path, say: Callable[[str], None]
) -> Executor:
    """The executor that the launcher's settings ask for.

    `folder` is the sweep's; `say` tells the person at the terminal what an executor does.
    """
    if isinstance(launch, SlurmLaunch):
        from optsweep.execution.slurm.executor import SlurmJobs

        return SlurmJobs(launch, folder, say)
    if isinstance(launch, RayLaunch):
        from optsweep.execution.ray.executor import RayTasks

        return RayTasks(launch, workers, say)
    if not workers:
        return InProcess()
    from optsweep.execution.local import LocalProcesses

    return LocalProcesses(workers, launch.timeout)


def count_workers(launch: Launch, settings: Settings, jobs: int) -> int:
    """How many workers carry `jobs` jobs out: 0 stands for this process.

    Auto is as many as there are cores on a CPU, and one for each visible CUDA device. A cluster
    takes all jobs at once where it is not told otherwise.
    """
    if isinstance(launch, ClusterLaunch):
        return min(launch.workers or jobs, jobs)
    if launch.workers is not None:
        return min(launch.workers, jobs)
    if settings.device == "cuda":
        return min(cuda_devices(), jobs)
    return min(cores(), jobs) if settings.device == "cpu" else 1


def cuda_devices() -> int:
    """The CUDA devices that this process may use."""
    import torch

    return torch.cuda.device_count()
