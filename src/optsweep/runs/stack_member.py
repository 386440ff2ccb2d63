"""One run of a stack: its job, its MLflow run, its journal and its record.

`TrackingContext.start` opens a job's run in MLflow. `StackMember.log` puts an epoch into the
journal, MLflow and the record.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from optsweep.records.run import RunRecord
from optsweep.report.markdown import of_run, page_of
from optsweep.runs.artifacts import run_tags
from optsweep.runs.heartbeat import Heartbeat
from optsweep.runs.job import Job
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import DESCRIPTION, TrackedRun, start_run
from optsweep.training.divergence import diverged
from optsweep.training.epoch_journal import Entry, Journal
from optsweep.training.stack import Stack
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
        # What is swept is always there to be read back; a preset has a tag.
        params = {key: value for key, value in job.swept.items() if key != "preset"} | params
        tags = run_tags(job, self.owner, stack) | (self.heartbeat.tags() if self.heartbeat else {})
        sweep = page_of(self.store.experiment_id, self.parent) if self.parent else None
        tags[DESCRIPTION] = of_run(job.name, params, sweep)
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
        """Whether the journal holds all epochs up to this one, or all that the run ever had."""
        logged = self.journal.until(epoch)
        if self.journal.last >= epoch or not logged:
            return self.journal.last >= epoch
        return _has_diverged(logged[-1]) or _is_out_of(self.job.settings.patience, logged)

    def record_epoch(self, entry: Entry) -> None:
        """Puts an epoch into the record."""
        record = self.record
        metrics = {name: value for name, value in entry.metrics.items() if "/" in name}
        if (seconds := entry.metrics.get("epoch_seconds")) is not None:
            record.seconds += seconds
            record.epoch_seconds.append((entry.epoch, seconds))
        for name, value in metrics.items():
            record.history.setdefault(name, []).append((entry.epoch, value))
        if _has_diverged(entry) or record.selected_epoch in (None, entry.epoch):
            record.metrics = metrics

    @property
    def is_over(self) -> bool:
        """Whether no more epochs are logged: the run diverged, stopped early or was pruned."""
        return self.record.diverged or self.record.stopped_early or self.record.pruned

    def judge(self, entry: Entry) -> None:
        """Marks a run that an epoch ends: it has diverged, or before the last epoch is to end."""
        settings = self.job.settings
        if _has_diverged(entry):
            self.record.diverged = True
            self.tracked.tag(diverged="true")
        elif not 0 < entry.epoch < settings.epochs:
            return
        elif _is_out_of(settings.patience, self.journal.until(entry.epoch)):
            self.record.stopped_early = True
            self.tracked.tag(stopped_early="true")
        elif self.job.hopeless is not None:
            self.record.pruned = self.job.hopeless(entry.epoch, objective(entry.metrics))
            if self.record.pruned:
                self.tracked.tag(pruned="true")

    def keep_weights(self, stack: Stack, place: int, epoch: int) -> None:
        """Keeps what weights the run, at `place` in its stack, has after `epoch`, where they count.

        They do if the epoch is selected so far, or if the run ended there and others are trained
        further. Of a run that diverged none do.
        """
        kept_after, _ = stack.kept.get(place, (None, {}))
        ended = self.is_over and kept_after is None
        if self.record.diverged:
            stack.kept.pop(place, None)
        elif kept_after != epoch and (ended or self.record.selected_epoch == epoch):
            stack.keep(place, epoch)


def _has_diverged(entry: Entry) -> bool:
    """Whether a trained epoch's loss is NaN or infinite; epoch 0 is the untrained model's."""
    return entry.epoch > 0 and bool(diverged(entry.metrics))


def _is_out_of(patience: int | None, entries: Sequence[Entry]) -> bool:
    """Whether the last `patience` epochs gave no lower validation loss than one before them."""
    trained = [entry.metrics for entry in entries if entry.epoch > 0]
    losses = [metrics["val/loss"] for metrics in trained if "val/loss" in metrics]
    if patience is None or len(losses) <= patience:
        return False
    return min(losses[-patience:]) >= min(losses[:-patience])


def new_record(job: Job) -> RunRecord:
    """The record of a job that has not run yet."""
    return RunRecord(
        name=job.name,
        run_id=job.run_id or "",
        status="SCHEDULED",
        params=job.settings.params(),
        swept=job.swept,
    )
