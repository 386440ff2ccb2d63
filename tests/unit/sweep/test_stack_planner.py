"""Which runs are trained together."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optsweep.config.launchers import Launch
from optsweep.config.settings import Option
from optsweep.execution.worker_count import count_workers
from optsweep.runs.job import Job
from optsweep.sweep.planning.stack_planner import plan_stacks
from support.in_process import new


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    from support.command import copy_project

    return new(copy_project(tmp_path_factory.mktemp("plan") / "project"), "model.hidden=[16]")


def varied(job: Job, number: int, **changes: object) -> Job:
    folder = job.folder / str(number)
    return replace(job, folder=folder, settings=replace(job.settings, **changes))  # type: ignore[arg-type]


def test_runs_that_differ_in_what_shapes_the_computation_go_apart(job: Job) -> None:
    other = varied(job, 9, batch_size=32)
    jobs = [varied(job, 0, lr=0.1), other, varied(job, 1, seed=5), varied(job, 2, lr=0.2)]
    assert plan_stacks(jobs, range(4), Launch(stack=8), 2).groups == [(0, 2, 3), (1,)]


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 3}, {"val_fraction": 0.2}, {"precision": "bf16"}, {"log_every": 7}],
    ids=lambda changes: next(iter(changes)),
)
def test_each_of_these_shapes_the_computation(job: Job, changes: dict[str, object]) -> None:
    jobs = [varied(job, 0), varied(job, 1, **changes)]
    assert plan_stacks(jobs, range(2), Launch(stack=2), 2).groups == [(0,), (1,)]


@given(
    runs=st.integers(1, 40),
    workers=st.integers(1, 8),
    stack=st.none() | st.integers(1, 16),
    kinds=st.integers(1, 3),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_run_is_in_one_group_of_runs_that_agree(
    job: Job, runs: int, workers: int, stack: int | None, kinds: int
) -> None:
    jobs = [varied(job, n, lr=0.1 + n, batch_size=32 + n % kinds) for n in range(runs)]
    todo = list(range(0, runs, 2))
    groups = plan_stacks(jobs, todo, Launch(stack=stack), workers).groups
    assert sorted(place for group in groups for place in group) == todo
    for group in groups:
        assert len({jobs[place].settings.batch_size for place in group}) == 1
        assert list(group) == sorted(group)
        if stack is not None:
            assert len(group) <= stack
        else:
            assert len(group) <= -(-len(todo) // workers)


def test_on_a_cpu_large_models_and_convolutions_are_left_alone(project: Path) -> None:
    for overrides in (("model.hidden=[512,512]",), ("model=cnn", "dataset.resize=16")):
        one = new(project, *overrides)
        jobs = [varied(one, n, seed=n) for n in range(4)]
        assert plan_stacks(jobs, range(4), Launch(), 2).groups == [(0,), (1,), (2,), (3,)]
    medium = new(project, "model.hidden=[512]")
    for precision, groups in (("fp32", [(0, 1), (2, 3)]), ("bf16", [(0,), (1,), (2,), (3,)])):
        jobs = [varied(medium, n, seed=n, precision=precision) for n in range(4)]
        assert plan_stacks(jobs, range(4), Launch(), 2).groups == groups
    small = new(project, "model.hidden=[32,32]")
    jobs = [varied(small, n, seed=n) for n in range(4)]
    assert plan_stacks(jobs, range(4), Launch(), 2).groups == [(0, 1), (2, 3)]
    assert plan_stacks(jobs, range(4), Launch(workers=0), 0).groups == [(0,), (1,), (2,), (3,)]


def test_runs_of_an_optimizer_that_draws_random_numbers_are_trained_alone(job: Job) -> None:
    random = Option("noisy", "pytorch_optimizer.Gravity", {"lr": 0.1})
    jobs = [varied(job, n, **({"optimizer": random} if n < 2 else {})) for n in range(4)]
    plan = plan_stacks(jobs, range(4), Launch(stack=2), 2)
    assert plan.groups == [(0,), (1,), (2, 3)]
    assert plan.remarks == [
        "optimizer=noisy trains runs individually: "
        "it draws random numbers, which runs of a stack would share"
    ]


def test_a_plan_in_words(job: Job) -> None:
    jobs = [varied(job, n, lr=0.1 + n) for n in range(7)]
    assert str(plan_stacks(jobs, range(7), Launch(stack=3), 2)) == "2 stacks of 3, 1 run alone"


def test_runs_that_were_a_stack_stay_one_and_a_lone_one_stays_alone(
    job: Job, tmp_path: Path
) -> None:
    jobs = [
        replace(varied(job, n, lr=0.1 + n), folder=tmp_path / str(n), run_id=f"run {n}")
        for n in range(5)
    ]
    for place in range(5):
        jobs[place].folder.mkdir()
    for place in (0, 3):
        (jobs[place].folder / "stack.txt").write_text("../stacks/0123456789abcdef.bin")
    (jobs[1].folder / "checkpoint.bin").write_bytes(b"")
    assert plan_stacks(jobs, range(5), Launch(), 2).groups == [(0, 3), (1,), (2, 4)]


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("stack", [None, 8])
def test_no_more_runs_are_trained_at_once_than_allowed(
    job: Job, at_once: int, stack: int | None
) -> None:
    jobs = [varied(job, number, lr=0.1 + number) for number in range(12)]
    launch = Launch(workers=4, stack=stack, at_once=at_once)
    workers = count_workers(launch, jobs[0].settings, len(jobs))
    groups = plan_stacks(jobs, range(len(jobs)), launch, workers).groups
    assert sorted(place for group in groups for place in group) == list(range(12))
    assert workers * max(map(len, groups)) <= at_once
