"""One run of a stack: its job, its MLflow run, its journal and its record.

`TrackingContext.start` opens a job's run in MLflow. `StackMember.log` puts an epoch into the
journal, MLflow and the record.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from optsweep.records.run import RunRecord
from optsweep.runs.artifacts import run_tags
from optsweep.runs.heartbeat import Heartbeat
from optsweep.runs.job import Job
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
from optsweep.training.divergence import diverged
from optsweep.training.journal import Entry, Journal
from optsweep.verdict.ranking import objective


@dataclass(frozen=True)
class TrackingContext:
    """Where runs are logged: the store, the parent run, the owner, and whether with figures."""

    store: Store
    parent: str | None = None
    owner: str = ""
    figures: bool = True
    heartbeat: Heartbeat | None = None  # of a run that belongs to no sweep

    @contextmanager
    def start(self, job: Job, stack: int) -> Iterator[TrackedRun]:
        """The job's run in MLflow, begun or reopened; `stack` is how many are trained together."""
        params = job.settings.params()
        params["threads"] = job.settings.threads or torch.get_num_threads()
        tags = run_tags(job, self.owner, stack) | (self.heartbeat.tags() if self.heartbeat else {})
        with start_run(
            self.store,
            job.name,
            params=params,
            tags=tags,
            parent=self.parent,
            run_id=job.run_id,
            folder=job.folder,
        ) as tracked:
            if self.heartbeat:
                self.heartbeat.keep(tracked)
            yield tracked


@dataclass(frozen=True)
class StackMember:
    """One run of a stack: its job, its record, and where its epochs are logged."""

    job: Job
    record: RunRecord
    tracked: TrackedRun
    journal: Journal

    def log(
        self, epoch: int, metrics: Mapping[str, float], batches: Mapping[int, float] | None = None
    ) -> Entry:
        """Puts an epoch into the journal, MLflow and the record, with the time of this moment."""
        now = time.time_ns() // 1_000_000
        kept, new = self.journal.keep(Entry(epoch, now, metrics, batches or {}))
        if new:
            self.tracked.log_epoch(kept)
        self.record_epoch(kept)
        return kept

    def resume(self, done: int) -> None:
        """Logs again what the store may have missed, and records the epochs up to `done`."""
        for entry in self.journal.entries:  # the store keeps each point once
            self.tracked.log_epoch(entry)
        logged = self.journal.until(done)
        for entry in logged:
            self.record_epoch(entry)
        if logged:  # the run may have been stopped while it was being ended
            self.judge(logged[-1])

    def has_logged(self, epoch: int) -> bool:
        """Whether the journal holds all epochs up to this one, or the last before it diverged."""
        logged = self.journal.until(epoch)
        return self.journal.last >= epoch or (bool(logged) and _has_diverged(logged[-1]))

    def record_epoch(self, entry: Entry) -> None:
        """Puts an epoch into the record."""
        record = self.record
        record.metrics = {name: value for name, value in entry.metrics.items() if "/" in name}
        if (seconds := entry.metrics.get("epoch_seconds")) is not None:
            record.seconds += seconds
            record.epoch_seconds.append((entry.epoch, seconds))
        for name, value in record.metrics.items():
            record.history.setdefault(name, []).append((entry.epoch, value))

    @property
    def is_over(self) -> bool:
        """Whether no more epochs are logged: the run has diverged, or was pruned."""
        return self.record.diverged or self.record.pruned

    def judge(self, entry: Entry) -> None:
        """Marks a run that has diverged in an epoch, or is hopeless after it, the last aside."""
        if _has_diverged(entry):
            self.record.diverged = True
            self.tracked.tag(diverged="true")
        elif self.job.hopeless is not None and 0 < entry.epoch < self.job.settings.epochs:
            self.record.pruned = self.job.hopeless(entry.epoch, objective(entry.metrics))
            if self.record.pruned:
                self.tracked.tag(pruned="true")


def _has_diverged(entry: Entry) -> bool:
    """Whether a trained epoch's loss is NaN or infinite; epoch 0 is the untrained model's."""
    return entry.epoch > 0 and bool(diverged(entry.metrics))


def new_record(job: Job) -> RunRecord:
    """The record of a job that has not run yet."""
    return RunRecord(
        name=job.name,
        run_id=job.run_id or "",
        status="SCHEDULED",
        params=job.settings.params(),
        swept=dict(job.swept),
    )
