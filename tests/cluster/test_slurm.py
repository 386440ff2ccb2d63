"""Sweeps on a real Slurm of one machine."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from optsweep.config.launchers import RayLaunch, SlurmLaunch
from optsweep.execution.executor import Crashed, Task
from optsweep.execution.slurm.executor import SlurmJobs
from optsweep.execution.slurm.job import resumed
from support import slurm as slurms
from support.command import run
from support.executors import Gate, assert_as_on_this_machine, project_with, searched, steps, swept
from support.in_process import job_in
from support.settings import changed
from support.slurm import Slurm
from support.store import by_name

ENGINE = "hydra/launcher=slurm"


@pytest.fixture(scope="module", params=["accounting", "no accounting"])
def slurm(request: pytest.FixtureRequest) -> Iterator[Slurm]:
    accounting = request.param == "accounting"
    if reason := slurms.missing(accounting):
        pytest.skip(reason)
    with Slurm(accounting) as made:
        yield made


@pytest.fixture(scope="module")
def plain() -> Iterator[Slurm]:
    if reason := slurms.missing(accounting=False):
        pytest.skip(reason)
    with Slurm(accounting=False) as made:
        yield made


@pytest.mark.long
def test_a_sweep_is_the_same_as_on_this_machine(slurm: Slurm, local: Path, tmp_path: Path) -> None:
    project = project_with(tmp_path)
    code, output = swept(project, ENGINE, env=slurm.environment)
    assert code == 1, output
    assert "2 of 6 runs did not finish" in output
    assert_as_on_this_machine(project, local)
    assert slurm.empties()


@pytest.mark.long
def test_a_preempted_run_continues_and_a_cancelled_one_is_noticed(
    plain: Slurm, tmp_path: Path
) -> None:
    project = project_with(tmp_path)
    retries = "hydra.launcher.retries=0"
    sweep = Gate(project, ENGINE, "seed=0,1,2", retries, env=plain.environment)
    sweep.wait_for(3)
    first, second, third = sorted(plain.queue())
    plain.ask("scancel", "--signal=USR2", first)
    plain.ask("scancel", second)
    while second in plain.queue():  # it has some seconds to end by itself
        time.sleep(0.2)
    for _ in range(300):
        if "Restarts=1" in plain.ask("scontrol", "show", "job", first):
            break
        time.sleep(0.2)
    sweep.open()
    code, output = sweep.end()
    assert code == 1, output
    found = by_name(project)
    statuses = [found[f"sgd lr=0.001 seed={seed}"].info.status for seed in range(3)]
    assert statuses == ["FINISHED", "FAILED", "FINISHED"], output
    assert len(found) == 3
    error = found["sgd lr=0.001 seed=1"].data.tags["optsweep.error"]
    assert f"its Slurm job {second}" in error
    whole = [1, 2, 3, 4, 5]
    assert steps(project) == {
        "sgd lr=0.001 seed=0": whole,
        "sgd lr=0.001 seed=1": [1],
        "sgd lr=0.001 seed=2": whole,
    }
    assert "Restarts=1" in plain.ask("scontrol", "show", "job", first)
    assert "Restarts=0" in plain.ask("scontrol", "show", "job", third)
    assert plain.empties()


@pytest.mark.long
def test_a_search_proposes_what_it_does_on_this_machine(
    plain: Slurm, found_locally: list[dict[str, str]], tmp_path: Path
) -> None:
    parallel = "hydra.launcher.max_parallel=2"
    found = searched(project_with(tmp_path), ENGINE, parallel, env=plain.environment)
    assert found == found_locally


@pytest.mark.long
def test_ctrl_c_leaves_no_job_in_the_queue(plain: Slurm, tmp_path: Path) -> None:
    project = project_with(tmp_path)
    parallel = "hydra.launcher.max_parallel=2"
    sweep = Gate(project, ENGINE, "seed=0,1,2", parallel, env=plain.environment)
    sweep.wait_for(2)
    assert len(plain.queue()) == 2
    os.kill(sweep.process.pid, signal.SIGINT)
    code, output = sweep.end()
    assert code == 130, output
    assert "cancelling 2 Slurm jobs" in output
    assert plain.queue() == []
    assert {one.info.status for one in by_name(project).values()} == {"KILLED"}


@pytest.mark.long
def test_a_run_whose_node_is_lost_continues_when_it_is_back(plain: Slurm, tmp_path: Path) -> None:
    project = project_with(tmp_path)
    sweep = Gate(project, ENGINE, "seed=0,1", env=plain.environment)
    sweep.wait_for(2)
    plain.lose_node()
    time.sleep(5)
    plain.bring_node_back()
    sweep.open()
    code, output = sweep.end()
    assert code == 0, output
    assert {one.info.status for one in by_name(project).values()} == {"FINISHED"}
    assert list(steps(project).values()) == [[1, 2, 3, 4, 5]] * 2
    assert plain.empties()


@pytest.mark.long
def test_a_slurm_that_stays_silent_has_lost_nothing(
    plain: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.slurm.executor._PATIENCE", 3.0)
    monkeypatch.setattr("optsweep.execution.slurm.executor._QUESTION", 0.5)
    for name, value in plain.environment.items():
        monkeypatch.setenv(name, value)
    said: list[str] = []
    jobs = SlurmJobs(SlurmLaunch(options={"hold": True}), tmp_path, said.append)
    future = jobs.submit(Task([], "sqlite:///x", "1", None, "", False))
    jobs.start()
    (job,) = plain.queue()
    try:
        plain.fall_silent()
        for _ in range(600):
            if said:
                break
            time.sleep(0.2)
        assert "Slurm does not answer" in said[0]
        assert not future.done()
        plain.answer_again()
        assert plain.queue() == [job]
        plain.ask("scontrol", "release", job)
        with pytest.raises(Crashed, match="IndexError"):  # it has no jobs
            future.result(timeout=200)
        assert said[1:] == ["Slurm answers again"]
    finally:
        jobs.close()
        plain.ask("scancel", "--user=root")


@pytest.mark.long
def test_ctrl_c_while_slurm_is_silent_marks_the_runs_and_ends_the_jobs(
    plain: Slurm, tmp_path: Path
) -> None:
    project = project_with(tmp_path)
    sweep = Gate(project, ENGINE, "seed=0,1", env=plain.environment)
    sweep.wait_for(2)
    processes = jobs_of(project)
    assert processes
    plain.fall_silent()
    try:
        os.kill(sweep.process.pid, signal.SIGINT)
        code, output = sweep.end()
        assert code == 130, output
        assert "type scancel" in output
        assert {one.info.status for one in by_name(project).values()} == {"KILLED"}
        assert list(project.glob("outputs/*/*/report.html")), output
        for _ in range(600):  # nobody cancels them
            if not jobs_of(project):
                break
            time.sleep(0.1)
        assert not jobs_of(project)
    finally:
        plain.answer_again()
        plain.ask("scancel", "--user=root")


def jobs_of(project: Path) -> list[int]:
    """The processes of a sweep's Slurm jobs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"submitit.core._submit" in command and str(project).encode() in command:
                found.append(int(process.name))
    return found


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("hydra.launcher.partition=wide", "type mlflow server --host 0.0.0.0"),
        ("hydra.launcher.partition=none", "type one of: main wide"),
        ("device=cuda", "type hydra.launcher.gpus=1"),
        ("hydra.launcher.options={nonsense: 1}", "sbatch refuses the jobs"),
    ],
)
@pytest.mark.long
def test_what_cannot_work_gets_one_line(plain: Slurm, project: Path, given: str, said: str) -> None:
    before = plain.queue()  # what an earlier test left may be ending still
    done = run(project, "-m", "lr=1,2", "epochs=1", ENGINE, given, env=plain.environment)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert set(plain.queue()) <= set(before)


@pytest.mark.long
def test_without_slurm_there_is_one_line(project: Path) -> None:
    pytest.importorskip("submitit")
    done = run(project, "-m", "lr=1,2", ENGINE, env={"PATH": "/nowhere"})
    assert done.returncode == 2
    assert "start the sweep on a login node" in done.stderr


def test_a_requeued_task_continues_with_the_runs_that_it_had_begun(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    (tmp_path / ".progress.json").write_text('{"run_id": "abc", "epoch": 1, "scores": ""}')
    task = Task([job], "sqlite:///x", "1", None, "", False)
    assert resumed(task).jobs[0].run_id == "abc"


def test_a_run_computes_with_the_cores_that_it_is_given_unless_threads_are_typed() -> None:
    settings = changed(device="auto", threads=None)
    placed = SlurmLaunch(cpus=4).placed(settings)
    assert (placed.threads, placed.device) == (4, "cpu")
    assert SlurmLaunch(cpus=4).placed(changed(threads=3)).threads == 3
    assert RayLaunch(cpus=0.5, gpus=0.5).placed(settings).threads == 1
    assert RayLaunch(cpus=0.5, gpus=0.5).placed(settings).device == "cuda"
