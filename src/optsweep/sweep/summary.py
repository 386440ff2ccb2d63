"""The end of a sweep: its table and verdict on the terminal, in its folder and in MLflow.

`summarize` is given the sweep's record. It is called whatever happened, also where the sweep was
interrupted.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from optsweep.models.trained_model import WEIGHTS
from optsweep.records.correct_samples import CORRECT
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.report import page as report
from optsweep.report.terminal_table import sentence, terminal_table
from optsweep.runs.artifacts import UnusableWeights, keep_best_figures
from optsweep.runs.job import Job
from optsweep.tracking import verdict_tags
from optsweep.tracking.address import ui_command
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun
from optsweep.verdict.candidates import best_runs
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.sweep_sentences import few_sentences


def summarize(record: SweepRecord, folder: Path, parent: TrackedRun, console: Console) -> set[str]:
    """Prints, writes and logs what became of a sweep; returns the ids of the runs that judge.

    Raises:
        OSError: the folder cannot be written.
        TrackingError: the store refuses what is logged.
    """
    verdict = judge(record)
    for line in few_sentences(verdict):
        _say(console, line)
    console.print(terminal_table(record, console.width))
    _say(console, sentence(record))
    # Before anything is asked of the store, whatever becomes of that.
    written = report.write(record, folder, verdict)
    _say(console, f"report  {folder / 'report.html'}")
    _say(console, f"folder  {folder}")
    _say(console, f"sweep   {parent.run_id}")
    _say(console, f"MLflow  {ui_command(parent.store.uri)}")
    parent.tag(extended=json.dumps(record.extended))
    parent.tag(**_reused_tags([run.run_id for run in record.runs if run.reused]))
    if best := best_runs(record):
        parent.tag(**verdict_tags.best_tags(best))
        if len(best) == 1:
            (first,) = best.values()
            parent.log_metrics({f"best/{name}": value for name, value in first.metrics.items()})
        parent.tag(**verdict_tags.tags(verdict))
        parent.log_metrics(verdict_tags.metrics(verdict))
    for path in written:
        inside = path.parent.relative_to(folder)
        parent.log_file(path, None if inside == Path() else str(inside))
    details = [each for workload in verdict.workloads for each in workload.candidates]
    return {run_id for each in details for run_id in each.run_ids}


def draw_best(record: SweepRecord, jobs: Sequence[Job], store: Store, console: Console) -> None:
    """Draws the figures of each workload's best run; `jobs` gave the sweep's runs, in order."""
    best = set(map(id, best_runs(record).values()))
    for job, run in zip(jobs, record.runs, strict=True):
        if id(run) in best and (job.folder / WEIGHTS).exists():
            try:
                keep_best_figures(job, run, store)
            except UnusableWeights as reason:
                _say(console, f"no pictures of {run.name}: {' '.join(str(reason).split())}")


def keep_correct(
    judging: Collection[str], runs: Sequence[RunRecord], jobs: Sequence[Job], store: Store
) -> None:
    """Keeps in MLflow which test samples the runs that judge, by their ids, had right."""
    for job, run in zip(jobs, runs, strict=True):
        path = job.folder / CORRECT
        if run.run_id in judging and not run.reused and path.exists():
            tracked = TrackedRun(store, run.run_id, job.folder)
            tracked.log_file(path)
            tracked.tag(correct="true")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _reused_tags(run_ids: Sequence[str]) -> dict[str, str]:
    """The ids of reused runs, in as many tags as MLflow's limit of 8,000 characters asks."""
    lists = [run_ids[first : first + 200] for first in range(0, len(run_ids), 200)] or [[]]
    return {f"reused.{n}" if n else "reused": json.dumps(ids) for n, ids in enumerate(lists)}
