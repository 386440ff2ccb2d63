"""Checkpoints in MLflow, for runs on machines that share no folder with the one that resumes.

`StoredProgress` sends a run's checkpoint after each epoch that saved one. `fetch` puts it into the
folder where the run is resumed, with a journal of the epochs that MLflow holds.
"""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from optsweep.errors import TrackingError, Unreachable
from optsweep.runs.job import Job
from optsweep.runs.status_file import StatusFileProgress
from optsweep.system import files
from optsweep.tracking.history import logged
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun
from optsweep.training import checkpoint
from optsweep.training.checkpoint import JOURNAL, forget
from optsweep.training.epoch_journal import Journal

T = TypeVar("T")

log = logging.getLogger(__name__)

_FOLDER = "resume"  # among a run's artifacts
_KEPT = "stack.json"  # in it: which run's artifacts hold the checkpoint of its stack, and its name
_PAUSES = (1.0, 4.0, 15.0)  # seconds between tries to reach a store that is away


class StoredProgress(StatusFileProgress):
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
            kept = {"run_id": tracked[0].run_id, "name": self._checkpoint.name}
            run.log_texts({_KEPT: json.dumps(kept)}, _FOLDER)

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Sends the checkpoint, where the epoch saved one."""
        super().finished(epoch, metrics)
        if self._keeper is None or not self._checkpoint.exists():
            return
        if (written := self._checkpoint.stat().st_mtime_ns) != self._sent:
            self._keeper.log_file(self._checkpoint, _FOLDER)
            self._sent = written


def fetch(store: Store, job: Job) -> None:
    """Puts what MLflow holds of a run that was begun into its folder.

    Files there stay, unless the run has trained further on another machine since.

    Raises:
        TrackingError: the store does not give what it holds; the run may be tried again.
    """
    if job.run_id is None:
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    given = job.run_id
    run_id = _answered(lambda: store.id_of(given))
    entries = _answered(lambda: list(logged(store, run_id)))
    if entries and entries[-1].epoch > Journal(job.folder / JOURNAL).last:
        checkpoint.forget(job.folder)
        (job.folder / JOURNAL).unlink(missing_ok=True)
        journal = Journal(job.folder / JOURNAL)
        for entry in entries:
            journal.keep(entry)
    if (job.folder / checkpoint.CHECKPOINT).exists() or checkpoint.stack_of(
        job.folder, job.fingerprint
    ):
        return
    # Where there is none yet, the run starts over, in the same journal.
    if not _download(store, run_id, checkpoint.CHECKPOINT, job.folder):
        _fetch_stack(store, run_id, job)


def _fetch_stack(store: Store, run_id: str, job: Job) -> None:
    """Puts the checkpoint of a run's stack beside the run's folder, and its path into it."""
    if not _download(store, run_id, _KEPT, job.folder):
        return
    kept = job.folder / _KEPT
    try:
        keeper, name = map(json.loads(kept.read_text()).__getitem__, ("run_id", "name"))
        sound = isinstance(keeper, str) and checkpoint.is_stack(name)
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    kept.unlink()
    if not sound:  # a name from a store is used in no path unlooked at
        log.warning("%s/%s of run %s names no checkpoint; left out", _FOLDER, _KEPT, run_id)
        return
    stacks = checkpoint.stacks_beside(job.folder)
    if _download(store, _answered(lambda: store.id_of(keeper)), name, stacks):
        checkpoint.save_stack_path(stacks / name, job.folder)


def _download(store: Store, run_id: str, name: str, folder: Path) -> bool:
    """Fetches a file that is kept with a run into a folder; false where none is kept.

    Raises:
        TrackingError: the store does not say what is kept, or does not give it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        try:
            copy = _answered(lambda: store.download(run_id, _FOLDER, name, Path(own)))
        except FileNotFoundError:
            return False
        with files.replacing(folder / name) as unfinished:
            copy.replace(unfinished)
    return True


def _answered(ask: Callable[[], T]) -> T:
    """What a store answers; one that is away is asked again, a few times.

    Raises:
        TrackingError: it refuses, or is still away.
    """
    for pause in _PAUSES:
        try:
            return ask()
        except Unreachable as error:
            log.warning("%s; asking again in %g s", error, pause)
            time.sleep(pause)
    return ask()


def forget_stored(store: Store, run_ids: Sequence[str]) -> None:
    """Removes the checkpoints of finished runs from MLflow."""
    for run_id in run_ids:
        try:
            store.delete_artifacts(run_id, _FOLDER)
        except Exception as error:  # a store may forbid it; the run is whole all the same
            log.warning("%s/ of run %s stays in MLflow: %s", _FOLDER, run_id, error)


def journal_of(job: Job, store: Store) -> Journal:
    """The journal of a run that begins, or is resumed with what MLflow holds beyond its last epoch.

    Those epochs keep the times that they were logged at: logged again, MLflow keeps each once.
    """
    path = job.folder / JOURNAL
    if job.run_id is None:  # a folder that was used before holds what another run left
        forget(job.folder)
        path.unlink(missing_ok=True)
        return Journal(path)
    journal = Journal(path)
    try:
        missing = [entry for entry in logged(store, job.run_id) if entry.epoch > journal.last]
    except TrackingError as error:
        log.warning("%s; %s alone says which epochs were logged", error, path)
        return journal
    if missing:
        log.warning("%s lacks %d epochs, which MLflow holds", path, len(missing))
    for entry in missing:
        journal.keep(entry)
    return journal
