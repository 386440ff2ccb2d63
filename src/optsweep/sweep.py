"""A sweep: jobs planned, carried out side by side, and concluded whatever happens.

`carry_out` is given jobs that `jobs.ready` has checked. One parent run in MLflow holds the sweep.
With `resume`, what an earlier sweep finished is taken over and what it left unfinished goes on.
"""

import hashlib
import logging
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from optsweep import environment
from optsweep.artifacts import source_tags
from optsweep.checks import redact
from optsweep.conclusion import conclude
from optsweep.course import Course, Group
from optsweep.engines import ClusterLaunch
from optsweep.errors import TrackingError, Unreachable
from optsweep.executors import cores, count_workers, cuda_devices, make_executor
from optsweep.jobs import Job
from optsweep.outbox import Outbox, outboxes, ticket_of
from optsweep.owner import Owner, is_dead
from optsweep.plan import Plan, plan
from optsweep.progress import SweepProgress
from optsweep.reading import finished_records
from optsweep.repeats import setting_name
from optsweep.results import RunRecord, SweepRecord
from optsweep.run import Filing, new_record
from optsweep.settings import Launch
from optsweep.tracking import Run, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """What is to be swept: the overrides as typed, the jobs, the folder, and how.

    `target` and `intervals` are what is asked of the verdict, `extend` is how many steps the
    sweep may go beyond its grid.
    """

    overrides: Sequence[str]
    jobs: Sequence[Job]
    folder: Path
    launch: Launch
    resume: bool
    figures: str
    target: float | None = None
    intervals: str = "t"
    extend: int = 0

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


# Given the records of all jobs so far, in their order: the jobs of a further round, if any.
More = Callable[[Sequence[RunRecord]], Sequence[Job]]


@dataclass(frozen=True)
class _Round:
    """Jobs that are planned together, a record for each, and the groups still to be done."""

    jobs: Sequence[Job]
    records: list[RunRecord]
    todo: Sequence[Group]

    @property
    def reused(self) -> int:
        return len(self.jobs) - sum(map(len, self.todo))


def carry_out(
    sweep: Sweep,
    store: Store,
    console: Console,
    prepare: Callable[[int, Path], None],
    more: More | None = None,
) -> SweepRecord:
    """Carries the jobs out and concludes; records come in the jobs' order.

    `prepare` is called with a job's place in the sweep and its folder before that job starts. Once
    all jobs are done, `more` is asked for another round of them, until it has none; it must answer
    the same to the same records, so that a sweep can be resumed. An interrupt is raised again once
    the runs are marked and the conclusion is written.
    """
    release_dead(store)
    typed = sweep
    earlier = store.find(kind="sweep", plan=sweep.plan)[:1] if sweep.resume else []
    parent_id = earlier[0].info.run_id if earlier else None
    if earlier:
        sweep = _moved(sweep, Path(earlier[0].data.tags["optsweep.folder"]))
    workers = count_workers(sweep.launch, sweep.jobs[0].settings, len(sweep.jobs))
    # What is left of a sweep computes with the threads that all of it did, or it would go on
    # otherwise than it began: sums by more threads differ in their last digits.
    everything = plan(sweep.jobs, range(len(sweep.jobs)), sweep.launch, workers)
    workers = min(workers, len(everything.groups))

    def planned(jobs: Sequence[Job], already: Plan | None = None) -> _Round:
        try:
            jobs, records, todo = _taken_over(jobs, store, sweep.resume)
        except Unreachable:  # it was there when the sweep began: what is added is carried out anew
            if not rounds:
                raise
            jobs, records, todo = _taken_over(jobs, store, False)
        groups = already or plan(jobs, todo, sweep.launch, workers)
        if len(groups.groups) < len(todo) or groups.remarks:
            console.print(f"plan    {groups}", highlight=False, markup=False, soft_wrap=True)
        shared = _shared_out(jobs, groups.groups, sweep.launch, workers)
        return _Round(shared, records, groups.groups)

    rounds: list[_Round] = []
    rounds.append(planned(sweep.jobs, None if sweep.resume else everything))
    sweep = replace(sweep, jobs=rounds[0].jobs)
    with (
        Owner(sweep.folder) as owner,
        telling_of_unsent(sweep.folder, sweep.jobs, store, console),
        store.start(
            _title(sweep),
            params=_params(sweep),
            tags=_tags(sweep, owner),
            run_id=parent_id,
            folder=sweep.folder,
        ) as parent,
    ):
        filing = Filing(store, parent.run_id, owner.name, figures=sweep.figures == "all")

        def course_of(round: _Round) -> Course:
            first = sum(len(earlier.jobs) for earlier in rounds if earlier is not round)
            return Course(
                round.jobs,
                round.records,
                sweep.launch,
                filing,
                lambda place, folder: prepare(first + place, folder),
            )

        course = course_of(rounds[0])
        executor = make_executor(sweep.launch, workers, sweep.folder, console.print)
        try:
            with SweepProgress(console, len(rounds[0].jobs), rounds[0].reused) as progress:
                course.run(rounds[0].todo, executor, progress)
                while jobs := _asked(more, rounds, sweep.launch):
                    rounds.append(planned(_in_folder(jobs, typed.folder, sweep.folder)))
                    progress.more(len(jobs), rounds[-1].reused)
                    course = course_of(rounds[-1])
                    course.run(rounds[-1].todo, executor, progress)
            executor.close()
            if all(record.status == "FINISHED" for record in _records_of(rounds)):
                # What stacks that were taken apart have left.
                shutil.rmtree(sweep.folder / "stacks", ignore_errors=True)
        except BaseException:
            executor.stop()
            course.abandon()
            raise
        finally:
            whole = replace(sweep, jobs=[job for each in rounds for job in each.jobs])
            records = _records_of(rounds)
            _learn_ids(records, store)
            record = _record(whole, parent.run_id, records, len(sweep.jobs))
            conclude(record, whole.jobs, whole.folder, whole.figures, parent, store, console)
    return record


def _records_of(rounds: Sequence[_Round]) -> list[RunRecord]:
    return [record for each in rounds for record in each.records]


def _asked(more: More | None, rounds: Sequence[_Round], launch: Launch) -> Sequence[Job]:
    """The next round's jobs; none where the sweep was stopped at a failure."""
    records = _records_of(rounds)
    stopped = launch.fail_fast and any(record.status == "FAILED" for record in records)
    return more(records) if more and not stopped else ()


def release_dead(store: Store) -> None:
    """Marks as KILLED what a launcher that is gone left RUNNING; a living one's is not touched."""
    dead = _dead(store)
    folders = {Path(run.data.tags.get("optsweep.folder", "/nowhere")) for run in dead}
    if unsent := [found for folder in folders for found in outboxes(folder)]:
        try:  # what they could not tell may be that they ended
            store.deliver(unsent)
        except Unreachable:
            raise
        except TrackingError as error:
            log.warning("%s; what was to be sent is left in %s", error, unsent[0])
        dead = _dead(store)
    for run in dead:
        store.end(run.info.run_id, "KILLED")


def _dead(store: Store) -> list[Run]:
    """The runs that are RUNNING in the store while nobody carries them out."""
    verdicts: dict[str, bool] = {}
    dead = []
    for run in store.find(status="RUNNING"):
        owner = run.data.tags.get("optsweep.owner")
        if not owner:
            continue
        if owner not in verdicts:
            verdicts[owner] = is_dead(owner)
        if verdicts[owner]:
            dead.append(run)
    return dead


@contextmanager
def telling_of_unsent(
    folder: Path, jobs: Sequence[Job], store: Store, console: Console
) -> Iterator[None]:
    """At the end, sends what the store did not take, or says how to send it later."""
    try:
        yield
    finally:
        elsewhere = [job.folder for job in jobs if Outbox(job.folder).waiting]
        unsent = list(dict.fromkeys([*outboxes(folder), *elsewhere]))
        if unsent and store.line.up:
            with suppress(TrackingError):
                store.deliver(unsent)
        unsent = [folder for folder in unsent if Outbox(folder).waiting]
        if unsent:
            where = os.path.commonpath(unsent)
            console.print(
                f"[bold]MLflow did not take everything[/]; what is missing is kept, and sent by "
                f"python experiments/sync.py folder={shlex.quote(where)}",
                highlight=False,
                soft_wrap=True,
            )


def _moved(sweep: Sweep, folder: Path) -> Sweep:
    """The sweep in the folder of the one that it goes on with; its own, still empty, is removed."""
    jobs = _in_folder(sweep.jobs, sweep.folder, folder)
    if folder != sweep.folder:
        shutil.rmtree(sweep.folder, ignore_errors=True)
    return replace(sweep, folder=folder, jobs=jobs)


def _in_folder(jobs: Sequence[Job], old: Path, new: Path) -> list[Job]:
    return [replace(job, folder=new / job.folder.relative_to(old)) for job in jobs]


def _shared_out(
    jobs: Sequence[Job], groups: Sequence[Group], launch: Launch, workers: int
) -> list[Job]:
    """The jobs with the cores shared among the workers, and CUDA's devices given out in turn."""
    threads = max(1, cores() // max(1, workers))
    shared = list(jobs)
    for number, group in enumerate(groups):
        for place in group:
            settings = jobs[place].settings
            if isinstance(launch, ClusterLaunch):
                shared[place] = replace(jobs[place], settings=launch.placed(settings))
                continue
            if settings.threads is None:
                settings = replace(settings, threads=threads)
            if settings.device == "cuda" and workers > 1:
                settings = replace(settings, device=f"cuda:{number % cuda_devices()}")
            shared[place] = replace(jobs[place], settings=settings)
    return shared


def _taken_over(
    jobs: Sequence[Job], store: Store, resume: bool
) -> tuple[list[Job], list[RunRecord], list[int]]:
    """The jobs, a record for each, and the places of those that are still to be carried out.

    With `resume`, jobs that an earlier sweep finished have their record already, and those that
    it began know the MLflow run and the folder that they go on in.
    """
    jobs, todo = list(jobs), []
    finished, unfinished = _earlier_runs(store) if resume else ({}, {})
    reused: dict[int, Run] = {}
    for place, job in enumerate(jobs):
        if job.fingerprint in finished:
            reused[place] = finished[job.fingerprint]
            continue
        todo.append(place)
        if run := unfinished.get(job.fingerprint):
            folder = Path(run.data.tags["optsweep.folder"])
            jobs[place] = replace(job, run_id=run.info.run_id, folder=folder)
    records = [new_record(job) for job in jobs]
    for place, record in zip(reused, finished_records(store, list(reused.values())), strict=True):
        own = records[place]
        records[place] = replace(record, name=own.name, params=own.params, swept=own.swept)
    return jobs, records, todo


def _earlier_runs(store: Store) -> tuple[dict[str, Run], dict[str, Run]]:
    """The newest run of each fingerprint: those that are finished, and those that are not.

    A pruned run is neither, nor is one that another process carries out right now.
    """
    finished: dict[str, Run] = {}
    unfinished: dict[str, Run] = {}
    for run in reversed(store.find(kind="run")):  # the newest comes last and counts
        if "optsweep.pruned" in run.data.tags or run.info.status == "RUNNING":
            continue
        kind = finished if run.info.status == "FINISHED" else unfinished
        kind[run.data.tags["optsweep.fingerprint"]] = run
    return finished, unfinished


def _learn_ids(records: Sequence[RunRecord], store: Store) -> None:
    """Gives records the ids of runs that MLflow could only create after they had started."""
    pending = [record for record in records if ticket_of(record.run_id)]
    if pending and store.line.up:
        with suppress(TrackingError):
            for record in pending:
                record.run_id = store.id_of(record.run_id)


def _title(sweep: Sweep) -> str:
    return redact(shlex.join(sweep.overrides)) or "sweep"


def _params(sweep: Sweep) -> dict[str, Any]:
    grid = {f"grid.{key}": ",".join(map(str, values)) for key, values in sweep.grid.items()}
    return {"overrides": _title(sweep), "runs": len(sweep.jobs), **grid}


def _tags(sweep: Sweep, owner: Owner) -> dict[str, str]:
    return {
        "optsweep.kind": "sweep",
        "optsweep.plan": sweep.plan,
        "optsweep.folder": str(sweep.folder),
        "optsweep.owner": owner.name,
        "optsweep.target": "" if sweep.target is None else str(sweep.target),
        "optsweep.intervals": sweep.intervals,
        **source_tags(),
    }


def _record(sweep: Sweep, run_id: str, records: Sequence[RunRecord], typed: int) -> SweepRecord:
    """What became of the sweep, of whose jobs the first `typed` are those of the grid as typed."""
    first = records[0].params
    common = {
        key: value
        for key, value in first.items()
        if all(record.params.get(key) == value for record in records)
    }
    return SweepRecord(
        run_id=run_id,
        overrides=[redact(typed) for typed in sweep.overrides if not typed.startswith("resume=")],
        grid=sweep.grid,
        runs=records,
        environment=environment.describe(),
        common=common,
        target=sweep.target,
        intervals=sweep.intervals,
        extended=list(dict.fromkeys(map(setting_name, records[typed:]))) if sweep.extend else [],
    )
