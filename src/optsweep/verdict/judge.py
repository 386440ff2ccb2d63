"""Which candidate wins and how sure that is: plain run records in, a `Verdict` out.

Each candidate's configuration is chosen on validation and judged on test. Runs at one seed share
initial weights and batches, so candidates are compared by their differences at the seeds that both
have. The procedures are those of scipy and statsmodels: Student's t interval, the paired t test,
Holm's correction for the number of comparisons, the power of the t test, and the bootstrap.
"""

from collections.abc import Sequence

from optsweep.records.run import SweepRecord
from optsweep.records.values import distinct
from optsweep.verdict.boundaries import boundaries
from optsweep.verdict.candidates import Candidate, by_seed, candidate_key, candidates, seed_of
from optsweep.verdict.comparison import _pairs, compare, corrected
from optsweep.verdict.intervals import estimate
from optsweep.verdict.ranking import ranking_splits
from optsweep.verdict.sensitivity import sensitivity
from optsweep.verdict.time_to_target import speed, time_to_target
from optsweep.verdict.verdict import Standing, Verdict


def judge(sweep: SweepRecord) -> Verdict:
    """The verdict on a sweep, whatever became of its runs."""
    found = candidates(sweep)
    splits = ranking_splits(
        configuration for each in found for configuration in each.configurations
    )
    judged_on = _judging_split(sweep, splits)
    standings = [_standing(each, judged_on, sweep) for each in found]
    comparisons = [
        compare(first, second, judged_on, sweep.intervals) for first, second in _pairs(found)
    ]
    timed = [each for each in standings if each.times_to_target]
    return Verdict(
        key=candidate_key(sweep.grid),
        chosen_on=splits or [judged_on],
        judged_on=judged_on,
        intervals=sweep.intervals,
        seeds=distinct(seed_of(run) for run in sweep.runs),
        runs=len(sweep.runs),
        diverged=sum(each.all_diverged for each in standings),
        failed=sum(each.all_failed for each in standings),
        pruned=sum(run.pruned for run in sweep.runs),
        standings=standings,
        comparisons=corrected(comparisons),
        edges=[edge for each in found for edge in boundaries(each, sweep.search)],
        target=sweep.target,
        fastest=[each.name for each in sorted(timed, key=lambda e: speed(e.times_to_target[0]))],
        extended=list(sweep.extended),
        search=dict(sweep.search),
    )


def _judging_split(sweep: SweepRecord, splits: Sequence[str]) -> str:
    """Test where any run has it, as all do whose dataset has test data."""
    tested = any("test/accuracy" in run.metrics for run in sweep.runs)
    return "test" if tested or not splits else splits[0]


def _standing(candidate: Candidate, judged_on: str, sweep: SweepRecord) -> Standing:
    best = candidate.best
    values = list(by_seed(best, f"{judged_on}/accuracy").values()) if best else []
    runs, diverged, failed = candidate.counts()
    times = time_to_target(candidate, sweep.target) if sweep.target is not None else []
    return Standing(
        name=candidate.name,
        swept=dict(best.swept) if best else {},
        run_ids=[run.run_id for run in best.runs] if best else [],
        chosen_by=best.mean(f"{best.split}/accuracy") if best else None,
        score=estimate(values, sweep.intervals) if values else None,
        runs=len(best.runs) if best else 0,
        diverged=best.diverged if best else 0,
        failed=best.failed if best else 0,
        all_runs=runs,
        all_diverged=diverged,
        all_failed=failed,
        sensitivity=sensitivity(candidate),
        times_to_target=times,
    )
