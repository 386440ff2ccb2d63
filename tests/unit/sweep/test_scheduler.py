"""What becomes of groups of runs, and what is asked of those that run; no run is trained."""

import io
import json
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from optsweep.config.launchers import Launch
from optsweep.errors import StackFailed
from optsweep.execution.executor import Crashed, Task
from optsweep.records.run import RunRecord
from optsweep.runs.job import Job
from optsweep.runs.stack_member import TrackingContext, new_record
from optsweep.runs.status_file import STATUS_FILE, read_status
from optsweep.sweep import scheduler
from optsweep.sweep.display.progress import SweepProgress
from optsweep.sweep.scheduler import Scheduler
from support.in_process import new

KILLED = Crashed("its process was killed by SIGKILL")


class Scripted:
    """An executor whose tasks end as they are asked to, at once; the others finish."""

    def __init__(self, workers: int, *ends: Exception) -> None:
        self.workers = workers
        self.ends = list(ends)
        self.given: list[list[float]] = []  # each task's learning rates

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        self.given.append([job.settings.lr for job in task.jobs])
        future: Future[list[RunRecord]] = Future()
        if self.ends:
            future.set_exception(self.ends.pop(0))
        else:
            future.set_result([ended(job) for job in task.jobs])
        return future

    def start(self) -> None:
        """Nothing waits."""

    stop = close = start


def ended(job: Job) -> RunRecord:
    record = new_record(job)
    record.status, record.diverged = "FINISHED", True
    return record


@pytest.fixture
def job(project: Path) -> Job:
    return new(project, "model.hidden=[16]")


def scheduler_of(job: Job, runs: int, launch: Launch | None = None) -> Scheduler:
    """So many jobs under way, which differ in their learning rates: 1, 2, ..."""
    jobs = [
        replace(
            job,
            folder=job.folder / str(number),
            run_id=f"run {number}",
            settings=replace(job.settings, lr=float(number)),
        )
        for number in range(1, runs + 1)
    ]
    store = SimpleNamespace(uri="", experiment_id="", end=lambda *given, **more: None)
    context = TrackingContext(store)  # type: ignore[arg-type]
    records = list(map(new_record, jobs))
    return Scheduler(jobs, records, launch or Launch(), context, lambda place, folder: None)


def given(
    job: Job, runs: int, groups: Sequence[tuple[int, ...]], *ends: Exception
) -> tuple[list[list[float]], str]:
    """What an executor whose first tasks end so is given, and what is said meanwhile."""
    executor, console = Scripted(1, *ends), Console(file=io.StringIO(), width=200)
    under_way = scheduler_of(job, runs)
    with SweepProgress(console, runs, 0) as progress:
        under_way.run(groups, executor, progress)
    assert isinstance(console.file, io.StringIO)
    return executor.given, console.file.getvalue()


def test_a_stack_whose_worker_dies_is_tried_once_more_as_it_was(job: Job) -> None:
    tasks, said = given(job, 2, [(0, 1)], KILLED)
    assert tasks == [[1, 2], [1, 2]]
    assert "a stack of 2 runs is tried again: its process was killed by SIGKILL" in said


def test_a_stack_whose_worker_dies_again_is_taken_apart(job: Job) -> None:
    tasks, said = given(job, 3, [(0, 1, 2)], KILLED, KILLED)
    assert tasks == [[1, 2, 3], [1, 2, 3], [1], [2], [3]]
    assert "a stack of 3 runs is tried again" in said
    assert "a stack of 3 runs continues as single runs: its process was killed by SIGKILL" in said


def test_a_stack_that_fails_otherwise_is_taken_apart_at_once(job: Job) -> None:
    tasks, _ = given(job, 2, [(0, 1)], StackFailed("it broke"))
    assert tasks == [[1, 2], [1], [2]]


def test_halves_of_a_stack_may_each_die_once(job: Job) -> None:
    full = StackFailed("full", out_of_memory=True)
    tasks, _ = given(job, 4, [(0, 1, 2, 3)], full, KILLED)
    assert tasks == [[1, 2, 3, 4], [1, 2], [1, 2], [3, 4]] or tasks[1:] == [[1, 2], [3, 4], [1, 2]]


class Held(Scripted):
    """An executor that takes all tasks at once, and ends them together."""

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        future: Future[list[RunRecord]] = Future()
        self.held.append((future, task))
        return future

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.held: list[tuple[Future[list[RunRecord]], Task]] = []

    def end(self) -> None:
        for future, task in self.held:
            future.set_result([ended(job) for job in task.jobs])


def looked_at(
    job: Job, console: Console, monkeypatch: pytest.MonkeyPatch, running: range
) -> tuple[list[int], int]:
    """How many files each of ten looks at 200 groups reads; how many runs the last one shows."""
    executor, under_way = Held(200), scheduler_of(job, 200)
    reads: list[int] = []
    shown: list[int] = []
    for number in running:
        folder = job.folder / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STATUS_FILE).write_text(json.dumps({"run_id": "", "epoch": 1, "scores": ""}))

    def count(path: Path) -> dict[str, object]:
        reads[-1] += 1
        return read_status(path)

    class Counted(SweepProgress):
        @property
        def lines(self) -> int:
            reads.append(0)
            return super().lines

        def running(self, statuses: "object") -> None:
            super().running(statuses)  # type: ignore[arg-type]
            shown.append(len(statuses))  # type: ignore[arg-type]
            if len(shown) == 10:
                threading.Thread(target=executor.end).start()

    monkeypatch.setattr(scheduler, "read_status", count)
    monkeypatch.setattr(scheduler, "_GLANCE", 0.01)
    with Counted(console, 200, 0) as progress:
        under_way.run([(place,) for place in range(200)], executor, progress)
    return reads[:10], shown[9]


def test_without_a_terminal_no_progress_is_read(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=200)
    assert looked_at(job, console, monkeypatch, range(1, 201)) == ([0] * 10, 0)


@pytest.mark.parametrize("running", [range(1, 201), range(150, 154)], ids=["all", "a few"])
def test_a_terminal_reads_what_it_shows_and_asks_a_few_others(
    job: Job, monkeypatch: pytest.MonkeyPatch, running: range
) -> None:
    console = Console(file=io.StringIO(), width=200, height=24, force_terminal=True)
    reads, shown = looked_at(job, console, monkeypatch, running)
    assert max(reads) <= 2 * 20
    assert shown == min(20, len(running))
