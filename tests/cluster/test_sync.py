"""A tracking server that goes away in the middle of a sweep, in real commands."""

import csv
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from support.command import run, start
from support.models import GATED
from support.servers import TrackingServer

SWEEP = (
    "-m",
    "hydra.launcher.stack=1",
    "model=gated",
    "seed=range(4)",
    "epochs=5",
    "log_every=1",
    "threads=1",
)


@pytest.fixture
def gated(project: Path) -> Path:
    """A project whose runs wait at gates: files in its folder."""
    (project / "gated.py").write_text(GATED)
    (project / "conf/model/gated.yaml").write_text(
        f"_target_: gated.Gated\ngates: {project}/gates\n"
    )
    (project / "gates").mkdir()
    return project


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TrackingServer]:
    made = TrackingServer(tmp_path / "server").start()
    yield made
    made.stop()


def started(project: Path, server: TrackingServer) -> "subprocess.Popen[str]":
    """The sweep, once its first two runs wait at the first gate."""
    command = [sys.executable, str(project / "experiments/run.py"), *SWEEP]
    command += [f"tracking.uri={server.uri}", "hydra.launcher.workers=2"]
    sweep = start(command, project, {"PYTHONPATH": str(project)})
    for _ in range(3000):
        if len(list(project.glob("outputs/*/*/*/checkpoint.bin"))) == 2:
            return sweep
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.1)
    raise TimeoutError


def assert_whole(server: TrackingServer, project: Path) -> None:
    """The store holds the sweep as if nothing had happened."""
    (sweep,) = server.runs("sweep")
    found = server.runs()
    assert sorted(str(one.info.run_name) for one in found) == [
        f"sgd lr=0.001 seed={seed}" for seed in range(4)
    ]
    assert {one.info.status for one in [sweep, *found]} == {"FINISHED"}
    client = MlflowClient(server.uri)
    for one in found:
        for metric in ("train/loss", "val/accuracy", "test/loss", "epoch_seconds"):
            steps = [step for step, _ in server.points(one.info.run_id, metric)]
            assert steps == [1, 2, 3, 4, 5], metric
        steps = [step for step, _ in server.points(one.info.run_id, "batch/loss")]
        assert len(steps) == len(set(steps)) == 5 * 21
        assert one.data.params["model"] == "gated"
        assert one.inputs is not None
        assert len(one.inputs.dataset_inputs) == 1
        stored = {entry.path for entry in client.list_artifacts(one.info.run_id)}
        assert {"config.yaml", "overrides.txt", "weights.safetensors"} <= stored
        assert one.data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert sweep.data.tags["optsweep.best_run_id"] in {one.info.run_id for one in found}
    stored = {entry.path for entry in client.list_artifacts(sweep.info.run_id)}
    assert {"report.html", "table.csv", "figures"} <= stored
    (folder,) = project.glob("outputs/*/*")
    with (folder / "table.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    assert not list(project.rglob("unsent.jsonl"))


@pytest.mark.long
def test_a_server_that_is_away_for_half_a_minute_costs_a_sweep_nothing(
    gated: Path, server: TrackingServer
) -> None:
    sweep = started(gated, server)
    server.stop()
    (gated / "gates/1").touch()  # the second and third epoch are for no store to see
    time.sleep(30)
    server.start()
    (gated / "gates/3").touch()
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    assert_whole(server, gated)


@pytest.mark.long
def test_a_server_that_stays_away_gets_everything_by_sync(
    gated: Path, server: TrackingServer
) -> None:
    sweep = started(gated, server)
    server.stop()
    for gate in ("1", "3"):
        (gated / "gates" / gate).touch()
    output, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, output
    (command,) = re.findall(r"send it with python experiments/sync\.py (folder=\S+)", output)
    away = run(gated, command, f"tracking.uri={server.uri}", script="experiments/sync.py")
    assert away.returncode == 2
    assert "does not answer" in away.stderr
    server.start()
    for said in (r"sent \d+ calls of 5 runs", "nothing is waiting"):
        done = run(gated, command, f"tracking.uri={server.uri}", script="experiments/sync.py")
        assert done.returncode == 0, done.stderr
        assert re.search(said, done.stdout)
    assert_whole(server, gated)


@pytest.mark.long
def test_ctrl_c_while_the_server_is_silent_ends_in_time_and_loses_nothing(
    gated: Path, server: TrackingServer
) -> None:
    sweep = started(gated, server)
    server.pause()
    (gated / "gates/1").touch()
    began = time.monotonic()
    sweep.send_signal(signal.SIGINT)
    output, _ = sweep.communicate(timeout=120)
    print(f"{time.monotonic() - began:.1f} s from Ctrl-C to the end")
    assert time.monotonic() - began < 30
    assert sweep.returncode == 130, output
    assert "Traceback" not in output
    (command,) = re.findall(r"send it with python experiments/sync\.py (folder=\S+)", output)
    (folder,) = gated.glob("outputs/*/*")
    assert (folder / "report.html").exists() and (folder / "table.csv").exists()
    server.resume()
    done = run(gated, command, f"tracking.uri={server.uri}", script="experiments/sync.py")
    assert done.returncode == 0, done.stderr
    assert {one.info.status for one in [*server.runs(), *server.runs("sweep")]} == {"KILLED"}


@pytest.mark.long
def test_what_waits_for_another_store_is_named(project: Path) -> None:
    folder = project / "outputs/run"
    folder.mkdir(parents=True)
    (folder / "unsent.jsonl").write_text('{"call": "tags", "store": "http://ann:***@there"}\n')
    done = run(project, script="experiments/sync.py")
    assert done.returncode == 0
    assert "tracking.uri=http://ann:***@there" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize("given", ["folder=/no/such", "uri=http://here", "folder="])
def test_arguments_that_cannot_be_used_get_one_line(project: Path, given: str) -> None:
    done = run(project, given, script="experiments/sync.py")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
