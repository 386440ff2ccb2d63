"""A sweep: plans its jobs, runs them side by side, and summarizes whatever happens.

`run_sweep` is given checked jobs and returns the sweep's record. One parent run in MLflow holds the
sweep. With `resume`, runs that an earlier sweep finished are reused and unfinished ones resumed.
"""

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from optsweep.config.launchers import Launch
from optsweep.execution.factory import make_executor
from optsweep.execution.worker_count import count_workers
from optsweep.records.grouping import configuration_name
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.runs.artifacts import source_tags
from optsweep.runs.heartbeat import Heartbeat
from optsweep.runs.job import Job
from optsweep.runs.owner import Owner
from optsweep.runs.stack_member import TrackingContext
from optsweep.search.search import Search
from optsweep.sweep.dead_runs import release_dead
from optsweep.sweep.final_delivery import learn_ids, sending_unsent
from optsweep.sweep.progress import SweepProgress
from optsweep.sweep.resume import Earlier, earlier_runs, earlier_sweeps, folder_of
from optsweep.sweep.rounds import More, _Growth, _in_folder, _Planner
from optsweep.sweep.scheduler import Scheduler
from optsweep.sweep.stack_planner import plan_stacks
from optsweep.sweep.summary import summarize
from optsweep.system import environment, folders
from optsweep.system.redaction import redacted
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import start_run
from optsweep.training.checkpoint import forget_stacks


@dataclass(frozen=True)
class Sweep:
    """What is to be swept: the overrides as typed, the jobs, the folder, and how.

    `target` and `intervals` are what is asked of the verdict, `extend` is how many steps the
    sweep may go beyond its grid. Of a `search` the jobs are those that it begins with.
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
    search: Search | None = None
    config: str = ""  # of the sweep as a whole, for `multirun.yaml`

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
    release_dead(store)
    typed = sweep.folder
    earlier = earlier_sweeps(store, sweep.identity)[:1] if sweep.resume else []
    parent_id = earlier[0].info.run_id if earlier else None
    if earlier and (folder := folder_of(earlier[0])):
        sweep = _moved(sweep, folder)
    with Owner(sweep.folder) as owner, Heartbeat(store, owner) as heartbeat:
        if earlier:
            heartbeat.claim(earlier[0])
        return _run_in_folder(
            sweep, store, console, prepare, more, typed, parent_id, owner, heartbeat
        )


def _run_in_folder(
    sweep: Sweep,
    store: Store,
    console: Console,
    prepare: Callable[[int, Path], None],
    more: More | None,
    typed: Path,
    parent_id: str | None,
    owner: Owner,
    heartbeat: Heartbeat,
) -> SweepRecord:
    """Runs the jobs in the sweep's folder, which is this launch's; `typed` is the one given."""
    folders.claim(sweep.folder, sweep.identity, sweep.config)
    taken = earlier_runs(store, parent_id) if sweep.resume else Earlier({}, {})
    workers = count_workers(sweep.launch, sweep.jobs[0].settings, len(sweep.jobs))
    # A resumed sweep computes with as many threads as it began with: sums by more threads differ
    # in their last digits.
    whole = plan_stacks(sweep.jobs, range(len(sweep.jobs)), sweep.launch, workers)
    workers = min(workers, len(whole.groups))
    planner = _Planner(sweep.launch, workers, store, taken, console, owner.launch)
    first = planner.round(sweep.jobs, None if sweep.resume else whole)
    sweep = replace(sweep, jobs=first.jobs)
    jobs, records = list(first.jobs), list(first.records)  # of all, in their order
    expected = max(len(jobs), sweep.search.n_trials if sweep.search else 0)
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
        context = TrackingContext(store, parent.run_id, owner.name, figures=sweep.figures == "all")
        scheduler = Scheduler(jobs, records, sweep.launch, context, prepare)
        executor = make_executor(sweep.launch, workers, sweep.folder, console.print)
        try:
            with SweepProgress(console, expected, first.reused) as progress:
                further = more and _Growth(
                    more, planner, jobs, scheduler, progress, typed, sweep.folder, not sweep.search
                )
                scheduler.run(first.todo, executor, progress, further)
            executor.close()
            finished = [record.status == "FINISHED" for record in records]
            if not any(finished):  # where some did, the table names those that failed
                parent.outcome = "FAILED"
                parent.tag(error=f"none of the {len(records)} runs finished")
            forget_stacks(sweep.folder, finished=all(finished))
        except BaseException:
            executor.stop()
            scheduler.abandon()
            raise
        finally:
            grown = replace(sweep, jobs=jobs)
            try:
                learn_ids(records, store)
            finally:
                record = _record(grown, parent.run_id, records, len(sweep.jobs))
                summarize(record, jobs, grown.folder, grown.figures, parent, store, console)
    return record


def _moved(sweep: Sweep, folder: Path) -> Sweep:
    """The sweep in the folder of the one that it resumes."""
    return replace(sweep, folder=folder, jobs=_in_folder(sweep.jobs, sweep.folder, folder))


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
        "optsweep.plan": sweep.identity,
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
        overrides=[redacted(typed) for typed in sweep.overrides if not typed.startswith("resume=")],
        grid=sweep.grid,
        runs=records,
        environment=environment.describe(),
        common=common,
        target=sweep.target,
        intervals=sweep.intervals,
        extended=list(dict.fromkeys(map(configuration_name, records[typed:])))
        if sweep.extend
        else [],
        search=redacted(sweep.search.texts) if sweep.search else {},
    )
