"""What happens in a Slurm job: it runs its task, and resumes it when it is requeued.

submitit requeues a job that is preempted or out of time; it then resumes from the checkpoint of its
last epoch. A job that its launcher has given up, or whose launcher gives no sign of life any more,
ends itself.
"""

import functools
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from optsweep.config.launchers import SlurmLaunch
from optsweep.errors import StackFailed
from optsweep.execution.executor import Task
from optsweep.execution.worker import log_to_output, run_task
from optsweep.records.run import RunRecord
from optsweep.runs.status_file import STATUS_FILE, read_status

ALIVE = "alive"  # in the folder of the sweep's jobs: the launcher's sign of life
_ABANDONED = 300.0  # seconds without it after which a job ends itself
_GLANCE = 5.0  # seconds between two looks for it


class SlurmTask:
    """What a Slurm job does: runs its task, and resumes it when it is requeued."""

    def __init__(self, launch: SlurmLaunch) -> None:
        self._timeout = launch.timeout
        self._path = sys.path[:]  # a user's own modules are looked for where they were found here

    def __call__(self, task: Task) -> list[RunRecord] | StackFailed:
        """Returns the task's records; a stack's failure is returned too, for the launcher."""
        import submitit

        sys.path.extend(entry for entry in self._path if entry not in sys.path)
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)):
            task = resumed(task)
        log_to_output()
        _leave_when_requeued()
        paths = submitit.JobEnvironment().paths
        unwanted = functools.partial(
            _end_when_unwanted, paths.folder / ALIVE, paths.submitted_pickle, paths.result_pickle
        )
        threading.Thread(target=unwanted, daemon=True).start()
        try:
            return run_task(task, self._timeout)
        except StackFailed as failure:
            return failure

    def checkpoint(self, task: Task) -> Any:
        """What submitit puts into the queue again: the same; checkpoints are in the runs' folders.

        A job with this method is requeued by submitit when it is out of time.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, task)


def resumed(task: Task) -> Task:
    """The task with the MLflow runs of an earlier attempt, to be resumed."""
    ids = [job.run_id or read_status(job.folder / STATUS_FILE).get("run_id") for job in task.jobs]
    jobs = [
        replace(job, run_id=str(run_id) if run_id else None)
        for job, run_id in zip(task.jobs, ids, strict=True)
    ]
    return replace(task, jobs=jobs)


def _leave_when_requeued() -> None:
    """Lets submitit requeue the job, and then ends at once.

    Its own exit is an exception, which would pass through the training and mark the run as FAILED
    though it continues. All that it resumes from is on the disk.
    """
    requeue: Any = signal.getsignal(signal.SIGUSR2)

    def leave(number: int, frame: Any) -> None:
        try:
            requeue(number, frame)
        except SystemExit:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    signal.signal(signal.SIGUSR2, leave)


def _end_when_unwanted(sign: Path, submission: Path, result: Path) -> None:
    """Ends the job when its launcher has taken its submission back, or leaves no sign of life.

    Slurm may have lost sight of a job that lives: its task is another's then.
    """
    seen, since, missing = "", time.monotonic(), 0
    while time.monotonic() - since < _ABANDONED and missing < 2:  # submitit may be replacing it
        time.sleep(_GLANCE)
        try:
            found = sign.read_text()
            gone = not submission.exists() and not result.exists()
        except (OSError, ValueError):
            found, gone = seen, False  # the storage is away
        missing = missing + 1 if gone else 0
        if found != seen:
            seen, since = found, time.monotonic()
    why = "was given up" if missing else "has no sign of its launcher"
    print(f"the job on {socket.gethostname()} {why}; ending", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
