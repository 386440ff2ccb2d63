"""Sweeps on a real Ray cluster of two nodes on this machine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ray as rays
from support.command import run
from support.environment import environment
from support.executors import Gate, assert_as_on_this_machine, project_with, searched, steps, swept
from support.ray import Ray
from support.store import by_name

ENGINE = "hydra/launcher=ray"

if reason := rays.missing():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    with Ray() as made:
        yield made


@pytest.fixture
def address(ray: Ray) -> str:
    return f"hydra.launcher.address='{ray.address}'"


@pytest.mark.long
def test_a_sweep_is_the_same_as_on_this_machine(address: str, local: Path, tmp_path: Path) -> None:
    project = project_with(tmp_path)
    code, output = swept(project, ENGINE, address)
    assert code == 1, output
    assert "2 of 6 runs did not finish" in output
    assert_as_on_this_machine(project, local)


@pytest.mark.long
@pytest.mark.parametrize(
    ("stack", "kept"), [(1, "*/*/[01]/checkpoint.bin"), (2, "*/*/stacks/*.bin")]
)
def test_a_run_whose_node_dies_continues_elsewhere_from_what_mlflow_holds(
    ray: Ray, address: str, tmp_path: Path, stack: int, kept: str
) -> None:
    project = project_with(tmp_path)
    apart = ("hydra.launcher.shared=false", "hydra.launcher.resources={second: 1}")
    together = f"hydra.launcher.stack={stack}"
    sweep = Gate(project, ENGINE, address, "seed=0,1", *apart, together)
    sweep.wait_for(3 - stack, kept)
    ray.kill_second()
    here = [*project.glob("outputs/*/*/[01]/*"), *project.glob("outputs/*/*/stacks/*")]
    for file in here:  # as if the next node were another machine
        if file.name in ("history.jsonl", ".progress.json", "stack.txt") or file.suffix == ".bin":
            file.unlink()
    ray.add_second()
    sweep.open()
    code, output = sweep.end()
    assert code == 0, output
    found = by_name(project)
    assert len(found) == 2
    assert {one.info.status for one in found.values()} == {"FINISHED"}
    assert set(map(tuple, steps(project).values())) == {(1, 2, 3, 4, 5)}
    for log in project.glob("outputs/*/*/[01]/optsweep.log"):
        assert "starting over" not in log.read_text()
    assert not list(project.rglob("resume"))


@pytest.mark.long
def test_runs_without_a_node_that_could_take_them_are_given_up(
    ray: Ray, address: str, tmp_path: Path
) -> None:
    project = project_with(tmp_path)
    sweep = Gate(project, ENGINE, address, "seed=0,1", "hydra.launcher.resources={second: 1}")
    sweep.wait_for(2)
    ray.kill_second()
    try:
        code, output = sweep.end()
    finally:
        ray.add_second()
    assert code == 1, output
    found = by_name(project)
    assert [one.info.status for one in found.values()] == ["FAILED"] * 2
    for one in found.values():
        assert "no node of the Ray cluster has" in one.data.tags["optsweep.error"]
    assert list(steps(project).values()) == [[1]] * 2


@pytest.mark.long
def test_two_runs_share_a_gpu_of_a_cluster_that_is_reached_by_rays_client(
    ray: Ray, tmp_path: Path
) -> None:
    project = project_with(tmp_path)
    client = f"hydra.launcher.address='{ray.client}'"
    sweep = Gate(project, ENGINE, client, "seed=0,1,2", "hydra.launcher.gpus=0.5", "device=cpu")
    sweep.wait_for(2)
    time.sleep(5)  # the third would have begun by now
    sweep.wait_for(2)
    sweep.open()
    code, output = sweep.end()
    assert code == 0, output
    assert {one.info.status for one in by_name(project).values()} == {"FINISHED"}
    assert list(steps(project).values()) == [[1, 2, 3, 4, 5]] * 3


@pytest.mark.long
def test_a_search_proposes_what_it_does_on_this_machine(
    address: str, found_locally: list[dict[str, str]], tmp_path: Path
) -> None:
    parallel = "hydra.launcher.max_parallel=2"
    assert searched(project_with(tmp_path), ENGINE, address, parallel) == found_locally


@pytest.mark.long
def test_ctrl_c_leaves_no_task(address: str, tmp_path: Path) -> None:
    project = project_with(tmp_path)
    sweep = Gate(project, ENGINE, address, "seed=0,1")
    sweep.wait_for(2)
    os.kill(sweep.process.pid, signal.SIGINT)
    code, output = sweep.end()
    assert code == 130, output
    assert "cancelling 2 Ray tasks" in output
    assert {one.info.status for one in by_name(project).values()} == {"KILLED"}


_SENT = """
import os, subprocess, sys
import ray
from ray._private.state import state
from ray._private.worker import global_worker
from optsweep.config.launchers import RayLaunch
from optsweep.execution.ray.executor import RayTasks
from optsweep.execution.executor import Task

secret = os.environ["MLFLOW_TRACKING_PASSWORD"]
tasks = RayTasks(RayLaunch(address=sys.argv[1]), 1, print)
future = tasks.submit(Task([], sys.argv[2], "1", None, "", False))
tasks.start()
print("outcome", future.exception())
tables = state._connect_and_get_accessor()
while not (events := tables.get_task_events()):
    pass
for name, rows in (("events", events), ("jobs", tables.get_job_table())):
    print(name, len(rows) > 0, any(secret.encode() in row for row in rows))
logs = global_worker.node.get_session_dir_path()
found = subprocess.run(["grep", "-rl", secret, logs], capture_output=True, text=True)
print("logs", os.path.isdir(logs), found.returncode != 1)
tasks.close()
"""


@pytest.mark.long
def test_what_ray_lists_and_logs_holds_no_password(ray: Ray) -> None:
    secrets = {"MLFLOW_TRACKING_PASSWORD": "hunter2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _SENT, ray.address, "http://lab:hunter2@127.0.0.1:9"],
        env=environment(secrets),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    lines = done.stdout.splitlines()
    expected = ["events True False", "jobs True False", "logs True False"]
    assert lines[-3:] == expected, done.stdout + done.stderr
    assert "outcome" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hydra.launcher.cpus=64", "no node has CPU 64 for a run"),
        ("hydra.launcher.gpus=2", "no node has CPU 1, GPU 2 for a run"),
        ("hydra.launcher.address='127.0.0.1:9'", "no Ray cluster answers"),
        ("hydra.launcher.gpus=1.5", "a share of one GPU or an integer"),
    ],
)
@pytest.mark.long
def test_what_cannot_work_gets_one_line(address: str, project: Path, given: str, said: str) -> None:
    where = [] if "address" in given else [address]
    done = run(project, "-m", "lr=1,2", "epochs=1", ENGINE, *where, given)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
