"""Which fresh seeds a sweep still needs: `confirm=N` and `confirm=auto`."""

from collections.abc import Sequence

from optsweep.records.grouping import seed_of
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import identity
from optsweep.verdict.candidates import candidates
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.rows.sweep_rows import by_text
from optsweep.verdict.scores.answer import Workload


def seeds_to_add(sweep: SweepRecord) -> list[tuple[RunRecord, list[int]]]:
    """A run of each chosen configuration that needs more fresh seeds, and these.

    Without looks each needs all of `sweep.confirm_seeds`. In looks each needs as many as the first
    asks; then those whose comparisons continue need as many as the next one asks.
    """
    found = {(each.workload, each.name): each for each in candidates(sweep)}
    needed = []
    for workload in judge(sweep).answer.workloads:
        for candidate in workload.candidates:
            if candidate.chosen is None:
                continue
            own = by_text(sweep, found[workload.name, candidate.name])[candidate.chosen]
            had = {seed_of(run) for run in own.runs}
            missing = [seed for seed in sweep.confirm_seeds if identity(seed) not in had]
            confirmed = len(sweep.confirm_seeds) - len(missing)
            count = _needed(workload, candidate.name, confirmed, sweep.looks, len(missing))
            if count > 0:
                needed.append((own.runs[0], missing[:count]))
    return needed


def _needed(
    workload: Workload, candidate: str, confirmed: int, looks: Sequence[int], missing: int
) -> int:
    """How many more fresh seeds a candidate needs that has `confirmed` of them."""
    if not looks:
        return missing
    continues = any(
        candidate in (each.first, each.second) and each.reason == "continues"
        for each in workload.comparisons
    )
    if confirmed and not continues:
        return 0
    return next((look for look in looks if look > confirmed), confirmed) - confirmed
