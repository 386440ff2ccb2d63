"""A sweep that is killed at any moment and resumed equals one that was not, bit for bit."""

import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.command import copy_project, run
from support.interrupted import (
    Points,
    Started,
    before_the_first_epoch,
    between_two_runs,
    in_the_middle,
    in_the_summary,
    interrupt_group,
    interrupt_launcher,
    kill_launcher,
    kill_server,
    kill_worker,
    no_process_is_left,
    points,
    terminate_launcher,
    while_weights_are_written,
)
from support.store import QUICK, runs

SWEEP = ("-m", "optimizer=adam,rmsprop", "lr=1e-3,1e-2", "figures=none")
GRID = (*SWEEP, "hydra.launcher.stack=1")
MANY = (*GRID, "seed=0,1,2")
STACKED = (*SWEEP, "hydra.launcher.stack=2")
SETTINGS = ("epochs=40", "model.hidden=[64]", "schedule=cosine", "threads=1")


def uninterrupted(project: Path, grid: tuple[str, ...]) -> Points:
    done = run(copy_project(project), *grid, *SETTINGS)
    assert done.returncode == 0, done.stdout + done.stderr
    return points(project)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """What the uninterrupted sweep gives."""
    return uninterrupted(tmp_path_factory.mktemp("expected") / "project", GRID)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """What an uninterrupted sweep of more runs than can be hit gives."""
    return uninterrupted(tmp_path_factory.mktemp("many") / "project", MANY)


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """What the uninterrupted sweep gives in stacks of two."""
    return uninterrupted(tmp_path_factory.mktemp("stacked") / "project", STACKED)


CODES: dict[Callable[[Started], None], set[int]] = {
    kill_launcher: {-signal.SIGKILL},
    kill_worker: {0, 1},
    kill_server: {0, 1},
    interrupt_launcher: {130},
    interrupt_group: {130},
    terminate_launcher: {143},
}
MOMENTS = (
    before_the_first_epoch,
    in_the_middle,
    while_weights_are_written,
    between_two_runs,
    in_the_summary,
)
Moment = Callable[[Path], bool]


def struck(
    project: Path,
    hit: Callable[[Started], None],
    moments: Sequence[Moment],
    grid: tuple[str, ...],
    *more: str,
) -> None:
    """Hits a sweep at each of some moments, and waits for its end."""
    for path in project.glob("outputs/*/*/table.csv"):  # what an earlier hit left
        path.unlink()
    started = Started(project, *grid, *SETTINGS, *more)
    seen: set[int] = set()
    for moment in moments:
        started.wait_for_workers(seen)
        started.wait_for(moment)
        seen = {*started.workers()}
        hit(started)
    code, output = started.end()
    assert code in CODES[hit], output
    assert no_process_is_left(started)


def assert_resumes(project: Path, expected: Points, grid: tuple[str, ...] = GRID) -> None:
    """Resumes a sweep, and compares it with one that was not hit."""
    resumed = run(project, *grid, *SETTINGS, "resume=true")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert points(project) == expected
    found = runs(project)
    assert len(found) == len({name for name, _ in expected})
    assert {one.info.status for one in found} == {"FINISHED"}
    (parent,) = runs(project, "sweep")
    assert parent.info.status == "FINISHED"
    left = [*project.glob("outputs/*/*/*/checkpoint*"), *project.glob("outputs/*/*/stacks")]
    assert left == []


@pytest.mark.long
@pytest.mark.parametrize(
    "hit",
    [kill_launcher, interrupt_group, terminate_launcher],
    ids=lambda hit: str(hit.__name__),
)
def test_a_sweep_that_is_hit_and_resumed_at_moment_after_moment_ends_bit_for_bit(
    hit: Callable[[Started], None], project: Path, expected: Points
) -> None:
    for moment in MOMENTS:
        struck(project, hit, [moment], GRID, "resume=true")
    assert_resumes(project, expected)


@pytest.mark.long
@pytest.mark.parametrize("hit", [kill_worker, kill_server], ids=lambda hit: str(hit.__name__))
def test_a_sweep_whose_workers_are_hit_at_every_moment_resumes_bit_for_bit(
    hit: Callable[[Started], None], project: Path, many: Points
) -> None:
    # In the summary there are no workers, or nothing that they would do any more.
    struck(project, hit, MOMENTS[:-1], MANY)
    assert_resumes(project, many, MANY)


@pytest.mark.long
def test_a_sweep_whose_launcher_alone_is_interrupted_resumes_bit_for_bit(
    project: Path, expected: Points
) -> None:
    struck(project, interrupt_launcher, [in_the_middle], GRID)
    assert_resumes(project, expected)


@pytest.mark.long
@pytest.mark.parametrize(
    "hit",
    [kill_launcher, interrupt_group, kill_server],
    ids=lambda hit: str(hit.__name__),
)
def test_a_stack_that_is_hit_resumes_bit_for_bit(
    hit: Callable[[Started], None], project: Path, stacked: Points
) -> None:
    struck(project, hit, [in_the_middle], STACKED)
    assert_resumes(project, stacked, STACKED)


@pytest.mark.long
def test_a_run_leaves_its_stack_and_continues_alone(project: Path, expected: Points) -> None:
    Started(project, *STACKED, *SETTINGS).die(10)
    assert list(project.glob("outputs/*/*/stacks/*.bin"))
    resumed = run(project, *GRID, *SETTINGS, "resume=true")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    found = points(project)
    assert found.keys() == expected.keys()
    for key, wanted in expected.items():
        assert [step for step, _ in found[key]] == [step for step, _ in wanted]
    for (name, metric), wanted in expected.items():
        if metric == "train/loss":
            assert found[name, metric][0][1] == pytest.approx(wanted[0][1], rel=1e-4)


@pytest.mark.long
def test_a_stack_whose_worker_is_killed_is_tried_again_bit_for_bit(
    project: Path, stacked: Points
) -> None:
    started = Started(project, *STACKED, *SETTINGS)
    started.wait_for_epochs()
    kill_worker(started)
    code, output = started.end()
    assert code == 0, output
    assert "a stack of 2 runs is tried again: its process was killed by SIGKILL" in output
    assert points(project) == stacked


@pytest.mark.long
def test_an_interrupted_sweep_says_how_to_continue(project: Path) -> None:
    started = Started(project, *GRID, *SETTINGS)
    started.wait_for_epochs()
    interrupt_group(started)
    code, output = started.end()
    assert code == 130
    script = str(project / "experiments/run.py")
    assert shlex.join(["python", script, *GRID, *SETTINGS, "resume=true"]) in output
    assert "report" in output
    assert "Traceback" not in output
    (folder,) = project.glob("outputs/*/*")
    assert (folder / "table.csv").exists()
    assert 'http-equiv="refresh"' not in (folder / "report.html").read_text()
    (parent,) = runs(project, "sweep")
    assert parent.info.status == "KILLED"
    assert {one.info.status for one in runs(project)} <= {"KILLED", "FINISHED"}


@pytest.mark.long
def test_after_a_killed_launcher_the_next_sweep_marks_what_it_left(project: Path) -> None:
    Started(project, *GRID, *SETTINGS).die()
    assert "RUNNING" in {one.info.status for one in runs(project) + runs(project, "sweep")}
    assert run(project, *QUICK, "figures=none").returncode == 0
    assert "RUNNING" not in {one.info.status for one in runs(project) + runs(project, "sweep")}


@pytest.mark.long
def test_a_living_sweep_is_not_touched_by_another(project: Path) -> None:
    started = Started(project, *GRID, *SETTINGS)
    started.wait_for_epochs()
    assert run(project, *QUICK, "figures=none").returncode == 0
    code, output = started.end()
    assert code == 0, output
    assert {one.info.status for one in runs(project)} == {"FINISHED"}


@pytest.mark.long
def test_finished_runs_are_reused_in_a_larger_sweep(project: Path) -> None:
    assert run(project, "-m", "lr=1e-2,1e-1", *QUICK, "figures=none").returncode == 0
    done = run(project, "-m", "lr=1e-3,1e-2,1e-1", *QUICK, "figures=none", "resume=true")
    assert done.returncode == 0, done.stderr
    assert len(runs(project)) == 3
    assert done.stdout.count("reused") >= 2
    first, second = runs(project, "sweep")
    assert first.info.run_id != second.info.run_id


@pytest.mark.long
def test_the_same_command_again_with_resume_repeats_nothing(project: Path) -> None:
    for more in ((), ("resume=true",)):
        done = run(project, "-m", "lr=1e-2,1e-1", *QUICK, "figures=none", *more)
        assert done.returncode == 0, done.stderr
    assert len(runs(project)) == 2
    assert len(runs(project, "sweep")) == 1


@pytest.mark.long
def test_a_single_run_continues_too(project: Path) -> None:
    overrides = ("epochs=60", "model.hidden=[64]", "threads=1", "figures=none", "optimizer=adam")
    started = Started(project, *overrides)
    started.wait_for(lambda project: any(project.glob("outputs/*/*/checkpoint.bin")))
    kill_launcher(started)
    started.end()
    done = run(project, *overrides, "resume=true")
    assert done.returncode == 0, done.stderr
    (found,) = runs(project)
    assert found.info.status == "FINISHED"
    interrupted = points(project)
    other = copy_project(project.parent / "other")
    assert run(other, *overrides).returncode == 0
    assert interrupted == points(other)
    again = run(project, *overrides, "resume=true")
    assert "finished before" in again.stdout
    assert len(runs(project)) == 1


@pytest.mark.long
def test_checkpoints_that_cannot_be_used_are_named_and_their_runs_start_over(
    project: Path, expected: Points
) -> None:
    damages = (b"", b"foreign", b"optsweep checkpoint 0\n....")
    started = Started(project, *GRID, *SETTINGS, "hydra.launcher.workers=3")
    pattern = "outputs/*/*/*/checkpoint.bin"
    started.wait_for(lambda project: len(list(project.glob(pattern))) == len(damages))
    started.die()
    checkpoints = sorted(project.glob(pattern))
    for checkpoint, damage in zip(checkpoints, damages, strict=True):
        checkpoint.write_bytes(damage)
    resumed = run(project, *GRID, *SETTINGS, "resume=true")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert points(project) == expected
    for checkpoint, damage in zip(checkpoints, damages, strict=True):
        assert checkpoint.with_name("checkpoint.bin.unusable").read_bytes() == damage
        assert str(checkpoint) in (checkpoint.parent / "optsweep.log").read_text()


@pytest.mark.long
def test_checkpoints_every_few_epochs_double_no_point(project: Path, expected: Points) -> None:
    Started(project, *GRID, *SETTINGS, "checkpoint_every=7").die(17)
    resumed = run(project, *GRID, *SETTINGS, "checkpoint_every=7", "resume=true")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert points(project) == expected
