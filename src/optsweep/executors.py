"""What carries tasks out, behind one small interface: processes of this machine, or this process.

An executor is given tasks and gives futures. A future's result is a `RunRecord` for each job, also
for a run that failed by itself; `Crashed` and `TimeoutError` are for what only an executor can see.
Clusters have a file each, `slurm.py` and `ray_cluster.py`.
"""

import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from optsweep.cores import cores
from optsweep.engines import ClusterLaunch, RayLaunch, SlurmLaunch
from optsweep.errors import StackFailed
from optsweep.results import RunRecord
from optsweep.server import start_server
from optsweep.settings import Launch, Settings
from optsweep.worker import Task, carry, prepare

# Tasks until a worker is replaced: what a library leaks in a run stays bounded.
_TASKS_A_WORKER = 100


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
        return future

    def start(self) -> None:
        """Nothing waits."""

    def stop(self) -> None:
        """Nothing runs beside the caller."""

    def close(self) -> None:
        """Nothing was started."""


class LocalProcesses:
    """Processes forked from a server that has everything imported; a crash hurts one task."""

    def __init__(self, workers: int, timeout: float | None = None) -> None:
        from pebble import ProcessPool

        self.workers = workers
        self._timeout = timeout
        context = start_server()
        # The launcher keeps the writing end and never writes: it closes when the launcher dies.
        reader, self._alive = context.Pipe(duplex=False)
        self._pool: Any = ProcessPool(
            max_workers=workers,
            max_tasks=_TASKS_A_WORKER,
            initializer=prepare,
            initargs=(reader,),
            context=context,
        )

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Hands the task to the pool; its time counts from when a worker takes it."""
        from pebble import ProcessExpired

        future: Future[list[RunRecord]] = Future()

        def settle(done: "Future[list[RunRecord]]") -> None:
            if done.cancelled():
                future.cancel()
            elif isinstance(error := done.exception(), ProcessExpired):
                future.set_exception(Crashed(_how(error.exitcode)))
            elif error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        # A stack may take as long as its runs one after another.
        timeout = self._timeout and self._timeout * len(task.jobs)
        self._pool.schedule(carry, args=(task,), timeout=timeout).add_done_callback(settle)
        return future

    def start(self) -> None:
        """The pool starts a task by itself."""

    def stop(self) -> None:
        """Terminates the workers."""
        self._pool.stop()
        self._pool.join()

    def close(self) -> None:
        """Waits for the workers' end."""
        self._pool.close()
        self._pool.join()


def _how(exit_code: int | None) -> str:
    """An exit code in words; a negative one names the signal."""
    if exit_code is None:
        return "its process was lost"
    if exit_code < 0:
        return f"its process was killed by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit code {exit_code}"


def make_executor(
    launch: Launch, workers: int, folder: Path, say: Callable[[str], None]
) -> Executor:
    """The executor that the launcher's settings ask for.

    `folder` is the sweep's; `say` tells the person at the terminal what an executor does.
    """
    if isinstance(launch, SlurmLaunch):
        from optsweep.slurm import SlurmJobs

        return SlurmJobs(launch, folder, say)
    if isinstance(launch, RayLaunch):
        from optsweep.ray_cluster import RayTasks

        return RayTasks(launch, workers, say)
    return LocalProcesses(workers, launch.timeout) if workers else InProcess()


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

