"""How much a contender's learning rate matters, and how soon it reaches a target.

Both are read from runs alone: `sensitivity` from the last epoch's accuracies, `time_to_target`
from every epoch's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from optsweep.records.grouping import Setting, is_number
from optsweep.records.run import RunRecord
from optsweep.verdict.candidates import Contender

POINT = 0.01  # of accuracy


@dataclass(frozen=True)
class RatePoint:
    """What a contender reached at one learning rate, with the best of what else was swept.

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
    """A contender over the learning rate.

    `range` holds the ends of the widest run of neighbouring swept rates at which no seed diverged
    and the mean is within a point of the best; `largest_stable` the largest at which all runs
    finished and none diverged, None where there is no such rate.
    """

    points: Sequence[RatePoint]
    range: tuple[float, float] | None
    largest_stable: float | None


@dataclass(frozen=True)
class TargetTime:
    """How soon a setting reached the target: means over the runs that did, None where none did.

    `epochs` is counted from 1 (0: before training), `seconds` are of training and evaluation, a
    run's share of them where several were trained together. `reached` of the setting's `runs`
    reached it; the others are misses.
    """

    swept: Mapping[str, Any]
    runs: int
    reached: int
    epochs: float | None
    seconds: float | None


def sensitivity(contender: Contender) -> Sensitivity | None:
    """The contender over its learning rates; None where fewer than two were swept."""
    by_rate: dict[float, list[Setting]] = {}
    for setting in contender.settings:  # the best first
        rate = setting.swept.get("lr")
        if is_number(rate):
            by_rate.setdefault(float(rate or 0), []).append(setting)
    if len(by_rate) < 2:
        return None
    points = [_point(rate, settings) for rate, settings in sorted(by_rate.items())]
    stable = [
        point.lr for point in points if point.runs and not point.diverged and not point.failed
    ]
    return Sensitivity(points, _widest(points), max(stable, default=None))


def _point(rate: float, settings: Sequence[Setting]) -> RatePoint:
    best = settings[0]
    values = best.values(f"{best.split}/accuracy")
    return RatePoint(
        lr=rate,
        mean=fmean(values) if values else None,
        low=min(values, default=None),
        high=max(values, default=None),
        runs=sum(len(setting.runs) for setting in settings),
        diverged=sum(setting.diverged for setting in settings),
        failed=sum(setting.failed for setting in settings),
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


def time_to_target(contender: Contender, target: float) -> list[TargetTime]:
    """Each setting's time to an accuracy of `target` on the split that chooses, fastest first.

    Ordered by the share of runs that reached it, then by epochs, then by seconds.
    """
    return sorted((_time(setting, target) for setting in contender.settings), key=speed)


def speed(time: TargetTime) -> tuple[float, float, float]:
    """What settings and contenders are ordered by, the fastest first."""
    missing = float("inf")
    return (
        -time.reached / time.runs,
        missing if time.epochs is None else time.epochs,
        missing if time.seconds is None else time.seconds,
    )


def _time(setting: Setting, target: float) -> TargetTime:
    times = [_reached(run, f"{setting.split}/accuracy", target) for run in setting.runs]
    reached = [time for time in times if time is not None]
    return TargetTime(
        swept=dict(setting.swept),
        runs=len(times),
        reached=len(reached),
        epochs=fmean(epoch for epoch, _ in reached) if reached else None,
        seconds=fmean(seconds for _, seconds in reached) if reached else None,
    )


def _reached(run: RunRecord, metric: str, target: float) -> tuple[int, float] | None:
    """The first epoch at which a run reached the target, and the seconds until its end."""
    for epoch, value in run.history.get(metric, ()):
        if value >= target:
            return epoch, seconds_until(run, epoch)
    return None


def seconds_until(run: RunRecord, epoch: int) -> float:
    """The seconds that a run took until an epoch's end; an even share where none was timed.

    Of runs that are trained together each is told its share already.
    """
    times = dict(run.epoch_seconds)
    if not times:
        epochs = {number for points in run.history.values() for number, _ in points if number > 0}
        times = {number: run.seconds / len(epochs) for number in epochs}
    return sum(seconds for number, seconds in times.items() if number <= epoch)
