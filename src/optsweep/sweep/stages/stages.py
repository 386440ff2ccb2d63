"""The order of a sweep's stages: the search, the extension, the confirmation."""

from collections.abc import Callable, Sequence
from functools import partial

from optsweep.records.run import RunRecord
from optsweep.runs.job import Job
from optsweep.sweep.rounds import More
from optsweep.sweep.stages.added_jobs import AddedJobs
from optsweep.sweep.stages.confirmation import Confirmation
from optsweep.sweep.stages.extension import Extension
from optsweep.sweep.sweep import Sweep, record_of

Compose = Callable[[Sequence[Sequence[str]]], list[Job]]


class Stages:
    """Asked for further jobs: of the first stage, once that has no more of the next, and so on."""

    def __init__(self, stages: Sequence[More]) -> None:
        self._stages = list(stages)

    def __call__(self, records: Sequence[RunRecord], running: int) -> Sequence[Job]:
        """Further jobs, given the records of all so far; a stage ends when nothing runs."""
        while self._stages:
            if jobs := self._stages[0](records, running):
                return jobs
            if running:
                break
            del self._stages[0]
        return []


def stages_of(
    sweep: Sweep,
    searching: More | None,
    overrides: list[list[str]],
    compose: Compose,
    say: Callable[[str], None],
) -> More | None:
    """What is asked for further jobs of a sweep, if anything is.

    `overrides` are those of the jobs so far, to which the new ones' are added; `compose` turns
    overrides into checked jobs; `say` prints what is added.
    """
    stages: list[More] = [searching] if searching else []
    added, describe = AddedJobs(overrides, compose, say), partial(record_of, sweep)
    if sweep.extend:
        stages.append(Extension(describe, len(sweep.jobs), sweep.extend, added))
    if sweep.confirm_seeds:
        stages.append(Confirmation(describe, added))
    return Stages(stages) if stages else None
