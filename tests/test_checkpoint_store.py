"""Checkpoints in MLflow: what one machine sends, another lays into its folder."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

from optsweep.checkpoint import CHECKPOINT, Journal
from optsweep.checkpoint_store import StoredProgress, fetch
from optsweep.jobs import Job
from optsweep.results import Entry
from optsweep.run import JOURNAL
from optsweep.tracking import Store

ENTRIES = [
    Entry(1, 1000, {"train/loss": 2.0, "epoch_seconds": 0.5}, {64: 2.5, 128: 2.25}),
    Entry(2, 2000, {"train/loss": 1.0, "epoch_seconds": 0.5}, {192: 1.5}),
]


def test_another_machine_finds_the_last_checkpoint_and_the_epochs_that_were_told(
    tmp_path: Path,
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    job = Job(None, tmp_path / "run", "fingerprint")  # type: ignore[arg-type]
    job.folder.mkdir()
    scores = {"val/loss": 1.0, "val/accuracy": 0.5}
    with store.start("run", folder=job.folder) as tracked:
        progress = StoredProgress(store, [job])
        progress.started({job.folder: tracked.run_id})
        for entry in ENTRIES:
            tracked.log_epoch(entry)
            (job.folder / CHECKPOINT).write_text(f"after epoch {entry.epoch}")
            progress.finished(entry.epoch, scores)
    shutil.rmtree(job.folder)
    fetch(store, replace(job, run_id=tracked.run_id))
    assert (job.folder / CHECKPOINT).read_text() == "after epoch 2"
    assert Journal(job.folder / JOURNAL).entries == ENTRIES
    assert {path.name for path in job.folder.iterdir()} == {CHECKPOINT, JOURNAL}


def test_what_lies_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    job = Job(None, tmp_path / "run", "fingerprint")  # type: ignore[arg-type]
    with store.start("run") as tracked:
        tracked.log_epoch(Entry(1, 1, {"train/loss": math.pi}))
    job.folder.mkdir()
    (job.folder / JOURNAL).write_text("")
    (job.folder / CHECKPOINT).write_text("newer")
    fetch(store, replace(job, run_id=tracked.run_id))
    assert (job.folder / CHECKPOINT).read_text() == "newer"
    assert (job.folder / JOURNAL).read_text() == ""


def test_a_run_that_never_began_has_nothing_to_fetch(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    fetch(store, Job(None, tmp_path / "run", "fingerprint"))  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
