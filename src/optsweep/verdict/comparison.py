"""Pairs of candidates at shared seeds: a t test, Holm's correction, and the seeds it takes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

from optsweep.records.grouping import Configuration
from optsweep.verdict.candidates import Candidate, by_seed
from optsweep.verdict.intervals import interval
from optsweep.verdict.verdict import LEVEL, MOST_CANDIDATES, MOST_SEEDS, POWER, Comparison, Outcome


def _pairs(found: Sequence[Candidate]) -> list[tuple[Candidate, Candidate]]:
    """Every pair of candidates with a chosen configuration; at most of the best twenty."""
    return list(combinations([each for each in found if each.best][:MOST_CANDIDATES], 2))


def compare(
    first: Candidate, second: Candidate, judged_on: str, intervals: str = "t"
) -> Comparison:
    """Two candidates' chosen configurations, by their differences at the seeds that both have."""
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


def _scores(configuration: Configuration, split: str) -> dict[Any, float]:
    return by_seed(configuration, f"{split}/accuracy")


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
