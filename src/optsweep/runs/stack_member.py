"""One run of a stack: its job, its MLflow run, its journal and its record.

`TrackingContext.start` opens a job's run in MLflow. `StackMember.log` puts an epoch into the
journal, MLflow and the record.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from optsweep.records.run import RunRecord
from optsweep.runs.artifacts import run_tags
from optsweep.runs.heartbeat import Heartbeat
from optsweep.runs.job import Job
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
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

    def log(self, entry: Entry) -> Entry:
        """Puts an epoch into the journal, MLflow and the record."""
        kept, new = self.journal.keep(entry)
        if new:
            self.tracked.log_epoch(kept)
        self.record_epoch(kept)
        return kept

    def record_epoch(self, entry: Entry) -> None:
        """Puts an epoch into the record."""
        record = self.record
        record.metrics = {name: value for name, value in entry.metrics.items() if "/" in name}
        if (seconds := entry.metrics.get("epoch_seconds")) is not None:
            record.seconds += seconds
            record.epoch_seconds.append((entry.epoch, seconds))
        for name, value in record.metrics.items():
            record.history.setdefault(name, []).append((entry.epoch, value))

    def mark_diverged(self) -> None:
        """Marks the run as diverged: no more epochs are logged."""
        self.record.diverged = True
        self.tracked.tag(diverged="true")

    def prune(self, entry: Entry) -> bool:
        """Marks a run that is hopeless after an epoch, the last aside; returns whether it is."""
        if self.job.hopeless is None or self.record.diverged:
            return False
        if 0 < entry.epoch < self.job.settings.epochs:
            self.record.pruned = self.job.hopeless(entry.epoch, objective(entry.metrics))
        if self.record.pruned:
            self.tracked.tag(pruned="true")
        return self.record.pruned


def new_record(job: Job) -> RunRecord:
    """The record of a job that has not run yet."""
    return RunRecord(
        name=job.name,
        run_id=job.run_id or "",
        status="SCHEDULED",
        params=job.settings.params(),
        swept=dict(job.swept),
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
