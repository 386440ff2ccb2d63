"""What MLflow holds, on real stores."""

import json
import math
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from optsweep.errors import Terminated, TrackingError
from optsweep.tracking.address import absolute, ui_command
from optsweep.tracking.sending.calls import DatasetInfo
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
from optsweep.training.epoch_journal import Entry


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def the_run(uri: str, run_id: str) -> Run:
    return MlflowClient(uri).get_run(run_id)


def test_store_and_experiment_are_created_with_artifacts_beside_the_file(
    uri: str, tmp_path: Path
) -> None:
    store = Store.open(uri, "mine")
    experiment = MlflowClient(uri).get_experiment_by_name("mine")
    assert experiment is not None
    assert experiment.experiment_id == store.experiment_id
    assert experiment.artifact_location == (tmp_path / "mlartifacts").as_uri()


def test_opening_again_finds_the_same_experiment(uri: str) -> None:
    assert Store.open(uri, "mine").experiment_id == Store.open(uri, "mine").experiment_id


def test_a_run_holds_params_metrics_dataset_tags_and_files(uri: str, tmp_path: Path) -> None:
    store = Store.open(uri, "mine")
    file = tmp_path / "weights.bin"
    file.write_bytes(b"123")
    with start_run(store, "adam lr=0.1", params={"lr": 0.1, "limit": None}, tags={"a": "b"}) as run:
        run.log_epoch(Entry(1, 1, {"train/loss": 2.0}, {64: 2.5, 128: 2.25}))
        run.log_epoch(Entry(2, 1, {"train/loss": 1.0}, {192: 1.5}))
        run.log_dataset(DatasetInfo("digits", "abc", "here", (1, 8, 8), {"train": 10, "test": 5}))
        run.log_file(file, "files")
        run.log_texts({"note.txt": "hello"})
        run.tag(diverged="true")
    found = the_run(uri, run.run_id)
    assert found.info.run_name == "adam lr=0.1"
    assert found.info.status == "FINISHED"
    assert found.data.params == {"lr": "0.1", "limit": "None"}
    assert found.data.tags["a"] == "b"
    assert found.data.tags["optsweep.diverged"] == "true"
    assert found.inputs is not None
    (given,) = found.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("digits", "abc")
    assert given.tags[0].value == "train, test"
    assert json.loads(given.dataset.profile or "") == {"num_rows": 15, "train": 10, "test": 5}
    client = MlflowClient(uri)
    losses = client.get_metric_history(run.run_id, "train/loss")
    assert [(point.step, point.value) for point in losses] == [(1, 2.0), (2, 1.0)]
    batches = client.get_metric_history(run.run_id, "batch/loss")
    assert [(point.step, point.value) for point in batches] == [(64, 2.5), (128, 2.25), (192, 1.5)]
    assert (tmp_path / "mlartifacts" / run.run_id / "artifacts/files/weights.bin").is_file()
    assert (tmp_path / "mlartifacts" / run.run_id / "artifacts/note.txt").read_text() == "hello"


def test_an_epoch_of_more_points_than_one_call_takes_is_whole(uri: str) -> None:
    with start_run(Store.open(uri, "mine"), "long") as run:
        run.log_epoch(Entry(1, 1, {"train/loss": 1.0}, dict.fromkeys(range(1, 2501), 1.0)))
    history = MlflowClient(uri).get_metric_history(run.run_id, "batch/loss")
    assert len(history) == 2500


def test_nan_and_infinity_are_left_out(uri: str) -> None:
    with start_run(Store.open(uri, "mine"), "wild") as run:
        run.log_epoch(Entry(1, 1, {"train/loss": math.nan, "train/accuracy": 0.5}, {64: math.inf}))
    assert the_run(uri, run.run_id).data.metrics == {"train/accuracy": 0.5}


def test_a_failing_run_is_failed_with_its_error(uri: str, tmp_path: Path) -> None:
    store = Store.open(uri, "mine")
    with pytest.raises(ZeroDivisionError), start_run(store, "bad") as run:
        _ = 1 / 0
    found = the_run(uri, run.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags["optsweep.error"] == "ZeroDivisionError: division by zero"
    error = tmp_path / "mlartifacts" / run.run_id / "artifacts/error.txt"
    assert "1 / 0" in error.read_text()


def test_sys_exit_in_a_run_is_a_failure(uri: str) -> None:
    with pytest.raises(SystemExit), start_run(Store.open(uri, "mine"), "leaver") as run:
        raise SystemExit(3)
    assert the_run(uri, run.run_id).info.status == "FAILED"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, Terminated])
def test_an_interrupted_run_is_killed(uri: str, interrupt: type[BaseException]) -> None:
    with pytest.raises(interrupt), start_run(Store.open(uri, "mine"), "stopped") as run:
        raise interrupt
    assert the_run(uri, run.run_id).info.status == "KILLED"


def test_children_are_nested_under_their_parent(uri: str) -> None:
    store = Store.open(uri, "mine")
    with (
        start_run(store, "sweep") as parent,
        start_run(store, "run", parent=parent.run_id) as child,
    ):
        pass
    assert the_run(uri, child.run_id).data.tags["mlflow.parentRunId"] == parent.run_id


def test_a_deleted_experiment_is_named_with_the_command_that_restores_it(uri: str) -> None:
    store = Store.open(uri, "mine")
    MlflowClient(uri).delete_experiment(store.experiment_id)
    with pytest.raises(TrackingError, match=f"restore -x {store.experiment_id}"):
        Store.open(uri, "mine")


def test_the_file_is_in_write_ahead_mode(uri: str, tmp_path: Path) -> None:
    Store.open(uri, "mine")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_store_that_fails_in_the_middle_is_one_readable_error(uri: str) -> None:
    store = Store.open(uri, "mine")
    run = TrackedRun(store, "0" * 32)
    with pytest.raises(TrackingError, match=r"mlflow\.db failed"):
        run.log_epoch(Entry(1, 1, {"train/loss": 1.0}, {}))


def test_a_relative_store_is_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
    assert f"sqlite:///{tmp_path}/mlflow.db" in ui_command("sqlite:///mlflow.db")
