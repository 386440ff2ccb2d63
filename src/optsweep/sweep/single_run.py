"""A single run, in this process, with its progress and its scores on the terminal.

`run_single` is given a job and a store and returns the run's record. With `resume`, an earlier run
is reused or resumed.
"""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from optsweep.models.trained_model import WEIGHTS
from optsweep.records.run import NO_TEST, RunRecord
from optsweep.records.values import printable
from optsweep.runs.heartbeat import Heartbeat
from optsweep.runs.job import Job
from optsweep.runs.lease import Launches
from optsweep.runs.owner import Owner, State
from optsweep.runs.progress import RunProgress
from optsweep.runs.run import run_jobs
from optsweep.runs.stack_member import TrackingContext, new_record
from optsweep.sweep.best.keeping import log_for_serving
from optsweep.sweep.dead_runs import release_dead
from optsweep.sweep.display.lines import say
from optsweep.sweep.final_delivery import sending_unsent
from optsweep.sweep.resume import folder_of
from optsweep.tracking.address import ui_command
from optsweep.tracking.reading import finished_records
from optsweep.tracking.store import Run, Store
from optsweep.tracking.tracked_run import TrackedRun


def run_single(job: Job, store: Store, console: Console) -> RunRecord:
    """Runs one job; with `resume`, reuses or resumes an earlier run.

    Raises:
        FolderError: another process runs it.
    """
    say(console, printable(job.data))
    release_dead(store)
    record = new_record(job)
    earlier = _earlier(job, store) if job.settings.resume else None
    if earlier:
        if earlier.info.status == "FINISHED":
            return _reused(job, record, earlier, store, console)
        folder = folder_of(earlier) or job.folder
        job = replace(job, run_id=earlier.info.run_id, folder=folder)
    progress = RunProgress(console, job.name, job.settings.epochs)
    with (
        Owner(job.folder) as owner,
        sending_unsent(job.folder, [job], store, console),
        Heartbeat(store, owner) as heartbeat,
    ):
        if earlier and (earlier := heartbeat.claim(earlier)).info.status == "FINISHED":
            return _reused(job, record, earlier, store, console)
        figures = job.settings.figures != "none"
        run_jobs(
            [job], [record], TrackingContext(store, None, owner.name, figures, heartbeat), progress
        )
    _show(job, record, store, console)
    if job.settings.log_model and record.sound:
        tracked = TrackedRun(store, record.run_id, job.folder)
        log_for_serving(job, job.folder / WEIGHTS, "model", tracked, console)
    return record


def _earlier(job: Job, store: Store) -> Run | None:
    """The run to reuse or resume: the newest that is finished, or else that is not.

    Not one that a sweep has under way, nor one that a search ended early. A single run that
    another process runs is returned too, for it to be refused.
    """
    launches = Launches(store)
    found = [
        one
        for one in store.find(kind="run", fingerprint=job.fingerprint)
        if "optsweep.pruned" not in one.data.tags
    ]
    for one in found:
        if one.info.status == "FINISHED":
            return one
    for one in found:
        single = "mlflow.parentRunId" not in one.data.tags
        if one.info.status != "RUNNING" or (single and launches.state(one) is State.ALIVE):
            return one
    return None


def _reused(job: Job, record: RunRecord, earlier: Run, store: Store, console: Console) -> RunRecord:
    (kept,) = finished_records(store, [earlier])
    record = replace(kept, name=record.name, params=record.params)
    folder = Path(earlier.data.tags["optsweep.folder"])
    _show(replace(job, folder=folder), record, store, console)
    return record


def _show(job: Job, record: RunRecord, store: Store, console: Console) -> None:
    """The end of a run: its final scores, its folder, and how to browse it."""
    metrics = record.metrics
    scores = ", ".join(
        f"{split} loss {metrics[f'{split}/loss']:.4f}, accuracy {metrics[f'{split}/accuracy']:.4f}"
        + (f", balanced accuracy {metrics[key]:.4f}" if key in metrics else "")
        for split in ("val", "test")
        if f"{split}/loss" in metrics
        for key in [f"{split}/balanced_accuracy"]
    )
    if record.diverged:
        epoch = max(epoch for epoch, _ in record.history["train/loss"])
        scores = f"diverged in epoch {epoch}: the loss became NaN or infinite; try a smaller lr"
    if words := "; ".join(filter(None, [record.ending, record.selection])):
        scores += f" ({words})"
    if "val/loss" in metrics and "test/loss" not in metrics:
        scores += f". {NO_TEST}"
    if record.reused:
        scores += f" (finished before, as run {record.run_id})"
    console.print(f"[bold]{scores}[/]", highlight=False, soft_wrap=True)
    say(console, f"folder  {job.folder}")
    say(console, f"MLflow  {ui_command(store.uri)}")
