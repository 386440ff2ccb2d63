"""A sweep that goes beyond the edges of its own grid: `extend=N`.

`Extension` is asked for more jobs whenever those at hand are done. It looks where the best values
lie, and takes the overrides of the best configuration's own jobs with the next value in their
place.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optsweep.config.overrides import changed
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import label, named
from optsweep.sweep.stages.added_jobs import AddedJobs
from optsweep.verdict.boundaries import NextStep, next_steps
from optsweep.verdict.candidates import candidates

if TYPE_CHECKING:
    from optsweep.runs.job import Job


class Extension:
    """Asked after each round: the jobs of the next, none once the best values are inside.

    While runs are under way there are none yet.

    `describe` makes a sweep's record of the records so far, of which the first `typed` are those of
    the grid as typed; `most` are the steps beyond it on any side.
    """

    def __init__(
        self,
        describe: Callable[[Sequence[RunRecord]], SweepRecord],
        typed: int,
        most: int,
        added: AddedJobs,
    ) -> None:
        self._describe = describe
        self._typed = typed
        self._most = most
        self._added = added
        self._refused: set[str] = set()

    def __call__(self, records: Sequence[RunRecord], running: int = 0) -> "list[Job]":
        """The next round's jobs, given the records of all jobs so far, in their order."""
        if running:
            return []
        found = candidates(self._describe(records))
        typed = candidates(self._describe(records[: self._typed]))
        jobs = []
        for step in next_steps(found, typed, self._most):
            name = f"{named({**step.base.swept, step.key: step.value})}"
            if name not in self._refused:
                jobs += self._jobs(name, step, records)
        return jobs

    def _jobs(self, name: str, step: NextStep, records: Sequence[RunRecord]) -> "list[Job]":
        own = {id(run) for run in step.base.runs}
        wanted = [
            changed(overrides, step.key, step.value)
            for overrides, record in zip(self._added.overrides, records, strict=False)
            if id(record) in own
        ]
        jobs = self._added.make(
            wanted,
            tried=f"extend: the best lies on the edge of the grid; trying {name}",
            refused=f"extend: {step.key}={label(step.value)} is not tried",
        )
        if not jobs:
            self._refused.add(name)
        return jobs
