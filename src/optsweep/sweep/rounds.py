"""Rounds of a sweep's jobs: planned together, with what earlier sweeps finished reused.

`Planner` is given jobs and returns a round: the jobs, their records and the groups to run.
`Growth` asks an extension or a search for further jobs and gives them to the scheduler.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from optsweep.config.launchers import Launch
from optsweep.errors import Unreachable
from optsweep.records.run import RunRecord
from optsweep.runs.job import Job
from optsweep.sweep.display.lines import say
from optsweep.sweep.display.progress import SweepProgress
from optsweep.sweep.planning.device_assignment import assign_devices
from optsweep.sweep.planning.stack_planner import StackPlan, plan_stacks
from optsweep.sweep.resume import Earlier, reuse_finished
from optsweep.sweep.scheduler import Group, Scheduler
from optsweep.tracking.store import Store

# Given the records of all jobs so far, in their order, and how many groups of them are running:
# further jobs, if any.
More = Callable[[Sequence[RunRecord], int], Sequence[Job]]


@dataclass(frozen=True)
class Round:
    """Jobs that are planned together, a record for each, and the groups still to be done."""

    jobs: Sequence[Job]
    records: list[RunRecord]
    todo: Sequence[Group]

    @property
    def reused(self) -> int:
        """How many of the jobs are not run again."""
        return len(self.jobs) - sum(map(len, self.todo))

    def after(self, count: int) -> list[Group]:
        """The groups, where so many jobs come before these."""
        return [tuple(count + place for place in group) for group in self.todo]


@dataclass(frozen=True)
class Planner:
    """Plans rounds of a sweep's jobs, reusing those that earlier sweeps finished.

    Without a store there are none of these.
    """

    launch: Launch
    workers: int
    store: Store | None
    taken: Earlier
    console: Console
    owner: str  # the launch's id

    def round(self, jobs: Sequence[Job], whole: StackPlan | None = None, number: int = 0) -> Round:
        """The jobs as a round, of a sweep that has `number` jobs before them.

        `whole` is the plan of all of them, where there is one and nothing can be reused.
        """
        try:
            jobs, records, todo = reuse_finished(jobs, self.store, self.taken, self.owner)
        except Unreachable:  # it was there when the sweep began: added jobs run anew
            if not number:
                raise
            jobs, records, todo = reuse_finished(jobs, self.store, Earlier({}, {}))
        groups = whole or plan_stacks(jobs, todo, self.launch, self.workers)
        if len(groups.groups) < len(todo) or groups.remarks:
            say(self.console, f"plan    {groups}")
        shared = assign_devices(jobs, groups.groups, self.launch, self.workers, number)
        return Round(shared, records, groups.groups)


@dataclass(frozen=True)
class Growth:
    """Further jobs of a running sweep: asked of `more`, planned, and given to the scheduler."""

    more: More
    planner: Planner
    scheduler: Scheduler
    progress: SweepProgress
    counted: bool  # whether nobody knew at the start how many there would be

    def __call__(self, running: int) -> list[Group]:
        """Further groups, where so many are running; none where there are none for now."""
        while asked := self.more(self.scheduler.records, running):
            before = len(self.scheduler.jobs)
            added = self.planner.round(asked, number=before)
            self.scheduler.add(added.jobs, added.records)
            self.progress.more(len(asked) if self.counted else 0, added.reused)
            if added.todo:
                return added.after(before)
        return []
