"""Who draws the pictures of a sweep's best run: another process, or this one where that fails."""

import io
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from optsweep.errors import TaskFailed
from optsweep.models.trained_model import WEIGHTS
from optsweep.records.run import RunRecord
from optsweep.runs.artifacts import UnusableWeights
from optsweep.runs.job import Job
from optsweep.sweep.best import drawing
from optsweep.tracking.store import Store
from support.in_process import job_in
from support.records import sweep

STORE = Store.attach("sqlite:////nowhere/mlflow.db", "1")


class Process:
    """In place of `LocalProcesses`: works at once, on what a pipe would have brought."""

    broken = False

    def __init__(self, workers: int, run: Callable[[Any], list[RunRecord]]) -> None:
        self._run = run

    def submit(self, task: Any) -> "Future[list[RunRecord]]":
        future: Future[list[RunRecord]] = Future()
        if self.broken:
            future.set_exception(TaskFailed("its process was killed"))
        else:
            run, task = pickle.loads(pickle.dumps((self._run, task)))
            future.set_result(run(task))
        return future

    def stop(self) -> None:
        """Nothing was started."""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What was drawn: each run's name, and whether it was this process that was given it."""
    found: list[tuple[str, bool]] = []

    def keep(job: Job, run: RunRecord, store: Store) -> None:
        found.append((f"{job.folder.name} {run.name}", store is STORE))

    monkeypatch.setattr(drawing, "keep_best_figures", keep)
    monkeypatch.setattr(drawing, "LocalProcesses", Process)
    return found


def draw(folder: Path, *, beside: bool) -> str:
    """Draws the best of four runs; returns the name of its folder and its own, and what is said."""
    record = sweep({"optimizer": ["sgd", "adam"], "lr": [1e-3, 1e-1]})
    jobs = [job_in(folder / str(number)) for number in range(4)]
    for job in jobs:
        job.folder.mkdir()
        (job.folder / WEIGHTS).touch()
    out = io.StringIO()
    with drawing.drawing_best(record, jobs, STORE, Console(file=out, width=200), beside=beside):
        pass
    return out.getvalue()


@pytest.mark.parametrize(
    ("beside", "broken", "here"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_another_process_draws_and_this_one_what_that_could_not(
    drawn: list[tuple[str, bool]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    beside: bool,
    broken: bool,
    here: bool,
) -> None:
    monkeypatch.setattr(Process, "broken", broken)
    assert draw(tmp_path, beside=beside) == ""
    assert drawn == [("2 adam lr=0.001 seed=0", here)]


def test_why_nothing_could_be_drawn_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise UnusableWeights("model.safetensors\n  cannot be read")

    monkeypatch.setattr(drawing, "keep_best_figures", refuse)
    said = draw(tmp_path, beside=False)
    assert said == "no pictures of adam lr=0.001 seed=0: model.safetensors cannot be read\n"
