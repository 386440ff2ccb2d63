"""Carries tasks out as jobs of a Slurm cluster, by submitit.

All runs of a sweep are one array job. A job leaves its result on the storage that its node and
this machine share; whether it still lives is asked of `squeue`, which knows it without accounting.
A job that is preempted or out of time is put into the queue again, and goes on from the checkpoint
of its last epoch.
"""

import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optsweep.engines import SlurmLaunch
from optsweep.errors import SettingsError
from optsweep.executors import Crashed
from optsweep.results import RunRecord
from optsweep.slurm_commands import cancel, end_of, queue
from optsweep.slurm_job import ALIVE, Carry
from optsweep.worker import Task, last_lines, output_to

log = logging.getLogger(__name__)

_GLANCE = 1.0  # seconds between two looks for results
_QUESTION = 5.0  # seconds between two questions to squeue
_GRACE = 10.0  # seconds that the result of a job which has left the queue may take to be seen
_PATIENCE = 600.0  # seconds after which a Slurm that does not answer has lost its jobs
_AT_ONCE = 1000  # tasks of an array job; Slurm's own limit is one more, where nobody changed it
_JOBS = "jobs"  # in the folder: the ids of all that was submitted


@dataclass
class _Submitted:
    """A job in Slurm's hands; `gone` is when it was first missed in the queue."""

    job: Any
    future: "Future[list[RunRecord]]"
    gone: float | None = None


class SlurmJobs:
    """Jobs of a Slurm cluster; `folder`, on shared storage, holds what they are told and say."""

    def __init__(self, launch: SlurmLaunch, folder: Path, say: Callable[[str], None]) -> None:
        import submitit

        self.workers = sys.maxsize  # all are handed over at once; how many run is Slurm's affair
        self._launch = launch
        self._folder = folder / "slurm"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # tasks name the store
        self._say = say
        self._waiting: list[tuple[Task, Future[list[RunRecord]]]] = []
        self._submitted: dict[str, _Submitted] = {}
        self._answered = time.monotonic()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._cancel_left()
        self._sign()
        self._executor = submitit.AutoExecutor(
            folder=self._folder, cluster="slurm", slurm_max_num_timeout=launch.requeues
        )
        self._executor.update_parameters(**_parameters(launch))
        self._watch = threading.Thread(target=self._watch_jobs, daemon=True)
        self._watch.start()

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Keeps the task for `start`."""
        future: Future[list[RunRecord]] = Future()
        self._waiting.append((task, future))
        return future

    def start(self) -> None:
        """Submits what is kept as one array job.

        Raises:
            SettingsError: Slurm refuses what is asked of it.
        """
        while self._waiting:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            said = self._folder / "sbatch.log"
            try:
                with output_to(said):
                    tasks = [task for task, _ in batch]
                    jobs = self._executor.map_array(Carry(self._launch), tasks)
            except Exception as error:  # submitit has one of its own
                reason = next(iter(last_lines(said).splitlines()), _said(error))
                raise SettingsError(
                    f"hydra/launcher=slurm: sbatch refuses the jobs ({reason}); see "
                    "hydra.launcher.partition, time, cpus, gpus, memory and options"
                ) from error
            with self._lock:
                for job, (_, future) in zip(jobs, batch, strict=True):
                    self._submitted[job.job_id] = _Submitted(job, future)
                    future.set_running_or_notify_cancel()
            with (self._folder / _JOBS).open("a") as file:
                file.writelines(f"{job.job_id}\n" for job in jobs)

    def stop(self) -> None:
        """Cancels all jobs that were submitted here and waits until they are gone."""
        self._closing.set()
        with self._lock:
            ids = list(self._submitted)
        if not ids:
            return
        self._say(f"cancelling {len(ids)} Slurm jobs: {_shortened(ids)}")
        if left := cancel(ids):
            self._say(f"Slurm still holds {_shortened(left)}; type scancel {' '.join(left)}")

    def close(self) -> None:
        """Ends the watch, all jobs being done."""
        self._closing.set()
        self._watch.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _cancel_left(self) -> None:
        """Cancels what an earlier launcher of this sweep, which was killed, left in the queue."""
        listed = self._folder / _JOBS
        if listed.exists():
            cancel(listed.read_text().split())
            listed.unlink()

    def _sign(self) -> None:
        """Leaves a sign that the launcher lives, which its jobs look for."""
        (self._folder / ALIVE).write_text(str(time.time()))

    def _watch_jobs(self) -> None:
        asked = 0.0
        while not self._closing.wait(_GLANCE):
            try:
                with self._lock:
                    submitted = dict(self._submitted)
                for name, one in submitted.items():
                    if one.job.paths.result_pickle.exists():
                        self._settle(name, one)
                if submitted and time.monotonic() - asked > _QUESTION:
                    asked = time.monotonic()
                    self._sign()
                    self._look_for_lost()
            except OSError as error:  # shared storage has its moments
                log.warning("%s; trying again", error)

    def _settle(self, name: str, one: _Submitted) -> None:
        with self._lock:
            self._submitted.pop(name, None)
        try:
            result = one.job.result()
        except Exception as error:  # what submitit makes of an error in a job
            one.future.set_exception(Crashed(_said(error)))
            return
        if isinstance(result, BaseException):
            one.future.set_exception(result)
        else:
            one.future.set_result(result)

    def _look_for_lost(self) -> None:
        """Settles the jobs that have left the queue without a result."""
        with self._lock:
            submitted = dict(self._submitted)
        queued = queue()
        now = time.monotonic()
        if queued is None:
            if now - self._answered > _PATIENCE:
                for name in submitted:
                    self._lose(name, f"Slurm has not answered for {_PATIENCE / 60:.0f} minutes")
            return
        self._answered = now
        for name, one in submitted.items():
            if name in queued:
                one.gone = None
                if "launch failed" in queued[name]:  # held, and nobody would let it go
                    cancel([name])
                    self._lose(name, f"Slurm could not start it: {queued[name]}")
            elif one.gone is None:
                one.gone = now
            elif now - one.gone > _GRACE and not one.job.paths.result_pickle.exists():
                self._lose(name, f"its Slurm job {name} {end_of(name)}")

    def _lose(self, name: str, reason: str) -> None:
        with self._lock:
            one = self._submitted.pop(name, None)
        if one is not None:
            one.future.set_exception(Crashed(reason))


def _parameters(launch: SlurmLaunch) -> dict[str, Any]:
    """What submitit's executor is told, under its names."""
    parameters: dict[str, Any] = {
        "name": "optsweep",
        "timeout_min": launch.time,
        "cpus_per_task": int(launch.cpus),
        "slurm_use_srun": True,
        "slurm_signal_delay_s": 60,
        "slurm_additional_parameters": {"requeue": True, **launch.options},
    }
    if launch.gpus:
        parameters["gpus_per_node"] = int(launch.gpus)
    if launch.memory is not None:
        parameters["mem_gb"] = launch.memory
    if launch.partition is not None:
        parameters["slurm_partition"] = launch.partition
    if launch.workers is not None:
        parameters["slurm_array_parallelism"] = launch.workers
    return parameters


def _said(error: Exception) -> str:
    """The last thing that a failed command or job said."""
    lines = [line for line in str(error).strip().splitlines() if line.strip(" -")]
    return lines[-1].strip() if lines else type(error).__name__


def _shortened(ids: Sequence[str]) -> str:
    arrays = dict.fromkeys(name.partition("_")[0] for name in ids)
    return ", ".join(arrays)
