"""How much a candidate's learning rate matters, by the accuracies of its runs' last epochs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from optsweep.records.grouping import Configuration
from optsweep.records.values import is_number
from optsweep.verdict.candidates import Candidate

POINT = 0.01  # of accuracy


@dataclass(frozen=True)
class RatePoint:
    """What a candidate reached at one learning rate, with the best of what else was swept.

    `mean`, `low` and `high` are over the seeds' last accuracies on the split that chooses; None
    where no run finished without diverging.
    """

    lr: float
    mean: float | None
    low: float | None
    high: float | None
    runs: int
    diverged: int
    failed: int


@dataclass(frozen=True)
class Sensitivity:
    """A candidate over the learning rate.

    `range` holds the ends of the widest run of neighbouring swept rates at which no seed diverged
    and the mean is within a point of the best; `largest_stable` the largest at which all runs
    finished and none diverged, None where there is no such rate.
    """

    points: Sequence[RatePoint]
    range: tuple[float, float] | None
    largest_stable: float | None


def sensitivity(candidate: Candidate) -> Sensitivity | None:
    """The candidate over its learning rates; None where fewer than two were swept."""
    by_rate: dict[float, list[Configuration]] = {}
    for configuration in candidate.configurations:  # the best first
        rate = configuration.swept.get("lr")
        if is_number(rate):
            by_rate.setdefault(float(rate or 0), []).append(configuration)
    if len(by_rate) < 2:
        return None
    points = [_point(rate, configurations) for rate, configurations in sorted(by_rate.items())]
    stable = [
        point.lr for point in points if point.runs and not point.diverged and not point.failed
    ]
    return Sensitivity(points, _widest(points), max(stable, default=None))


def _point(rate: float, configurations: Sequence[Configuration]) -> RatePoint:
    best = configurations[0]
    values = best.values(f"{best.split}/accuracy")
    return RatePoint(
        lr=rate,
        mean=fmean(values) if values else None,
        low=min(values, default=None),
        high=max(values, default=None),
        runs=sum(len(configuration.runs) for configuration in configurations),
        diverged=sum(configuration.diverged for configuration in configurations),
        failed=sum(configuration.failed for configuration in configurations),
    )


def _widest(points: Sequence[RatePoint]) -> tuple[float, float] | None:
    best = max((point.mean for point in points if point.mean is not None), default=None)
    if best is None:
        return None
    ranges: list[tuple[float, float]] = []
    open_range = False
    for point in points:
        # A hair more than a point, lest 0.97 - 0.96 count as 0.010000000000000009.
        near = point.mean is not None and point.mean >= best - POINT - 1e-9 and not point.diverged
        if near:
            ranges.append((ranges.pop()[0] if open_range else point.lr, point.lr))
        open_range = near
    ratio = all(point.lr > 0 for point in points)
    return max(
        ranges, key=lambda ends: ends[1] / ends[0] if ratio else ends[1] - ends[0], default=None
    )
