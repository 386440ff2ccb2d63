"""Draws the figures of each workload's best run, for a second, beside the sweep's report."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from optsweep.execution.executor import Task
from optsweep.execution.local import LocalProcesses
from optsweep.execution.worker import attached
from optsweep.models.trained_model import WEIGHTS
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.runs.artifacts import UnusableWeights, keep_best_figures
from optsweep.runs.job import Job
from optsweep.sweep.display.lines import say
from optsweep.tracking.store import Store
from optsweep.verdict.candidates import best_runs

_Chosen = Mapping[Path, tuple[Job, RunRecord]]


@contextmanager
def drawing_best(
    record: SweepRecord, jobs: Sequence[Job], store: Store, console: Console, *, beside: bool
) -> Iterator[None]:
    """Draws the best runs' figures: by a process `beside` the block, or else after it.

    What that process cannot draw is tried again here, which says why. `jobs` gave the sweep's runs,
    in order.
    """
    best = set(map(id, best_runs(record).values()))
    chosen = {
        job.folder: (job, run)
        for job, run in zip(jobs, record.runs, strict=True)
        if id(run) in best and (job.folder / WEIGHTS).exists()
    }
    with _begun(chosen if beside else {}, store) as begun:
        yield
        drawn = {folder for folder, future in begun.items() if not future.exception()}
    for job, run in (each for folder, each in chosen.items() if folder not in drawn):
        try:
            keep_best_figures(job, run, store)
        except UnusableWeights as reason:
            say(console, f"no pictures of {run.name}: {' '.join(str(reason).split())}")


@contextmanager
def _begun(chosen: _Chosen, store: Store) -> Iterator[Mapping[Path, "Future[list[RunRecord]]"]]:
    """A future for each run that another process draws."""
    if not chosen:
        yield {}
        return
    process = LocalProcesses(1, run=partial(_draw, {key: run for key, (_, run) in chosen.items()}))
    where = store.uri, store.experiment_id, None, "", True
    try:
        yield {key: process.submit(Task([job], *where)) for key, (job, _) in chosen.items()}
    finally:
        process.stop()


def _draw(runs: Mapping[Path, RunRecord], task: Task) -> list[RunRecord]:
    """Draws the figures of a task's run, one of `runs`, in a worker process."""
    (job,) = task.jobs
    keep_best_figures(job, runs[job.folder], attached(task.uri, task.experiment_id))
    return []
