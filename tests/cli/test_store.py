"""A store that several processes create."""

import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import start_run
from optsweep.training.epoch_journal import Entry

DIE_HALF_MADE = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from optsweep.tracking.store import Store

@event.listens_for(Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    if statement.strip().startswith("INSERT INTO _alembic_tmp_"):
        os.kill(os.getpid(), signal.SIGKILL)

Store.open(sys.argv[1], "mine")
"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


def _open_and_log(uri: str) -> str:
    store = Store.open(uri, "shared")
    with start_run(store, "run") as run:
        run.log_epoch(Entry(1, 1, {"train/loss": 1.0}, {}))
    return store.experiment_id


@pytest.mark.long
def test_a_store_whose_making_was_killed_is_made_anew(uri: str, tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DIE_HALF_MADE, uri], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists(), "only a whole one is there"
    Store.open(uri, "mine")
    assert {path.name for path in tmp_path.iterdir()} <= {
        *(f"mlflow.db{end}" for end in ("", "-wal", "-shm")),
        ".mlflow.db.lock",
    }
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.long
def test_processes_that_start_together_on_no_store_share_one(uri: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        ids = set(pool.map(_open_and_log, [uri] * 3))
    assert len(ids) == 1
    runs = MlflowClient(uri).search_runs(list(ids))
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
