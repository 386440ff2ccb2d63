"""Means over seeds with their intervals."""

from collections.abc import Sequence
from statistics import fmean, stdev

from optsweep.verdict.verdict import _NO_SPREAD, LEVEL, Estimate


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
