"""Checkpoints in MLflow, for runs on machines that share no folder with the one that goes on.

`StoredProgress` sends a run's checkpoint after each epoch that left one; `fetch` lays it into the
folder of whoever goes on with the run, with the journal of the epochs that MLflow has been told.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from optsweep import checkpoint
from optsweep.checkpoint import Journal
from optsweep.jobs import Job
from optsweep.progress import NotedProgress
from optsweep.results import Entry
from optsweep.run import JOURNAL
from optsweep.tracking import Store, TrackedRun

_FOLDER = "resume"  # among a run's artifacts


class StoredProgress(NotedProgress):
    """A worker's progress that sends the checkpoint of a run which goes alone to MLflow.

    A stack that is lost is taken apart, and its runs start over: K copies of K runs' weights an
    epoch would cost more than they save.
    """

    def __init__(self, store: Store, jobs: Sequence[Job]) -> None:
        super().__init__()
        self._store = store
        self._alone = jobs[0].folder if len(jobs) == 1 else None
        self._tracked: TrackedRun | None = None
        self._sent = 0

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Learns the run's id."""
        super().started(run_ids)
        if self._alone is not None and self._alone in run_ids:
            self._tracked = TrackedRun(self._store, run_ids[self._alone], self._alone)

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Sends the checkpoint, where the epoch left one."""
        super().finished(epoch, metrics)
        if self._tracked is None or self._alone is None:
            return
        path = self._alone / checkpoint.CHECKPOINT
        if path.exists() and (written := path.stat().st_mtime_ns) != self._sent:
            self._tracked.log_file(path, _FOLDER)
            self._sent = written


def fetch(store: Store, job: Job) -> None:
    """Lays what MLflow holds of a run that was begun into its folder, unless it is there."""
    if job.run_id is None:
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    run_id = store.id_of(job.run_id)
    if not (job.folder / JOURNAL).exists():
        journal = Journal(job.folder / JOURNAL)
        for entry in _told(store, run_id):
            journal.keep(entry)
    if not (job.folder / checkpoint.CHECKPOINT).exists():
        name = f"{_FOLDER}/{checkpoint.CHECKPOINT}"
        with suppress(Exception):  # there is none yet: the run starts over, in the same journal
            store.client.download_artifacts(run_id, name, str(job.folder))
            (job.folder / name).replace(job.folder / checkpoint.CHECKPOINT)
            (job.folder / _FOLDER).rmdir()


def _told(store: Store, run_id: str) -> Iterator[Entry]:
    """The epochs that MLflow was told, with the times at which it was: told again, it keeps one."""
    metrics: dict[int, dict[str, float]] = {}
    times: dict[int, int] = {}
    batches: dict[int, dict[int, float]] = {}
    for name in store.client.get_run(run_id).data.metrics:
        for point in store.client.get_metric_history(run_id, name):
            if name == "batch/loss":
                batches.setdefault(point.timestamp, {})[point.step] = point.value
            else:
                metrics.setdefault(point.step, {})[name] = point.value
                times[point.step] = point.timestamp
    for epoch in sorted(metrics):
        yield Entry(epoch, times[epoch], metrics[epoch], batches.get(times[epoch], {}))
