"""Checkpoints in MLflow: what one machine sends, another lays into its folder."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from optsweep.errors import TrackingError
from optsweep.runs import checkpoint_store
from optsweep.runs.checkpoint_store import StoredProgress, fetch, forget_stored
from optsweep.runs.job import Job
from optsweep.tracking import store as tracking
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import start_run
from optsweep.training import checkpoint
from optsweep.training.checkpoint import CHECKPOINT, JOURNAL
from optsweep.training.epoch_journal import Entry, Journal
from support.in_process import job_in

ENTRIES = [
    Entry(1, 1000, {"train/loss": 2.0, "epoch_seconds": 0.5}, {64: 2.5, 128: 2.25}),
    Entry(2, 2000, {"train/loss": 1.0, "epoch_seconds": 0.5}, {192: 1.5}),
]


def logged_to(store: Store, job: Job) -> str:
    """Logs `ENTRIES` to the store, with a checkpoint after each, from the job's folder: its id."""
    job.folder.mkdir()
    with start_run(store, "run", folder=job.folder) as tracked:
        progress = StoredProgress(store, [job])
        progress.started({job.folder: tracked.run_id})
        for entry in ENTRIES:
            tracked.log_epoch(entry)
            (job.folder / CHECKPOINT).write_text(f"after epoch {entry.epoch}")
            progress.finished(entry.epoch, {"val/loss": 1.0, "val/accuracy": 0.5})
    return tracked.run_id


def test_another_machine_finds_the_last_checkpoint_and_the_epochs_that_were_logged(
    tmp_path: Path,
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    job = job_in(tmp_path / "run")
    run_id = logged_to(store, job)
    shutil.rmtree(job.folder)
    fetch(store, replace(job, run_id=run_id))
    assert (job.folder / CHECKPOINT).read_text() == "after epoch 2"
    assert Journal(job.folder / JOURNAL).entries == ENTRIES
    assert {path.name for path in job.folder.iterdir()} == {CHECKPOINT, JOURNAL}


def test_what_lies_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    job = job_in(tmp_path / "run")
    with start_run(store, "run") as tracked:
        tracked.log_epoch(ENTRIES[0])
    job.folder.mkdir()
    journal = Journal(job.folder / JOURNAL)
    for entry in ENTRIES:
        journal.keep(entry)
    (job.folder / CHECKPOINT).write_text("newer")
    fetch(store, replace(job, run_id=tracked.run_id))
    assert (job.folder / CHECKPOINT).read_text() == "newer"
    assert Journal(job.folder / JOURNAL).entries == ENTRIES


def test_what_another_machine_went_further_with_takes_its_place(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    job = job_in(tmp_path / "run")
    run_id = logged_to(store, replace(job, folder=tmp_path / "elsewhere"))
    job.folder.mkdir()
    Journal(job.folder / JOURNAL).keep(ENTRIES[0])
    (job.folder / CHECKPOINT).write_text("after epoch 1")
    fetch(store, replace(job, run_id=run_id))
    assert (job.folder / CHECKPOINT).read_text() == "after epoch 2"
    assert Journal(job.folder / JOURNAL).entries == ENTRIES


def test_each_run_of_a_stack_finds_the_checkpoint_that_its_first_run_keeps(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    sweep, other = tmp_path / "here", tmp_path / "there"
    jobs = [job_in(sweep / str(number), str(number)) for number in range(3)]
    runs = {}
    for job in jobs:
        job.folder.mkdir(parents=True)
        with start_run(store, "run", folder=job.folder) as tracked:
            tracked.log_epoch(ENTRIES[0])
        runs[job.folder] = tracked.run_id
    path = checkpoint.path_of([job.folder for job in jobs], [job.fingerprint for job in jobs])
    progress = StoredProgress(store, jobs)
    progress.started(runs)
    path.parent.mkdir()
    path.write_text("after epoch 1")
    progress.finished(1, {"val/loss": 1.0, "val/accuracy": 0.5})
    moved = [replace(job, run_id=runs[job.folder], folder=other / job.folder.name) for job in jobs]
    for job in moved:
        fetch(store, job)
        stack = checkpoint.stack_of(job.folder, job.fingerprint)
        assert stack is not None
        assert stack.read_text() == "after epoch 1"
        assert Journal(job.folder / JOURNAL).entries == ENTRIES[:1]
    forget_stored(store, list(runs.values()))
    for run_id in runs.values():
        assert store.client.list_artifacts(run_id) == []


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[1]",
        "\0",
        '{"run_id": "RUN"}',
        '{"run_id": "RUN", "name": "VICTIM"}',
        '{"run_id": "RUN", "name": "../../victim"}',
        '{"run_id": "RUN", "name": ["0123456789abcdef.bin"]}',
        "RUN VICTIM",
    ],
)
def test_a_name_from_the_store_overwrites_no_file_outside_of_the_folder(
    tmp_path: Path, kept: str
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with start_run(store, "run", folder=tmp_path / "other") as tracked:
        text = kept.replace("RUN", tracked.run_id).replace("VICTIM", str(victim))
        texts = {"stack.json": text, "stack.txt": text, "victim": "theirs"}
        tracked.log_texts(texts, "resume")
        tracked.log_texts({"victim": "theirs"}, f"resume{victim.parent}")
    job = replace(job_in(tmp_path / "sweep/run"), run_id=tracked.run_id)
    fetch(store, job)
    assert victim.read_text() == "mine"
    assert list(job.folder.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 9])
@pytest.mark.parametrize(
    "error", [MlflowException("away"), OSError("no route"), ConnectionError("reset")]
)
@pytest.mark.parametrize("call", ["download_artifacts", "list_artifacts"])
def test_a_store_that_is_away_is_not_one_without_a_checkpoint(
    tmp_path: Path, call: str, error: Exception, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = tracking if call == "download_artifacts" else MlflowClient
    monkeypatch.setattr(checkpoint_store, "_PAUSES", (0.0, 0.0))
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    job = job_in(tmp_path / "run")
    run_id = logged_to(store, job)
    shutil.rmtree(job.folder)
    real, failures = getattr(owner, call), [error] * times

    def failing(*arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments, **named)

    monkeypatch.setattr(owner, call, failing)
    if times == 1 and type(error) is not OSError:
        fetch(store, replace(job, run_id=run_id))
        assert (job.folder / CHECKPOINT).read_text() == "after epoch 2"
        return
    with pytest.raises(TrackingError, match=str(error.args[0])):
        fetch(store, replace(job, run_id=run_id))


def test_a_run_that_never_began_has_nothing_to_fetch(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    fetch(store, job_in(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
