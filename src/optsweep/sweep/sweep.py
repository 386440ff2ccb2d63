"""A sweep: plans its jobs, runs them side by side, and summarizes whatever happens.

`run_sweep` is given checked jobs and returns the sweep's record. One parent run in MLflow holds the
sweep. With `resume`, runs that an earlier sweep finished are reused and unfinished ones resumed.
"""

import functools
import hashlib
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from optsweep.config.launchers import ClusterLaunch, Launch
from optsweep.execution.executor import Executor
from optsweep.execution.factory import make_executor
from optsweep.execution.worker_count import count_workers
from optsweep.records.grouping import configuration_name
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import printable
from optsweep.report.page import import_figures_soon
from optsweep.runs.artifacts import source_tags
from optsweep.runs.heartbeat import Heartbeat
from optsweep.runs.job import Job
from optsweep.runs.owner import Owner
from optsweep.runs.stack_member import TrackingContext
from optsweep.search.search import Search
from optsweep.sweep.best.drawing import drawing_best
from optsweep.sweep.best.keeping import keep_best
from optsweep.sweep.dead_runs import release_dead
from optsweep.sweep.display.lines import say
from optsweep.sweep.display.live_report import LiveReport
from optsweep.sweep.display.progress import SweepProgress
from optsweep.sweep.final_delivery import learn_ids, sending_unsent
from optsweep.sweep.planning.stack_planner import plan_stacks
from optsweep.sweep.resume import Earlier, earlier_runs, earlier_sweeps, folder_of
from optsweep.sweep.rounds import Growth, More, Planner, Round
from optsweep.sweep.scheduler import Scheduler
from optsweep.sweep.summary import described, keep_correct, summarize
from optsweep.system import environment, folders
from optsweep.system.redaction import redacted
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
from optsweep.training.checkpoint import forget_stacks


@dataclass(frozen=True)
class Sweep:
    """What is to be swept: the overrides as typed, the jobs, the folder, and how.

    `target` is an accuracy to reach, `extend` is how many steps the
    sweep may go beyond its grid. Runs at `confirm_seeds` judge what the others chose, in `looks`
    at so many of these seeds, where there are several. Of a `search` the jobs are those that it
    begins with.
    """

    overrides: Sequence[str]
    jobs: Sequence[Job]
    folder: Path
    launch: Launch
    resume: bool
    figures: str
    target: float | None = None
    extend: int = 0
    search: Search | None = None
    confirm_seeds: Sequence[int] = ()
    looks: Sequence[int] = ()
    margin: float = SweepRecord.margin
    compare: str | None = None
    config: str = ""  # of the sweep as a whole, for `multirun.yaml`
    open: bool = False  # its report in a browser, as soon as there is one

    @property
    def identity(self) -> str:
        """A hash of what is to be run: two sweeps with one identity are the same sweep."""
        if self.search:
            return self.search.identity
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

    @property
    def data(self) -> list[str]:
        """What each dataset of the jobs holds, on a line."""
        return list(dict.fromkeys(job.data for job in self.jobs if job.data))


def run_sweep(
    sweep: Sweep,
    store: Store,
    console: Console,
    prepare: Callable[[int, Path], None],
    more: More | None = None,
) -> SweepRecord:
    """Runs the jobs and summarizes; records come in the jobs' order.

    `prepare` is called with a job's place in the sweep and its folder before that job starts.
    Whenever a worker has nothing to do, `more` is asked for further jobs; it must answer the same
    to the same records, so that a sweep can be resumed. An interrupt is raised again once the runs
    are marked and the summary is written.
    """
    for line in sweep.data:
        say(console, printable(line))
    release_dead(store)
    earlier = earlier_sweeps(store, sweep.identity)[:1] if sweep.resume else []
    if earlier and (folder := folder_of(earlier[0])):
        more = more and functools.partial(_moved_jobs, more, sweep.folder, folder)
        sweep = replace(sweep, folder=folder, jobs=_moved(sweep.jobs, sweep.folder, folder))
    with Owner(sweep.folder) as owner, Heartbeat(store, owner) as heartbeat:
        if earlier:
            heartbeat.claim(earlier[0])
        folders.claim(sweep.folder, sweep.identity, sweep.config)
        parent_id = earlier[0].info.run_id if earlier else None
        planner, first = planned(sweep, store, console, parent_id, owner.launch)
        sweep, jobs = replace(sweep, jobs=first.jobs), list(first.jobs)
        with (
            sending_unsent(sweep.folder, jobs, store, console),
            start_run(
                store,
                _title(sweep),
                params=_params(sweep),
                tags=_tags(sweep, owner) | heartbeat.tags(),
                run_id=parent_id,
                folder=sweep.folder,
            ) as parent,
        ):
            heartbeat.keep(parent)
            with_figures = sweep.figures == "all"
            context = TrackingContext(store, parent.run_id, owner.name, with_figures)
            scheduler = Scheduler(jobs, list(first.records), sweep.launch, context, prepare)
            return _run_rounds(sweep, first, planner, scheduler, parent, more)


def _moved_jobs(
    more: More, old: Path, new: Path, records: Sequence[RunRecord], running: int
) -> list[Job]:
    """What `more` answers, of a sweep that has moved to the folder of the one that it resumes."""
    return _moved(more(records, running), old, new)


def _moved(jobs: Sequence[Job], old: Path, new: Path) -> list[Job]:
    return [replace(job, folder=new / job.folder.relative_to(old)) for job in jobs]


def planned(
    sweep: Sweep, store: Store | None, console: Console, parent_id: str | None, launch: str
) -> tuple[Planner, Round]:
    """What plans the sweep's jobs, and their first round; `launch` is the id of this launch.

    Without a store nothing is reused.
    """
    taken = earlier_runs(store, parent_id) if store and sweep.resume else Earlier({}, {})
    workers = count_workers(sweep.launch, sweep.jobs[0].settings, len(sweep.jobs))
    # A resumed sweep computes with as many threads as it began with: sums by more threads differ
    # in their last digits.
    whole = plan_stacks(sweep.jobs, range(len(sweep.jobs)), sweep.launch, workers)
    workers = min(workers, len(whole.groups))
    planner = Planner(sweep.launch, workers, store, taken, console, launch)
    return planner, planner.round(sweep.jobs, None if sweep.resume else whole)


def _run_rounds(
    sweep: Sweep,
    first: Round,
    planner: Planner,
    scheduler: Scheduler,
    parent: TrackedRun,
    more: More | None,
) -> SweepRecord:
    """Runs the first round and those that `more` adds; summarizes whatever happens."""
    expected = max(len(first.jobs), sweep.search.n_trials if sweep.search else 0)
    executor = make_executor(sweep.launch, planner.workers, sweep.folder, planner.console.print)
    describe = functools.partial(record_of, sweep, scheduler.records, parent.run_id, scheduler.jobs)
    in_hand, console = scheduler.jobs_in_hand, planner.console
    opened = sweep.open
    with LiveReport(sweep.folder, describe, in_hand, console, expected, opened=opened) as live:
        try:
            with (
                _ending(executor, scheduler),
                SweepProgress(console, expected, first.reused) as progress,
            ):
                import_figures_soon()
                further = more and Growth(more, planner, scheduler, progress, not sweep.search)
                scheduler.run(first.todo, executor, progress, further, live.renew)
            finished = [record.status == "FINISHED" for record in scheduler.records]
            if not any(finished):  # where some did, the table names those that failed
                parent.outcome = "FAILED"
                parent.tag(error=f"none of the {len(finished)} runs finished")
            forget_stacks(sweep.folder, finished=all(finished))
        finally:
            record = _conclude(sweep, scheduler, parent, planner)
    return record


@contextmanager
def _ending(executor: Executor, scheduler: Scheduler) -> Iterator[None]:
    """Closes the executor once all its tasks are done, and stops it where anything is raised."""
    try:
        yield
        executor.close()
    except BaseException:
        executor.stop()
        scheduler.abandon()
        raise


def _conclude(
    sweep: Sweep, scheduler: Scheduler, parent: TrackedRun, planner: Planner
) -> SweepRecord:
    """Summarizes what became of the sweep's jobs, and of those that were added."""
    jobs, records, console = scheduler.jobs, scheduler.records, planner.console
    try:
        learn_ids(records, parent.store)
    finally:
        record = record_of(sweep, records, parent.run_id, jobs)
        beside = planner.workers > 0 and not isinstance(sweep.launch, ClusterLaunch)
        drawing = drawing_best(record, jobs, parent.store, console, beside=beside)
        with drawing if sweep.figures == "best" else nullcontext():
            judging = summarize(record, sweep.folder, parent, console)
            keep_correct(judging, records, jobs, sweep.folder, parent)
        keep_best(record, jobs, sweep.folder, parent, console)
    return record


def _title(sweep: Sweep) -> str:
    return shlex.join(redacted(list(sweep.overrides))) or "sweep"


def _params(sweep: Sweep) -> dict[str, Any]:
    grid = {f"grid.{key}": ",".join(map(str, values)) for key, values in sweep.grid.items()}
    if sweep.search is None:
        return {"overrides": _title(sweep), "runs": len(sweep.jobs), **grid}
    search = {f"search.{key}": redacted(text) for key, text in sweep.search.texts.items()}
    how = {"sampler": sweep.search.sampler, "pruning": sweep.search.pruning}
    return {"overrides": _title(sweep), "runs": sweep.search.n_trials, **grid, **search, **how}


def _tags(sweep: Sweep, owner: Owner) -> dict[str, str]:
    return {
        "optsweep.kind": "sweep",
        **described(_title(sweep)),
        "optsweep.plan": sweep.identity,
        "optsweep.folder": str(sweep.folder),
        "optsweep.owner": owner.name,
        "optsweep.samples": "\n".join(sweep.data),
        "optsweep.target": "" if sweep.target is None else str(sweep.target),
        "optsweep.confirm_seeds": json.dumps(list(sweep.confirm_seeds)),
        "optsweep.looks": json.dumps(list(sweep.looks)),
        "optsweep.margin": str(sweep.margin),
        "optsweep.compare": sweep.compare or "",
        "optsweep.swept": json.dumps(list(sweep.grid)),
        **source_tags(),
    }


def record_of(
    sweep: Sweep, records: Sequence[RunRecord], run_id: str = "", jobs: Sequence[Job] = ()
) -> SweepRecord:
    """What became of the sweep so far; `jobs` are its own and those that were added, if any."""
    first, confirming = records[0].params, set(sweep.confirm_seeds)
    common = {
        key: value
        for key, value in first.items()
        if all(record.params.get(key) == value for record in records)
    }
    return SweepRecord(
        run_id=run_id,
        overrides=[redacted(typed) for typed in sweep.overrides if not typed.startswith("resume=")],
        grid=replace(sweep, jobs=jobs or sweep.jobs).grid,
        runs=records,
        environment=environment.describe(),
        common=common,
        target=sweep.target,
        extended=list(
            dict.fromkeys(
                configuration_name(record)
                for record in records[len(sweep.jobs) :]
                if sweep.extend and record.params["seed"] not in confirming
            )
        ),
        search=redacted(sweep.search.texts) if sweep.search else {},
        confirm_seeds=sweep.confirm_seeds,
        looks=sweep.looks,
        margin=sweep.margin,
        compare=sweep.compare,
    )
