"""How soon a candidate reaches a target, where some of its runs never do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optsweep.verdict.scores.intervals import LEVEL

_RESAMPLES = 9999


@dataclass(frozen=True)
class RunningTime:
    """The expected running time with its 95 % interval; None where it has no end."""

    expected: float | None
    low: float | None
    high: float | None
    reached: int
    runs: int


def running_time(spent: Sequence[float], reached: Sequence[bool]) -> RunningTime:
    """All that the runs spent over the number of them that reached the target.

    `spent` are a run's epochs (or seconds) until it reached the target, or all that it had where
    it did not. This is the expected cost of starting again until one run reaches it (Hansen and
    others, COCO, Optimization Methods and Software, 2021). The interval is the percentile bootstrap
    of 9,999 resamples of the runs (Efron, Annals of Statistics, 1979), the same at each call; one
    without a run that reached the target has no end.
    """
    costs, found = np.asarray(spent, np.float64), np.asarray(reached, np.float64)
    if not found.any():
        return RunningTime(None, None, None, 0, len(costs))
    expected = float(costs.sum() / found.sum())
    drawn = np.random.default_rng(0).integers(len(costs), size=(_RESAMPLES, len(costs)))
    with np.errstate(divide="ignore"):
        times = np.sort(costs[drawn].sum(1) / found[drawn].sum(1))
    tail = int((1 - LEVEL) / 2 * _RESAMPLES)
    low, high = float(times[tail]), float(times[-1 - tail])
    if len(costs) < 2:
        return RunningTime(expected, None, None, 1, 1)
    return RunningTime(
        expected=expected,
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
        reached=int(found.sum()),
        runs=len(costs),
    )
