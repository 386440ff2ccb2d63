"""Runs tasks as jobs of a Slurm cluster, by submitit.

The runs of a sweep are one array job; with `max_parallel`, as many as may run, and one more
whenever one has ended. A job leaves its result on the storage that its node and this machine share;
whether it still lives is asked of `squeue`, which knows it without accounting. A Slurm that does
not answer has lost nothing: its jobs keep running, and so does the sweep. A job that is
preempted or out of time is requeued, and resumes from the checkpoint of its last epoch.
"""

import logging
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optsweep.config.launchers import SlurmLaunch
from optsweep.errors import SettingsError, StackFailed
from optsweep.execution.executor import Crashed, Task
from optsweep.execution.pending_tasks import Batch, Pending, last_line, watch
from optsweep.execution.slurm.commands import arrays_of, cancel, end_of, queue
from optsweep.execution.slurm.job import ALIVE, SlurmTask
from optsweep.execution.worker import output_to
from optsweep.records.run import RunRecord

log = logging.getLogger(__name__)

_GLANCE = 1.0  # seconds between two looks for results
_QUESTION = 5.0  # seconds between two questions to squeue, and between two signs of life
_GRACE = 10.0  # seconds that the result of a job which has left the queue may take to be seen
_PATIENCE = 60.0  # seconds without an answer of Slurm's after which a line says so
_AGAIN = 30.0  # seconds after which jobs that Slurm did not take are submitted again
_AT_ONCE = 1000  # tasks of an array job; Slurm's own limit is one more, where nobody changed it


@dataclass
class _Submitted:
    """A job in Slurm's hands; `gone` is when it was first missed in the queue."""

    job: Any
    gone: float | None = None


class SlurmJobs:
    """Jobs of a Slurm cluster; `folder`, on shared storage, holds their tasks and results.

    A job may run as long as its submission, a file, lies in the folder: it is removed before the
    job's task is given to another, so that no two ever work on one run, whatever Slurm says.
    """

    def __init__(self, launch: SlurmLaunch, folder: Path, say: Callable[[str], None]) -> None:
        import submitit

        # Without a limit all are handed over at once; how many run is Slurm's affair.
        self.workers = launch.workers or sys.maxsize
        self._launch = launch
        self._folder = folder / "slurm"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # tasks name the store
        self._say = say
        self._pending = Pending[str](launch.workers)
        self._submitted: dict[str, _Submitted] = {}
        self._asked = self._answered = time.monotonic()
        self._silent = False
        self._not_before = 0.0
        self._accepted = False
        self._closing = threading.Event()
        self._cancel_left()
        self._sign()
        self._executor = submitit.AutoExecutor(
            folder=self._folder, cluster="slurm", slurm_max_num_timeout=launch.requeues
        )
        self._executor.update_parameters(**_parameters(launch))
        self._watches = [
            watch(self._sign, _QUESTION, self._closing, self._give_up),
            watch(self._look, _GLANCE, self._closing, self._give_up),
        ]

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Keeps the task for `start`."""
        return self._pending.add(task)

    def start(self) -> None:
        """Submits what is kept, as far as it may run now, as one array job.

        What Slurm does not take for now, as it does not answer or has too many jobs of this
        user's, is submitted later.

        Raises:
            SettingsError: Slurm refuses what is asked of it.
        """
        while time.monotonic() >= self._not_before and (batch := self._pending.next(_AT_ONCE)):
            try:
                self._submit(batch)
            except SettingsError as refusal:
                self._pending.put_back(batch)
                if not self._accepted or not (self._submitted or queue() is None):
                    raise
                log.warning("%s; trying again", refusal)
                self._not_before = time.monotonic() + _AGAIN

    def stop(self) -> None:
        """Cancels all jobs that were submitted here and waits until they are gone.

        It takes a minute at most, also where Slurm does not answer; nothing is raised.
        """
        self._closing.set()
        ids = self._pending.forget()
        with suppress(OSError):  # the storage is away
            ids = sorted({*ids, *self._ids()})  # one may have been submitted just now
        if not ids:
            return
        arrays = arrays_of(ids)
        self._say(f"cancelling {len(ids)} Slurm jobs: {', '.join(arrays)}")
        self._withdraw(ids)
        if left := cancel(arrays):
            self._say(
                f"Slurm does not confirm the end of {', '.join(left)}; they end by themselves "
                f"within minutes, or type scancel {' '.join(left)}"
            )

    def close(self) -> None:
        """Ends the watch, all jobs being done."""
        self._closing.set()
        for thread in self._watches:
            thread.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _submit(self, batch: Batch) -> None:
        tasks = [task for task, _ in batch]
        try:
            with output_to(self._folder / "sbatch.log"):  # the error says it too
                jobs = self._executor.map_array(SlurmTask(self._launch), tasks)
        except Exception as error:  # submitit has one of its own
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise SettingsError(
                f"hydra/launcher=slurm: sbatch refuses the jobs ({reason}); see "
                "hydra.launcher.partition, time, cpus, gpus, memory and options"
            ) from error
        self._accepted = True
        for job, (_, future) in zip(jobs, batch, strict=True):
            self._pending.sent(job.job_id, future)
            self._submitted[job.job_id] = _Submitted(job)

    def _paths(self, name: str) -> Any:
        from submitit.core.utils import JobPaths

        return JobPaths(self._folder, job_id=name)

    def _ids(self) -> list[str]:
        """The jobs whose submissions lie in the folder, an earlier launcher's too."""
        pattern = self._paths("*").submitted_pickle.name
        found = [re.match(r"\d+(_\d+)?", path.name) for path in self._folder.glob(pattern)]
        return [match[0] for match in found if match]

    def _withdraw(self, ids: Sequence[str]) -> None:
        """Removes the submissions of jobs, which then neither begin nor resume."""
        for name in ids:
            with suppress(OSError):  # the storage is away; so are the jobs' signs of life
                self._paths(name).submitted_pickle.unlink(missing_ok=True)

    def _cancel_left(self) -> None:
        """Cancels what an earlier launcher of this sweep, which was killed, left in the queue.

        Raises:
            SettingsError: it may still run.
        """
        ids = self._ids()
        if ids and (left := cancel(arrays_of(ids))):
            raise SettingsError(
                f"hydra/launcher=slurm: jobs of this sweep's earlier start may still run; type "
                f"scancel {' '.join(left)}, and start the sweep again when squeue has none of them"
            )
        self._withdraw(ids)

    def _sign(self) -> None:
        """Leaves a sign that the launcher lives, which its jobs look for."""
        (self._folder / ALIVE).write_text(str(time.time()))

    def _look(self) -> None:
        for name, one in list(self._submitted.items()):
            if one.job.paths.result_pickle.exists():
                self._settle(name, one)
        if self._submitted and time.monotonic() - self._asked > _QUESTION:
            self._look_for_lost()
            self._asked = time.monotonic()

    def _settle(self, name: str, one: _Submitted) -> None:
        self._submitted.pop(name, None)
        self._pending.settle(name, lambda: _outcome(one.job))
        self._withdraw([name])

    def _look_for_lost(self) -> None:
        """Settles the jobs that have left the queue without a result."""
        submitted = dict(self._submitted)
        queued = queue()
        now = time.monotonic()
        self._notice_silence(queued is None, now)
        if queued is None:
            return
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

    def _notice_silence(self, silent: bool, now: float) -> None:
        """Says once that Slurm does not answer, and once that it does again."""
        if not silent:
            self._answered = now
        if silent and not self._silent and now - self._answered > _PATIENCE:
            self._say("Slurm does not answer; its jobs run on, and their results are waited for")
            self._silent = True
        elif self._silent and not silent:
            self._say("Slurm answers again")
            self._silent = False

    def _lose(self, name: str, reason: str) -> None:
        """Gives a job up that has no result and will have none."""
        self._withdraw([name])
        self._submitted.pop(name, None)
        self._pending.fail([name], reason)

    def _give_up(self, reason: str) -> None:
        """Gives all jobs up, as nobody can watch over them."""
        ids = self._pending.keys()
        for name in ids:
            self._submitted.pop(name, None)
        self._withdraw(ids)
        self._pending.fail(ids, reason, lambda: cancel(arrays_of(ids)))


def _outcome(job: Any) -> list[RunRecord]:
    """What a job returned.

    Raises:
        Crashed: it ended by an exception.
        StackFailed: its runs were trained together and have to be tried otherwise.
    """
    try:
        result: list[RunRecord] | StackFailed = job.result()
    except Exception as error:  # what submitit makes of an error in a job, between lines of dashes
        trace = re.search(r"^-{5,}\n(.*)\n-{5,}$", str(error), re.MULTILINE | re.DOTALL)
        raise Crashed(last_line(trace[1] if trace else error)) from error
    if isinstance(result, StackFailed):
        raise result
    return result


def _parameters(launch: SlurmLaunch) -> dict[str, Any]:
    """The settings of submitit's executor, under its names."""
    parameters: dict[str, Any] = {
        "name": "optsweep",
        "timeout_min": launch.time,
        "cpus_per_task": int(launch.cpus),
        "slurm_use_srun": True,
        "slurm_signal_delay_s": 60,
        "slurm_additional_parameters": {"requeue": True, **launch.options},
    }
    gpus, partition = int(launch.gpus) or None, launch.partition
    given = {"gpus_per_node": gpus, "mem_gb": launch.memory, "slurm_partition": partition}
    return parameters | {name: value for name, value in given.items() if value is not None}
