"""The end of a sweep: its table and verdict on the terminal, in its folder and in MLflow.

`summarize` is given the sweep's record. It is called whatever happened, also where the sweep was
interrupted.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.report import page as report
from optsweep.report.table import sentence, terminal_table
from optsweep.runs.artifacts import WEIGHTS, UnusableWeights, keep_best_figures
from optsweep.runs.job import Job
from optsweep.tracking import verdict_tags
from optsweep.tracking.address import ui_command
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun
from optsweep.verdict.judge import judge
from optsweep.verdict.ranking import best_run
from optsweep.verdict.sentences import few_sentences


def summarize(
    record: SweepRecord,
    jobs: Sequence[Job],
    folder: Path,
    figures: str,
    parent: TrackedRun,
    store: Store,
    console: Console,
) -> None:
    """Prints, writes and logs what became of the `jobs`, whose records are in the same order."""
    verdict = judge(record)

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    console.print(terminal_table(record, console.width))
    for line in (sentence(record), *few_sentences(verdict)):
        say(line)
    # Before anything is asked of the store, whatever becomes of that.
    written = report.write(record, folder, verdict)
    say(f"report  {folder / 'report.html'}")
    say(f"folder  {folder}")
    say(f"MLflow  {ui_command(store.uri)}")
    parent.tag(extended=json.dumps(record.extended))
    parent.tag(**_reused_tags([run.run_id for run in record.runs if run.reused]))
    if (first := best_run(record.runs)) is not None:
        parent.tag(best_run_id=first.run_id, best_run=first.name)
        parent.tag(**{f"best.{key}": str(value) for key, value in first.params.items()})
        parent.log_metrics({f"best/{name}": value for name, value in first.metrics.items()})
        parent.tag(**verdict_tags.tags(verdict))
        parent.log_metrics(verdict_tags.metrics(verdict))
        if figures == "best":
            try:
                _draw_best(first, jobs, record, store)
            except UnusableWeights as reason:
                say(f"no pictures of {first.name}: {' '.join(str(reason).split())}")
    for path in written:
        inside = path.parent.relative_to(folder)
        parent.log_file(path, None if inside == Path() else str(inside))


def _reused_tags(run_ids: Sequence[str]) -> dict[str, str]:
    """The ids of reused runs, in as many tags as MLflow's limit of 8,000 characters asks."""
    lists = [run_ids[first : first + 200] for first in range(0, len(run_ids), 200)] or [[]]
    return {f"reused.{n}" if n else "reused": json.dumps(ids) for n, ids in enumerate(lists)}


def _draw_best(first: RunRecord, jobs: Sequence[Job], record: SweepRecord, store: Store) -> None:
    job = next(job for job, run in zip(jobs, record.runs, strict=True) if run is first)
    if (job.folder / WEIGHTS).exists():
        keep_best_figures(job, first, store)
