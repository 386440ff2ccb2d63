"""How soon a candidate reaches a target accuracy, in epochs and seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from optsweep.records.grouping import Configuration
from optsweep.records.run import RunRecord
from optsweep.verdict.candidates import Candidate


@dataclass(frozen=True)
class TargetTime:
    """How soon a configuration reached the target: means over the runs that did, else None.

    `epochs` is counted from 1 (0: before training), `seconds` are of training and evaluation, a
    run's share of them where several were trained together. `reached` of the configuration's `runs`
    reached it; the others are misses.
    """

    swept: Mapping[str, Any]
    runs: int
    reached: int
    epochs: float | None
    seconds: float | None


def time_to_target(candidate: Candidate, target: float) -> list[TargetTime]:
    """Each configuration's time to the accuracy `target` on the split that chooses, fastest first.

    Ordered by the share of runs that reached it, then by epochs, then by seconds.
    """
    return sorted(
        (_time(configuration, target) for configuration in candidate.configurations), key=speed
    )


def speed(time: TargetTime) -> tuple[float, float, float]:
    """What configurations and candidates are ordered by, the fastest first."""
    missing = float("inf")
    return (
        -time.reached / time.runs,
        missing if time.epochs is None else time.epochs,
        missing if time.seconds is None else time.seconds,
    )


def _time(configuration: Configuration, target: float) -> TargetTime:
    times = [_reached(run, f"{configuration.split}/accuracy", target) for run in configuration.runs]
    reached = [time for time in times if time is not None]
    return TargetTime(
        swept=dict(configuration.swept),
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

    Runs of a stack hold their share already.
    """
    times = dict(run.epoch_seconds)
    if not times:
        epochs = {number for points in run.history.values() for number, _ in points if number > 0}
        times = {number: run.seconds / len(epochs) for number in epochs}
    return sum(seconds for number, seconds in times.items() if number <= epoch)
