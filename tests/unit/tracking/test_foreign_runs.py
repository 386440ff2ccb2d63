"""Runs are read from whatever store they are in, and the store stays as it is."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from optsweep.errors import SettingsError, TrackingError
from optsweep.tracking.foreign_runs import Experiment
from support.foreign import Foreign


def test_runs_come_in_the_order_in_which_they_started(tmp_path: Path) -> None:
    made = Foreign(tmp_path)
    first = made.log({"a": 1}, {"acc": [0.1, 0.2]}, tags={"mlflow.parentRunId": "p"}, name="x")
    second = made.log({"a": 2}, {}, status=None)
    found = Experiment.open(made.uri, "mine").runs()
    assert [run.run_id for run in found] == [first, second]
    assert (found[0].name, found[0].parent, found[0].status) == ("x", "p", "FINISHED")
    assert (found[0].params, found[0].metrics) == ({"a": "1"}, {"acc": 0.2})
    assert found[1].status == "RUNNING"


def test_deleted_runs_and_other_experiments_are_not_read(tmp_path: Path) -> None:
    made, other = Foreign(tmp_path), Foreign(tmp_path, "other")
    made.client.delete_run(made.log({}, {}))
    other.log({}, {})
    assert Experiment.open(made.uri, "mine").runs() == []


def test_more_runs_than_a_page_holds_are_all_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.tracking.foreign_runs._PAGE", 2)
    made = Foreign(tmp_path)
    ids = [made.log({}, {}) for _ in range(5)]
    assert [run.run_id for run in Experiment.open(made.uri, "mine").runs()] == ids


def test_the_best_of_all_steps_is_read_in_bulk(tmp_path: Path) -> None:
    made = Foreign(tmp_path)
    made.log({}, {"acc": [0.1, 0.9, float("nan"), 0.5], "other": [1, 2]})
    made.log({}, {"acc": float("nan")})
    made.log({}, {"other": 3})
    experiment = Experiment.open(made.uri, "mine")
    runs = experiment.with_best(experiment.runs(), ["acc"], highest=True)
    assert runs[0].metrics == {"acc": 0.9, "other": 2}
    assert runs[1].metrics["acc"] != runs[1].metrics["acc"]
    assert runs[2].metrics == {"other": 3}
    (lowest, *_) = experiment.with_best(experiment.runs(), ["acc"], highest=False)
    assert lowest.metrics["acc"] == 0.1


def test_a_deleted_experiment_is_named_as_such(tmp_path: Path) -> None:
    made = Foreign(tmp_path)
    made.client.delete_experiment(made.id)
    with pytest.raises(SettingsError, match=r"experiment=mine: was deleted; .*Default"):
        Experiment.open(made.uri, "mine")


def test_a_store_of_another_version_stays_as_it_is(tmp_path: Path) -> None:
    """MLflow would give an older database the tables that it lacks."""
    made = Foreign(tmp_path)
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE scorers")
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        before = database.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    with pytest.raises(TrackingError, match=r"was written by an older MLflow .* mlflow db upgrade"):
        Experiment.open(made.uri, "mine")
    with closing(sqlite3.connect(path)) as database:
        after = database.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
    assert after == before


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_what_is_no_store_is_refused_and_left_alone(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    if content is None:
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE mine (a)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(TrackingError, match="is no MLflow store"):
        Experiment.open(f"sqlite:///{path}", "mine")
    assert path.read_bytes() == before


def test_runs_in_plain_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "mlruns"
    client = MlflowClient(folder.as_uri())
    run = client.create_run(client.create_experiment("mine"), run_name="x")
    client.log_metric(run.info.run_id, "acc", 0.5, step=0)
    client.log_metric(run.info.run_id, "acc", 0.4, step=1)
    client.set_terminated(run.info.run_id)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")
    for uri in (str(folder), folder.as_uri()):
        experiment = Experiment.open(uri, "mine")
        (found,) = experiment.runs()
        assert (found.name, found.metrics) == ("x", {"acc": 0.4})
        (best,) = experiment.with_best([found], ["acc"], highest=True)
        assert best.metrics == {"acc": 0.5}
    assert os.environ["MLFLOW_ALLOW_FILE_STORE"] == "true"
