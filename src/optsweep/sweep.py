"""A sweep: jobs planned, carried out side by side, and concluded whatever happens.

`carry_out` is given jobs that `jobs.ready` has checked. One parent run in MLflow holds the sweep.
With `resume`, what an earlier sweep finished is taken over and what it left unfinished goes on.
"""

import hashlib
import json
import queue
import shutil
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optsweep import environment
from optsweep.executors import Crashed, Executor, cores, count_workers, make_executor
from optsweep.jobs import Job
from optsweep.owner import Owner, is_dead
from optsweep.progress import SweepProgress, read_note
from optsweep.results import (
    SCORES,
    RunRecord,
    SweepRecord,
    best,
    rank,
    ranking_split,
    table_csv,
    table_row,
)
from optsweep.run import WEIGHTS, keep_best_figures, new_record, source_tags
from optsweep.settings import Launch
from optsweep.tracking import Store, TrackedRun, ui_command
from optsweep.worker import NOTE, OUTPUT, Task, last_lines

_SHORT = {"accuracy": "acc.", "loss": "loss"}
_GLANCE = 0.2  # seconds between two looks at what is running


@dataclass(frozen=True)
class Sweep:
    """What is to be swept: the overrides as typed, the jobs, the folder, and how."""

    overrides: Sequence[str]
    jobs: Sequence[Job]
    folder: Path
    launch: Launch
    resume: bool
    figures: str

    @property
    def plan(self) -> str:
        """A hash of what is to be run: two sweeps with one plan are the same sweep."""
        fingerprints = " ".join(job.fingerprint for job in self.jobs)
        return hashlib.sha256(fingerprints.encode()).hexdigest()[:32]

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Each swept value's choices, in the order in which they were typed."""
        grid: dict[str, dict[str, Any]] = {}
        for job in self.jobs:
            for key, value in job.swept.items():
                grid.setdefault(key, {})[repr(value)] = value
        return {key: list(choices.values()) for key, choices in grid.items()}


def carry_out(
    sweep: Sweep, store: Store, console: Console, prepare: Callable[[int, Path], None]
) -> SweepRecord:
    """Carries the jobs out and concludes; records come in the jobs' order.

    `prepare` is called with a job's place in the sweep and its folder before that job starts. An
    interrupt is raised again once the runs are marked and the conclusion is written.
    """
    release_dead(store)
    earlier = store.find(kind="sweep", plan=sweep.plan)[:1] if sweep.resume else []
    parent_id = earlier[0].info.run_id if earlier else None
    if earlier:
        sweep = _moved(sweep, Path(earlier[0].data.tags["optsweep.folder"]))
    workers = count_workers(sweep.launch, sweep.jobs[0].settings, len(sweep.jobs))
    sweep = replace(sweep, jobs=_shared_out(sweep.jobs, workers))
    records, todo = _taken_over(sweep, store)
    with (
        Owner(sweep.folder) as owner,
        store.start(
            _title(sweep), params=_params(sweep), tags=_tags(sweep, owner), run_id=parent_id
        ) as parent,
    ):
        course = _Course(sweep, store, parent, owner, records, prepare)
        executor = make_executor(sweep.launch, workers)
        try:
            with SweepProgress(console, len(records), len(records) - len(todo)) as progress:
                course.run(todo, executor, progress)
            executor.close()
        except BaseException:
            executor.stop()
            course.abandon()
            raise
        finally:
            record = _record(sweep, parent.run_id, records)
            _conclude(sweep, record, parent, store, console)
    return record


class _Course:
    """The runs of a sweep under way: which are in the executor's hands, and what became of each."""

    def __init__(
        self,
        sweep: Sweep,
        store: Store,
        parent: TrackedRun,
        owner: Owner,
        records: list[RunRecord],
        prepare: Callable[[int, Path], None],
    ) -> None:
        self._sweep = sweep
        self._store = store
        self._parent = parent
        self._owner = owner
        self._records = records
        self._prepare = prepare
        self._jobs = list(sweep.jobs)
        self._attempts = [0] * len(self._jobs)
        self._in_hand: dict[Future[RunRecord], int] = {}
        # Futures report here as they end: no look at all of them, however many there are.
        self._ended: queue.SimpleQueue[Future[RunRecord]] = queue.SimpleQueue()

    def run(self, todo: Sequence[int], executor: Executor, progress: SweepProgress) -> None:
        """Carries out the jobs at the places `todo`, one more in hand than there are workers."""
        waiting = deque(todo)
        while waiting or self._in_hand:
            while waiting and len(self._in_hand) <= executor.workers:
                self._submit(waiting.popleft(), executor)
            try:
                future = self._ended.get(timeout=_GLANCE)
            except queue.Empty:
                progress.running(self._notes())
                continue
            place = self._in_hand.pop(future)
            if self._is_to_be_tried_again(place, future):
                waiting.appendleft(place)
                continue
            self._records[place] = self._outcome(place, future)
            progress.ended(self._records[place])
            if self._sweep.launch.fail_fast and self._records[place].status == "FAILED":
                executor.stop()
                self.abandon()
                return

    def _submit(self, place: int, executor: Executor) -> None:
        self._prepare(place, self._jobs[place].folder)
        self._attempts[place] += 1
        task = Task(
            self._jobs[place],
            self._store.uri,
            self._store.experiment_id,
            self._parent.run_id,
            self._owner.name,
            figures=self._sweep.figures == "all",
        )
        future = executor.submit(task)
        self._in_hand[future] = place
        future.add_done_callback(self._ended.put)

    def _is_to_be_tried_again(self, place: int, future: "Future[RunRecord]") -> bool:
        """A crash is tried again where retries are left: in its own run, from its checkpoint."""
        crashed = isinstance(future.exception(), Crashed)
        if not crashed or self._attempts[place] > self._sweep.launch.retries:
            return False
        self._jobs[place] = replace(self._jobs[place], run_id=self._run_id(place) or None)
        return True

    def _outcome(self, place: int, future: "Future[RunRecord]") -> RunRecord:
        error = future.exception()
        if error is None:
            return future.result()
        job = self._jobs[place]
        record = new_record(job)
        record.status, record.run_id = "FAILED", self._run_id(place)
        record.output = last_lines(job.folder / OUTPUT)
        record.error = str(error)
        if isinstance(error, TimeoutError):
            record.error = (
                f"took longer than hydra.launcher.timeout={self._sweep.launch.timeout:g} s"
            )
        if record.run_id:
            self._store.end(record.run_id, "FAILED", record.error, record.output)
        return record

    def _run_id(self, place: int) -> str:
        """A run's id in MLflow, from its worker's note; empty where it got no further."""
        job = self._jobs[place]
        return str(read_note(job.folder / NOTE).get("run_id") or job.run_id or "")

    def _notes(self) -> dict[str, tuple[Mapping[str, object], int]]:
        notes: dict[str, tuple[Mapping[str, object], int]] = {}
        for place in self._in_hand.values():
            job = self._jobs[place]
            if note := read_note(job.folder / NOTE):
                notes[job.name] = (note, job.settings.epochs)
        return notes

    def abandon(self) -> None:
        """Marks the runs that were in hand as KILLED, their workers being gone."""
        for place in self._in_hand.values():
            record = self._records[place] = new_record(self._jobs[place])
            record.status, record.run_id = "KILLED", self._run_id(place)
        self._in_hand.clear()
        for run in self._store.find(status="RUNNING", parent=self._parent.run_id):
            self._store.end(run.info.run_id, "KILLED")


def release_dead(store: Store) -> None:
    """Marks as KILLED what a launcher that is gone left RUNNING; a living one's is not touched."""
    verdicts: dict[str, bool] = {}
    for run in store.find(status="RUNNING"):
        owner = run.data.tags.get("optsweep.owner")
        if not owner:
            continue
        if owner not in verdicts:
            verdicts[owner] = is_dead(owner)
        if verdicts[owner]:
            store.end(run.info.run_id, "KILLED")


def _moved(sweep: Sweep, folder: Path) -> Sweep:
    """The sweep in the folder of the one that it goes on with; its own, still empty, is removed."""
    jobs = [
        replace(job, folder=folder / job.folder.relative_to(sweep.folder)) for job in sweep.jobs
    ]
    if folder != sweep.folder:
        shutil.rmtree(sweep.folder, ignore_errors=True)
    return replace(sweep, folder=folder, jobs=jobs)


def _shared_out(jobs: Sequence[Job], workers: int) -> list[Job]:
    """The jobs with the cores shared among the workers, and CUDA's devices given out in turn."""
    threads = max(1, cores() // max(1, workers))
    shared = []
    for number, job in enumerate(jobs):
        settings = job.settings
        if settings.threads is None:
            settings = replace(settings, threads=threads)
        if settings.device == "cuda" and workers > 1:
            settings = replace(settings, device=f"cuda:{number % workers}")
        shared.append(replace(job, settings=settings))
    return shared


def _taken_over(sweep: Sweep, store: Store) -> tuple[list[RunRecord], list[int]]:
    """A record for each job, and the places of those that are still to be carried out."""
    records = [new_record(job) for job in sweep.jobs]
    if not sweep.resume:
        return records, list(range(len(records)))
    finished: dict[str, Any] = {}
    unfinished: dict[str, Any] = {}
    for run in reversed(store.find(kind="run")):  # the newest comes last and counts
        if "optsweep.pruned" not in run.data.tags:
            kind = finished if run.info.status == "FINISHED" else unfinished
            kind[run.data.tags["optsweep.fingerprint"]] = run
    todo = []
    for place, job in enumerate(sweep.jobs):
        if job.fingerprint in finished:
            records[place] = store.record(finished[job.fingerprint], records[place])
        else:
            todo.append(place)
            if job.fingerprint in unfinished:
                _go_on_with(sweep, place, unfinished[job.fingerprint])
    return records, todo


def _go_on_with(sweep: Sweep, place: int, run: Any) -> None:
    """Lets a job go on in the MLflow run and the folder that it was left in."""
    assert isinstance(sweep.jobs, list)
    folder = Path(run.data.tags["optsweep.folder"])
    sweep.jobs[place] = replace(sweep.jobs[place], run_id=run.info.run_id, folder=folder)


def _title(sweep: Sweep) -> str:
    return " ".join(sweep.overrides) or "sweep"


def _params(sweep: Sweep) -> dict[str, Any]:
    grid = {f"grid.{key}": ",".join(map(str, values)) for key, values in sweep.grid.items()}
    return {"overrides": _title(sweep), "runs": len(sweep.jobs), **grid}


def _tags(sweep: Sweep, owner: Owner) -> dict[str, str]:
    return {
        "optsweep.kind": "sweep",
        "optsweep.plan": sweep.plan,
        "optsweep.folder": str(sweep.folder),
        "optsweep.owner": owner.name,
        **source_tags(),
    }


def _record(sweep: Sweep, run_id: str, records: Sequence[RunRecord]) -> SweepRecord:
    first = records[0].params
    common = {
        key: value
        for key, value in first.items()
        if all(record.params.get(key) == value for record in records)
    }
    return SweepRecord(
        run_id=run_id,
        overrides=[typed for typed in sweep.overrides if not typed.startswith("resume=")],
        grid=sweep.grid,
        runs=records,
        environment=environment.describe(),
        common=common,
    )


def _conclude(
    sweep: Sweep, record: SweepRecord, parent: TrackedRun, store: Store, console: Console
) -> None:
    """The table on the terminal, in the folder and in MLflow; the best run, with its pictures."""
    ranked = rank(record.runs)
    path = sweep.folder / "table.csv"
    path.write_text(table_csv(ranked))
    parent.log_file(path)
    reused = [run.run_id for run in record.runs if run.reused]
    parent.tag(reused=json.dumps(reused))
    first = best(record.runs)
    if first is not None:
        job = next(job for job, run in zip(sweep.jobs, record.runs, strict=True) if run is first)
        parent.tag(best_run_id=first.run_id, best_run=first.name)
        parent.tag(**{f"best.{key}": str(value) for key, value in first.params.items()})
        parent.log_metrics({f"best/{name}": value for name, value in first.metrics.items()})
        if sweep.figures == "best" and (job.folder / WEIGHTS).exists():
            keep_best_figures(job, first, store)
    console.print(_table(sweep, ranked))
    if first is not None:
        console.print(_sentence(first))
    console.print(f"folder  {sweep.folder}", highlight=False, soft_wrap=True)
    console.print(f"MLflow  {ui_command(store.uri)}", highlight=False, soft_wrap=True)


def _sentence(best: RunRecord) -> str:
    split = ranking_split(best.metrics)
    judged = f"test accuracy {best.metrics.get('test/accuracy', float('nan')):.4f}"
    if split == "val":
        judged = f"validation accuracy {best.metrics['val/accuracy']:.4f}, {judged}"
    else:
        judged += "; ranked by test, as val_fraction=0 leaves no validation data"
    return f"[bold]best[/]    {escape(best.name)}: {judged}"


def _table(sweep: Sweep, ranked: Sequence[RunRecord]) -> Table:
    """Fits 80 columns with two swept values: four digits a score, names over two lines."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    shown = [name for name in SCORES if any(name in result.metrics for result in ranked)]
    for key in sweep.grid:
        table.add_column(key, overflow="fold", min_width=5)
    for name in shown:
        split, score = name.split("/")
        table.add_column(f"{split}\n{_SHORT[score]}", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("notes", overflow="fold")
    for result in ranked:
        row = table_row(result)
        scores = ["" if row[name] is None else f"{row[name]:.4f}" for name in shown]
        swept = [escape(str(result.swept.get(key, ""))) for key in sweep.grid]
        table.add_row(*swept, *scores, f"{result.seconds:.1f} s", escape(row["notes"]))
    return table
