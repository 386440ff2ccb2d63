"""What happens in a job of Slurm's: its task is carried out, and gone on with when it is requeued.

A job that is preempted or out of time is put into the queue again by submitit, and goes on from the
checkpoint of its last epoch. One whose launcher gives no sign of life any more ends itself.
"""

import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from optsweep.engines import SlurmLaunch
from optsweep.errors import StackFailed
from optsweep.progress import NOTE, read_note
from optsweep.results import RunRecord
from optsweep.worker import Task, carry, log_to_output

ALIVE = "alive"  # in the folder of the sweep's jobs: the launcher's sign of life
_ABANDONED = 300.0  # seconds without it after which a job ends itself


class Carry:
    """What a Slurm job does: carries its task out, and goes on with it when it is requeued."""

    def __init__(self, launch: SlurmLaunch) -> None:
        self._timeout = launch.timeout

    def __call__(self, task: Task) -> list[RunRecord] | StackFailed:
        """Returns the task's records; a stack's failure is returned too, for the launcher."""
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)):
            task = gone_on_with(task)
        log_to_output()
        _leave_when_requeued()
        folder = Path(os.environ["SUBMITIT_FOLDER"])
        threading.Thread(target=_end_when_abandoned, args=(folder / ALIVE,), daemon=True).start()
        try:
            return carry(task, self._timeout)
        except StackFailed as failure:
            return failure

    def checkpoint(self, task: Task) -> Any:
        """What submitit puts into the queue again: the same; checkpoints are in the runs' folders.

        Having this method tells submitit that a job which is out of time may go on.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, task)


def gone_on_with(task: Task) -> Task:
    """The task as an earlier attempt left it: its runs in MLflow are gone on with."""
    ids = [job.run_id or read_note(job.folder / NOTE).get("run_id") for job in task.jobs]
    jobs = [
        replace(job, run_id=str(run_id) if run_id else None)
        for job, run_id in zip(task.jobs, ids, strict=True)
    ]
    return replace(task, jobs=jobs)


def _leave_when_requeued() -> None:
    """Lets submitit requeue the job, and then ends at once.

    Its own exit is an exception, which would pass through the training and mark the run as FAILED
    though it goes on. All that it goes on from is on the disk.
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


def _end_when_abandoned(sign: Path) -> None:
    """Ends the job when the launcher leaves no sign of life any more."""
    seen, since = "", time.monotonic()
    while time.monotonic() - since < _ABANDONED:
        time.sleep(5)
        try:
            found = sign.read_text()
        except OSError:
            found = ""
        if found != seen:
            seen, since = found, time.monotonic()
    print(f"no sign of the launcher on {socket.gethostname()}; ending", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
