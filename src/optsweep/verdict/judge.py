"""Which contender wins and how sure that is: plain run records in, a `Verdict` out.

Each contender's setting is chosen on validation and judged on test. Runs at one seed share initial
weights and batches, so contenders are compared by their differences at the seeds that both have.
The procedures are those of scipy and statsmodels: Student's t interval, the paired t test, Holm's
correction for the number of comparisons, the power of the t test, and the bootstrap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from statistics import fmean, stdev
from typing import Any, Literal

from optsweep.records.grouping import Setting, distinct, ranking_splits
from optsweep.records.run import SweepRecord
from optsweep.verdict.boundaries import Edge, edges
from optsweep.verdict.candidates import Contender, by_seed, contender_key, contenders, seed_of
from optsweep.verdict.sensitivity import Sensitivity, TargetTime, sensitivity, speed, time_to_target

SCHEMA = "optsweep/verdict/1"
LEVEL = 0.95  # of every interval; comparisons are decided at 1 - LEVEL
POWER = 0.8  # with which the number of seeds that is named would decide
MOST_SEEDS = 1000  # beyond which no number of seeds is named
MOST_CONTENDERS = 20  # of whom every pair is compared; a pair costs some milliseconds
_NO_SPREAD = 1e-12  # differences of accuracies closer than this are the same

Outcome = Literal["beats", "undecided", "no spread", "too few seeds"]


@dataclass(frozen=True)
class Estimate:
    """A mean accuracy over seeds, with its 95 % interval.

    `deviation` is the standard deviation over seeds (n - 1). It and the interval are None for
    fewer than two seeds; the interval is None too where all seeds gave the same.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Standing:
    """A contender: its chosen setting and how that was judged.

    `swept` are the chosen setting's values, empty and all scores None where no run finished
    without diverging. `chosen_by` is the mean accuracy on the split that chooses, `score` the
    accuracy on the split that judges. `diverged` and `failed` of `runs` count the chosen setting's
    seeds, `all_...` those of every setting of the contender.
    """

    name: str
    swept: Mapping[str, Any]
    run_ids: Sequence[str]
    chosen_by: float | None
    score: Estimate | None
    runs: int
    diverged: int
    failed: int
    all_runs: int
    all_diverged: int
    all_failed: int
    sensitivity: Sensitivity | None
    times_to_target: Sequence[TargetTime]


@dataclass(frozen=True)
class Comparison:
    """Two contenders' chosen settings, by the differences of their scores at shared seeds.

    `first` is the one with the higher mean at these seeds. `difference` is the mean difference,
    `deviation` the standard deviation of the differences (n - 1). `p` is the paired t test's,
    `p_holm` the same corrected for all comparisons of the verdict; `low` and `high` are the
    difference's interval, not corrected. `seeds_to_decide` is how many seeds would decide a
    difference of this size with a power of 0.8, None where that is more than 1,000 or the
    question does not arise.
    """

    first: str
    second: str
    outcome: Outcome
    seeds: int
    difference: float | None
    deviation: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    seeds_to_decide: int | None


@dataclass(frozen=True)
class Verdict:
    """What a sweep says about its contenders.

    `standings` are in the order of the choice, the best first; `comparisons` hold every pair, in
    that order. `chosen_on` and `judged_on` name splits ("val", "test"). `target` is an accuracy on
    the split that chooses; `fastest` are the contenders by their time to it; `extended` names the
    settings by which the sweep extended its grid itself. Of a search, `search` maps what was
    searched to what it was drawn from, and `pruned` counts the runs that it ended early, which no
    score holds.
    """

    key: str | None
    chosen_on: Sequence[str]
    judged_on: str
    intervals: str
    seeds: Sequence[Any]
    runs: int
    diverged: int
    failed: int
    pruned: int
    standings: Sequence[Standing]
    comparisons: Sequence[Comparison]
    edges: Sequence[Edge]
    target: float | None
    fastest: Sequence[str]
    extended: Sequence[str]
    search: Mapping[str, str]

    @property
    def leader(self) -> Standing | None:
        """The contender with the best chosen setting; None where no run ended soundly."""
        return self.standings[0] if self.standings and self.standings[0].score else None

    def standing(self, name: str) -> Standing:
        """The contender of this name."""
        return next(each for each in self.standings if each.name == name)


def judge(sweep: SweepRecord) -> Verdict:
    """The verdict on a sweep, whatever became of its runs."""
    found = contenders(sweep)
    splits = ranking_splits(setting for each in found for setting in each.settings)
    judged_on = _judging_split(sweep, splits)
    standings = [_standing(each, judged_on, sweep) for each in found]
    comparisons = [
        compare(first, second, judged_on, sweep.intervals) for first, second in _pairs(found)
    ]
    timed = [each for each in standings if each.times_to_target]
    return Verdict(
        key=contender_key(sweep.grid),
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
        edges=[edge for each in found for edge in edges(each, sweep.search)],
        target=sweep.target,
        fastest=[each.name for each in sorted(timed, key=lambda e: speed(e.times_to_target[0]))],
        extended=list(sweep.extended),
        search=dict(sweep.search),
    )


def _judging_split(sweep: SweepRecord, splits: Sequence[str]) -> str:
    """Test where any run has it, as all do whose dataset has test data."""
    tested = any("test/accuracy" in run.metrics for run in sweep.runs)
    return "test" if tested or not splits else splits[0]


def _pairs(found: Sequence[Contender]) -> list[tuple[Contender, Contender]]:
    """Every pair of those that have a chosen setting; of more than twenty the best twenty's."""
    return list(combinations([each for each in found if each.best][:MOST_CONTENDERS], 2))


def _standing(contender: Contender, judged_on: str, sweep: SweepRecord) -> Standing:
    best = contender.best
    values = list(by_seed(best, f"{judged_on}/accuracy").values()) if best else []
    runs, diverged, failed = contender.counts()
    times = time_to_target(contender, sweep.target) if sweep.target is not None else []
    return Standing(
        name=contender.name,
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
        sensitivity=sensitivity(contender),
        times_to_target=times,
    )


def estimate(values: Sequence[float], intervals: str = "t") -> Estimate:
    """The mean of at least one value, with its interval by Student's t or by bootstrap."""
    mean = fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None, None, len(values))
    low, high = interval(values, intervals)
    return Estimate(mean, stdev(values), low, high, len(values))


def interval(values: Sequence[float], intervals: str) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean of two or more values; None where they are all the same.

    `t` is Student's. `bootstrap` is the bias-corrected and accelerated one of 9,999 resamples
    (Efron, 1987), the same at each call; for fewer than ten seeds or so it is too narrow.
    """
    if max(values) - min(values) < _NO_SPREAD:
        return None, None
    import numpy as np
    from scipy import stats  # a second to import, which a sweep of one seed does not pay

    if intervals == "bootstrap":
        drawn = stats.bootstrap(
            (np.asarray(values),), np.mean, confidence_level=LEVEL, rng=np.random.default_rng(0)
        ).confidence_interval
        return float(drawn.low), float(drawn.high)
    low, high = stats.t.interval(LEVEL, len(values) - 1, fmean(values), stats.sem(values))
    return float(low), float(high)


def compare(
    first: Contender, second: Contender, judged_on: str, intervals: str = "t"
) -> Comparison:
    """Two contenders' chosen settings, by their differences at the seeds that both have."""
    assert first.best is not None and second.best is not None
    ours, theirs = _scores(first.best, judged_on), _scores(second.best, judged_on)
    shared = [seed for seed in ours if seed in theirs]
    differences = [ours[seed] - theirs[seed] for seed in shared]
    names = first.name, second.name
    if differences and fmean(differences) < 0:
        differences, names = [-each for each in differences], names[::-1]
    mean = fmean(differences) if differences else None
    if len(differences) < 2:
        few: Outcome = "too few seeds"
        return Comparison(*names, few, len(shared), mean, *[None] * 6)
    low, high = interval(differences, intervals)
    if low is None:
        return Comparison(*names, "no spread", len(shared), mean, 0.0, *[None] * 5)
    from scipy import stats

    deviation, p = stdev(differences), float(stats.ttest_1samp(differences, 0.0).pvalue)
    return Comparison(*names, "undecided", len(shared), mean, deviation, low, high, p, None, None)


def _scores(setting: Setting, split: str) -> dict[Any, float]:
    return by_seed(setting, f"{split}/accuracy")


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons decided together: p values corrected by Holm's method (1979).

    A pair whose differences are all the same has no p value, and counts in the family with 1.
    """
    family = [each for each in comparisons if each.outcome != "too few seeds"]
    if not any(each.p is not None for each in family):
        return list(comparisons)
    from statsmodels.stats.multitest import multipletests

    raw = [1.0 if each.p is None else each.p for each in family]
    holm = dict(zip(map(id, family), multipletests(raw, method="holm")[1], strict=True))
    return [
        each if each.p is None else _decided(each, float(holm[id(each)]), len(family))
        for each in comparisons
    ]


def _decided(comparison: Comparison, p: float, family: int) -> Comparison:
    if p < 1 - LEVEL:
        return replace(comparison, p_holm=p, outcome="beats")
    size = (comparison.difference or 0.0) / (comparison.deviation or 1.0)
    # The level of Holm's first step, which is the strictest.
    seeds = seeds_needed(size, (1 - LEVEL) / family, comparison.seeds + 1)
    return replace(comparison, p_holm=p, seeds_to_decide=seeds)


def seeds_needed(size: float, alpha: float, least: int = 2) -> int | None:
    """The fewest seeds, of `least` to 1,000, at which a paired t test has a power of 0.8.

    `size` is the mean difference in standard deviations of the differences (Cohen's d). None
    where 1,000 do not suffice.
    """
    from statsmodels.stats.power import TTestPower

    def suffice(seeds: int) -> bool:
        power = float(TTestPower().power(size, seeds, alpha))
        # Far out, where it is 1 for all that counts, the noncentral t distribution gives NaN.
        return power >= POWER or (math.isnan(power) and size * math.sqrt(seeds) > 6)

    few, enough = least - 1, least
    while not suffice(enough):
        if enough == MOST_SEEDS:
            return None
        few, enough = enough, min(2 * enough, MOST_SEEDS)
    while enough - few > 1:  # power grows with the number of seeds
        middle = (few + enough) // 2
        few, enough = (few, middle) if suffice(middle) else (middle, enough)
    return enough


def as_json(verdict: Verdict, sentences: Sequence[str]) -> dict[str, Any]:
    """The verdict as `verdict.json` holds it; `docs/verdict.schema.json` describes it."""
    return {"schema": SCHEMA, "level": LEVEL, "sentences": list(sentences), **asdict(verdict)}
