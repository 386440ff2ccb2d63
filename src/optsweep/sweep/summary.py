"""The end of a sweep: its table and verdict on the terminal, in its folder and in MLflow.

`summarize` is given the sweep's record. It is called whatever happened, also where the sweep was
interrupted.
"""

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from optsweep.errors import TrackingError
from optsweep.execution.command_line import answer
from optsweep.records.correct_samples import CORRECT, packed_of
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.report import page as report
from optsweep.report.descriptions import of_running_sweep, of_sweep, places, small_copy
from optsweep.report.markdown import joined, of_run, page_of
from optsweep.report.terminal_table import sentence, terminal_table
from optsweep.runs.job import Job
from optsweep.sweep.display.lines import say
from optsweep.system import files
from optsweep.system.project_folder import command
from optsweep.tracking import verdict_tags
from optsweep.tracking.address import ui_command
from optsweep.tracking.tracked_run import DESCRIPTION, TrackedRun
from optsweep.verdict.candidates import best_runs
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.sweep_sentences import few_sentences
from optsweep.verdict.verdict import Verdict


def summarize(record: SweepRecord, folder: Path, parent: TrackedRun, console: Console) -> set[str]:
    """Prints, writes and logs what became of a sweep; returns the ids of the runs that judge.

    Raises:
        OSError: the folder cannot be written.
        TrackingError: the store refuses what is logged.
    """
    verdict = judge(record)
    for line in few_sentences(verdict):
        say(console, line)
    console.print(terminal_table(record, console.width))
    say(console, sentence(record))
    # Before anything is asked of the store, whatever becomes of that.
    written = report.write(record, folder, verdict)
    say(console, f"report  {folder / 'report.html'}")
    say(console, f"folder  {folder}")
    say(console, f"sweep   {parent.run_id}")
    _hand_over(parent)
    say(console, f"MLflow  {ui_command(parent.store.uri)}")
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
    _describe(record, verdict, folder, parent, [path for path in written if path.suffix == ".png"])
    details = [each for workload in verdict.workloads for each in workload.candidates]
    return {run_id for each in details for run_id in each.run_ids}


def described(title: str) -> dict[str, str]:
    """The tag with the description of a sweep that starts; `title` is what was typed."""
    return {DESCRIPTION: of_running_sweep(f"{command()} -m {title}")}


def _describe(
    record: SweepRecord,
    verdict: Verdict,
    folder: Path,
    parent: TrackedRun,
    pictures: Sequence[Path],
) -> None:
    """The descriptions in MLflow's page: the sweep's answer, and the places of its best runs."""
    store, page = parent.store, page_of(parent.store.experiment_id, parent.run_id)
    picture = None
    if pictures:
        small = small_copy(pictures[0])
        picture = str(small.relative_to(folder))
        parent.log_file(small, str(small.parent.relative_to(folder)))
    parent.describe(of_sweep(record, verdict, page, picture, str(folder)))
    found = places(record)
    for run in [run for run in record.runs if run.run_id in found]:
        if run.reused and not _is_of(parent, run):
            continue
        text = joined([found[run.run_id], of_run(run.name, run.params, page)])
        TrackedRun(store, run.run_id, folder).describe(text)


def _is_of(parent: TrackedRun, run: RunRecord) -> bool:
    """Whether a reused run is this sweep's own, from before it was resumed."""
    with suppress(TrackingError):
        kept = parent.store.run(run.run_id)
        return kept is not None and kept.data.tags.get("mlflow.parentRunId") == parent.run_id
    return False


def _hand_over(parent: TrackedRun) -> None:
    """The sweep's id to the program that waits for it, if one does."""
    store = parent.store
    answer({"sweep": parent.run_id, "uri": store.uri, "experiment_id": store.experiment_id})


def keep_correct(
    judging: Collection[str],
    runs: Sequence[RunRecord],
    jobs: Sequence[Job],
    folder: Path,
    parent: TrackedRun,
) -> None:
    """Keeps which test samples the runs that judge, by their ids, had right: a file for all."""
    judges = {
        job.fingerprint: run
        for job, run in zip(jobs, runs, strict=True)
        if run.run_id in judging and run.classes is not None
    }
    if judges:
        files.write(folder / CORRECT, packed_of(judges), durable=False)
        parent.log_file(folder / CORRECT)
        parent.tag(correct="true")


def _reused_tags(run_ids: Sequence[str]) -> dict[str, str]:
    """The ids of reused runs, in as many tags as MLflow's limit of 8,000 characters asks."""
    lists = [run_ids[first : first + 200] for first in range(0, len(run_ids), 200)] or [[]]
    return {f"reused.{n}" if n else "reused": json.dumps(ids) for n, ids in enumerate(lists)}
