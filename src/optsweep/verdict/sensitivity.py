"""How much a candidate's learning rate matters, by the accuracies that rank its runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from optsweep.records.grouping import Configuration
from optsweep.records.values import is_number
from optsweep.verdict.candidates import Candidate


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

    `largest_stable` is the largest rate at which all runs finished and none diverged, None where
    there is no such rate.
    """

    points: Sequence[RatePoint]
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
    return Sensitivity(points, max(stable, default=None))


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
