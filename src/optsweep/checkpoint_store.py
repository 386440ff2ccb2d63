"""Checkpoints in MLflow, for runs on machines that share no folder with the one that goes on.

`StoredProgress` sends a run's checkpoint after each epoch that left one; `fetch` lays it into the
folder of whoever goes on with the run, with the journal of the epochs that MLflow has been told.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from optsweep import checkpoint, limits
from optsweep.checkpoint import Journal
from optsweep.jobs import Job
from optsweep.logged import logged
from optsweep.progress import NotedProgress
from optsweep.run import JOURNAL
from optsweep.tracking import Store, TrackedRun

log = logging.getLogger(__name__)

_FOLDER = "resume"  # among a run's artifacts
_KEPT = "stack.txt"  # in it: which run's artifacts hold the checkpoint of its stack, and its name


class StoredProgress(NotedProgress):
    """A worker's progress that sends the checkpoint of what it trains to MLflow.

    A stack's is kept with its first run; the others say with which.
    """

    def __init__(self, store: Store, jobs: Sequence[Job]) -> None:
        super().__init__()
        self._store = store
        self._jobs = jobs
        self._checkpoint = Path()
        self._keeper: TrackedRun | None = None
        self._sent = 0

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Learns the runs' ids, and has those of a stack say where its checkpoint is kept."""
        super().started(run_ids)
        jobs = [job for job in self._jobs if job.folder in run_ids]
        self._checkpoint = checkpoint.path_of(
            [job.folder for job in jobs], [job.fingerprint for job in jobs]
        )
        tracked = [TrackedRun(self._store, run_ids[job.folder], job.folder) for job in jobs]
        self._keeper = tracked[0]
        for run in tracked if len(tracked) > 1 else ():
            run.log_text(f"{_FOLDER}/{_KEPT}", f"{tracked[0].run_id} {self._checkpoint.name}")

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Sends the checkpoint, where the epoch left one."""
        super().finished(epoch, metrics)
        if self._keeper is None or not self._checkpoint.exists():
            return
        if (written := self._checkpoint.stat().st_mtime_ns) != self._sent:
            self._keeper.log_file(self._checkpoint, _FOLDER)
            self._sent = written


def fetch(store: Store, job: Job) -> None:
    """Lays what MLflow holds of a run that was begun into its folder.

    What lies there is left alone, unless the run has gone further on another machine since.
    """
    if job.run_id is None:
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    run_id = store.id_of(job.run_id)
    told = list(logged(store, run_id))
    if told and told[-1].epoch > Journal(job.folder / JOURNAL).last:
        checkpoint.forget(job.folder)
        (job.folder / JOURNAL).unlink(missing_ok=True)
        journal = Journal(job.folder / JOURNAL)
        for entry in told:
            journal.keep(entry)
    if (job.folder / checkpoint.CHECKPOINT).exists() or checkpoint.stack_of(job.folder):
        return
    # Where there is none yet, the run starts over, in the same journal.
    if not _download(store, run_id, checkpoint.CHECKPOINT, job.folder):
        _fetch_stack(store, run_id, job)


def _fetch_stack(store: Store, run_id: str, job: Job) -> None:
    """Lays the checkpoint of the stack that a run was in beside its folder, with a note of it."""
    if not _download(store, run_id, _KEPT, job.folder):
        return
    note = job.folder / _KEPT
    keeper, name = note.read_text().split()
    note.unlink()
    stacks = checkpoint.stacks_beside(job.folder)
    if _download(store, store.id_of(keeper), name, stacks):
        checkpoint.leave_note(stacks / name, job.folder)


def _download(store: Store, run_id: str, name: str, folder: Path) -> bool:
    """Fetches a file that is kept with a run into a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        try:
            copy = store.download(run_id, _FOLDER, name, Path(own))
        except Exception:  # each kind of artifact store has its own for what is not there
            return False
        copy.replace(folder / name)
    return True


def forget(store: Store, run_ids: Sequence[str]) -> None:
    """Removes from MLflow what runs that are finished need not go on from."""
    for run_id in run_ids:
        try:
            address = store.client.get_run(store.id_of(run_id)).info.artifact_uri
            kept: Any = get_artifact_repository(str(address))
            limits.bounded(limits.seconds("delete_artifacts"), kept.delete_artifacts, _FOLDER)
        except Exception as error:  # a store may forbid it; the run is whole all the same
            log.warning("%s/ of run %s stays in MLflow: %s", _FOLDER, run_id, error)
