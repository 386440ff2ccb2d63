"""Runs at fresh seeds: `confirm=N` and `confirm=auto`.

What chose a configuration may not judge it. So once all else of a sweep is done, each candidate's
chosen configuration runs at seeds that chose nothing, the same for all candidates.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import TYPE_CHECKING

from optsweep.config.overrides import swept_key
from optsweep.errors import SettingsError
from optsweep.records.grouping import configuration_name
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.sweep.stages.added_jobs import AddedJobs
from optsweep.tracking.reading import confirm_seeds_of, looks_of
from optsweep.tracking.store import Run
from optsweep.verdict.fresh_seeds import seeds_to_add

if TYPE_CHECKING:
    from optsweep.runs.job import Job
    from optsweep.sweep.sweep import Sweep


def plan(
    confirm: int | str | None, max_seeds: int, used: Iterable[int]
) -> tuple[list[int], list[int]]:
    """The fresh seeds that may be needed, and the numbers of them at which it is looked.

    Seeds are the smallest that no job has used. For `confirm=N` there are no looks.
    """
    if confirm is None:
        return [], []
    from optsweep.verdict.scores.looks import looks_until

    looks = list(looks_until(max_seeds)) if confirm == "auto" else []
    taken = set(used)
    fresh = (seed for seed in count() if seed not in taken)
    return list(islice(fresh, looks[-1] if looks else int(confirm))), looks


def confirmed_as_begun(sweep: "Sweep", earlier: Sequence[Run]) -> "Sweep":
    """The sweep, to be confirmed by the seeds and looks that its `earlier` start had, if any.

    To look again at more seeds would be a second chance to find a difference by luck.

    Raises:
        SettingsError: others were typed now.
    """
    seeds = [seed for run in earlier for seed in confirm_seeds_of(run.data.tags)]
    looks = [look for run in earlier for look in looks_of(run.data.tags)]
    if not seeds:
        return sweep
    if sweep.confirm_seeds and (list(sweep.confirm_seeds), list(sweep.looks)) != (seeds, looks):
        typed = f"confirm=auto max_seeds={looks[-1]}" if looks else f"confirm={len(seeds)}"
        raise SettingsError(
            f"confirm: this sweep was begun with {typed}; to judge it again at other seeds would "
            f"be a second chance for luck; type {typed}, or leave resume=true out"
        )
    return replace(sweep, confirm_seeds=seeds, looks=looks)


class Confirmation:
    """Asked once all other jobs are done: those that confirm, until nothing is left to decide.

    `describe` makes a sweep's record of the records so far.
    """

    def __init__(
        self, describe: Callable[[Sequence[RunRecord]], SweepRecord], added: AddedJobs
    ) -> None:
        self._describe = describe
        self._added = added

    def __call__(self, records: Sequence[RunRecord], running: int = 0) -> "list[Job]":
        """The next jobs, given the records of all jobs so far, in their order."""
        if running:
            return []
        places = {id(record): place for place, record in enumerate(records)}
        jobs: list[Job] = []
        for run, seeds in seeds_to_add(self._describe(records)):
            base, name = self._added.overrides[places[id(run)]], configuration_name(run)
            jobs += self._added.make(
                [at_seed(base, seed) for seed in seeds],
                tried=f"confirm: {name} at {len(seeds)} fresh seeds",
                refused=f"confirm: {name} is not confirmed",
            )
        return jobs


def at_seed(overrides: Sequence[str], seed: int) -> list[str]:
    """A job's overrides with another seed."""
    others = [typed for typed in overrides if swept_key(typed) != "seed"]
    return [*others, f"seed={seed}"]
