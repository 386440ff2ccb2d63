"""A single run: carried out in this process, with its progress and its end on the terminal."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from optsweep.address import ui_command
from optsweep.jobs import Job
from optsweep.owner import Owner
from optsweep.progress import RunProgress
from optsweep.reading import finished_records
from optsweep.results import RunRecord
from optsweep.run import Filing, new_record, run
from optsweep.takeover import folder_of, release_dead
from optsweep.tracking import Store
from optsweep.unsent import telling_of_unsent


def carry_out(job: Job, store: Store, console: Console) -> RunRecord:
    """Carries one job out; with `resume`, takes an earlier run over or goes on with it."""
    release_dead(store)
    record = new_record(job)
    if job.settings.resume:
        found = store.find(kind="run", fingerprint=job.fingerprint)
        # Nor another's, right now, nor one that a search ended early.
        earlier = [
            run
            for run in found
            if run.info.status != "RUNNING" and "optsweep.pruned" not in run.data.tags
        ]
        finished = [run for run in earlier if run.info.status == "FINISHED"]
        if finished:
            (kept,) = finished_records(store, finished[:1])
            record = replace(kept, name=record.name, params=record.params)
            folder = Path(finished[0].data.tags["optsweep.folder"])
            _show(replace(job, folder=folder), record, store, console)
            return record
        if earlier:
            folder = folder_of(earlier[0]) or job.folder
            job = replace(job, run_id=earlier[0].info.run_id, folder=folder)
    progress = RunProgress(console, job.name, job.settings.epochs)
    with Owner(job.folder) as owner, telling_of_unsent(job.folder, [job], store, console):
        figures = job.settings.figures != "none"
        run([job], [record], Filing(store, None, owner.name, figures), progress)
    _show(job, record, store, console)
    return record


def _show(job: Job, record: RunRecord, store: Store, console: Console) -> None:
    """The end of a run: its final scores, its folder, and how to browse it."""
    metrics = record.metrics
    scores = ", ".join(
        f"{split} loss {metrics[f'{split}/loss']:.4f}, accuracy {metrics[f'{split}/accuracy']:.4f}"
        for split in ("val", "test")
        if f"{split}/loss" in metrics
    )
    if record.diverged:
        epoch = max(epoch for epoch, _ in record.history["train/loss"])
        scores = f"diverged in epoch {epoch}: the loss became NaN or infinite; try a smaller lr"
    if record.reused:
        scores += f" (finished before, as run {record.run_id})"
    console.print(f"[bold]{scores}[/]", highlight=False, soft_wrap=True)
    console.print(f"folder  {job.folder}", highlight=False, soft_wrap=True)
    console.print(f"MLflow  {ui_command(store.uri)}", highlight=False, soft_wrap=True)
