"""A tracking server that many write to: `mlflow server` over a real PostgreSQL."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from optsweep.errors import Unreachable
from optsweep.tracking import timeouts
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import start_run
from support import databases
from support.command import ROOT, run
from support.pages import commands
from support.servers import TrackingServer, free_port
from support.store import QUICK

PAGE = ROOT / "docs" / "tracking-server.md"

if reason := databases.missing():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def postgres() -> Iterator[databases.Postgres]:
    with databases.Postgres() as made:
        yield made


@pytest.fixture(scope="module")
def server(
    postgres: databases.Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrackingServer]:
    made = TrackingServer(tmp_path_factory.mktemp("server"), postgres.uri, workers=2)
    yield made.start()
    made.stop()


@pytest.mark.long
def test_eight_runs_at_once_lose_no_point(
    project: Path, server: TrackingServer, postgres: databases.Postgres
) -> None:
    done = run(
        project,
        *("-m", "seed=range(8)", *QUICK, "epochs=5", "log_every=1", "figures=none"),
        *(f"tracking.uri={server.uri}", "hydra.launcher.workers=8"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    of_runs = "SELECT run_uuid FROM tags WHERE key = 'optsweep.kind' AND value = 'run'"
    counted = f"SELECT key, COUNT(*) FROM metrics WHERE run_uuid IN ({of_runs}) GROUP BY key"
    counts = dict(postgres.ask(counted))
    # 1294 samples in batches of 64 are 21 batches an epoch.
    assert counts.pop("batch/loss") == 8 * 5 * 21
    assert set(counts.values()) == {8 * 5}
    assert len(counts) == 8
    assert {one.info.status for one in server.runs()} == {"FINISHED"}
    assert not list(project.rglob("unsent.jsonl"))


@pytest.mark.long
def test_the_database_itself_serves_and_its_password_is_nowhere(
    project: Path, postgres: databases.Postgres
) -> None:
    store = f"tracking.uri={postgres.uri}"
    done = run(project, "-m", "lr=1e-2,1e-1", *QUICK, "figures=none", store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert "sweeper:***@127.0.0.1" in done.stdout
    for table in ("params", "tags", "latest_metrics"):
        assert not postgres.ask(f"SELECT * FROM {table} t WHERE t::text LIKE '%s3cret%'")
    written = [file for file in project.rglob("*") if file.is_file()]
    assert {"multirun.yaml", "config.yaml", "hydra.yaml"} <= {file.name for file in written}
    assert [file for file in written if b"s3cret" in file.read_bytes()] == []


@pytest.mark.long
def test_the_documented_server_lets_the_first_user_in_and_no_other(
    project: Path, postgres: databases.Postgres, tmp_path: Path
) -> None:
    beginnings = ("export MLFLOW_FLASK", "mlflow server ", "curl ")
    export, server, user = (line for line in commands(PAGE) if line.startswith(beginnings))
    here = f"127.0.0.1:{free_port()}"
    for written, own in (
        ("0.0.0.0 --port 5000", f"127.0.0.1 --port {here.rpartition(':')[2]} --workers 1"),
        ("postgresql://mlflow@localhost/mlflow", postgres.uri),
        ("/srv/mlflow", str(tmp_path / "artifacts")),
        ("tracker:5000,localhost:5000", f"tracker:5000,{here}"),
        ("mlflow server", f"{sys.executable} -m mlflow server"),
    ):
        assert written in server
        server = server.replace(written, own)
    with TrackingServer(tmp_path / "server").started_by(f"{export}; exec {server}", here) as uri:
        done = subprocess.run(
            user.replace("localhost:5000", here), shell=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        known = {"MLFLOW_TRACKING_USERNAME": "lab", "MLFLOW_TRACKING_PASSWORD": "SECOND_PASSWORD"}
        sweep = ("-m", "lr=1e-2,1e-1", *QUICK, "figures=none", f"tracking.uri={uri}")
        own_experiment = "tracking.experiment=lab"
        stranger = run(project, *sweep, own_experiment)
        assert stranger.returncode == 2, stranger.stdout
        assert stranger.stderr.count("\n") == 1
        done_sweep = run(project, *sweep, own_experiment, env=known)
        assert done_sweep.returncode == 0, done_sweep.stdout + done_sweep.stderr


@pytest.mark.long
def test_a_database_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    with databases.Postgres() as own:
        store = Store.open(own.uri, "optsweep")
        with start_run(store, "run", folder=tmp_path) as tracked:
            assert tracked.run_id
            own.stop()
            tracked.tag(a="b")
            kept = (tmp_path / "unsent.jsonl").exists()
            own.start()
        deliver(Store.attach(own.uri, store.experiment_id), [tmp_path])
        found = store.client.get_run(tracked.run_id)
    assert kept
    assert found.data.tags["optsweep.a"] == "b"
    assert found.info.status == "FINISHED"


@pytest.mark.long
def test_a_database_that_goes_silent_is_not_waited_for(
    postgres: databases.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(postgres.uri, "optsweep")
    store.find(kind="run")
    monkeypatch.setattr(timeouts, "SECONDS", dict.fromkeys(timeouts.SECONDS, 3.0))
    postgres.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no answer within 3 s"):
            store.find(kind="run")
        with pytest.raises(Unreachable, match="does not answer"):
            Store.attach(postgres.uri, store.experiment_id).find(kind="run")
        assert time.monotonic() - began < 20
    finally:
        postgres.signal(signal.SIGCONT)
    until = time.monotonic() + 60
    while not store.connection.up:
        assert time.monotonic() < until
        time.sleep(0.1)
    store.find(kind="run")
