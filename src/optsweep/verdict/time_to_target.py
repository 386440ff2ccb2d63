"""How soon a candidate reaches a target accuracy, where some of its runs never do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from optsweep.records.grouping import Configuration
from optsweep.records.run import RunRecord
from optsweep.verdict.candidates import Candidate
from optsweep.verdict.scores.intervals import LEVEL

_RESAMPLES = 9999


@dataclass(frozen=True)
class TargetTime:
    """A configuration's expected running time to the target; None where no run reached it.

    That is all that its `runs` spent until they reached it, or in all, over the number that
    `reached` it. `epochs` has a 95 % interval where there are several runs, an end of which is None
    where it has none; `seconds` are of training and evaluation, a run's share of them where several
    were trained together.
    """

    swept: Mapping[str, Any]
    runs: int
    reached: int
    epochs: float | None
    seconds: float | None
    epochs_low: float | None = None
    epochs_high: float | None = None


def time_to_target(candidate: Candidate, target: float) -> list[TargetTime]:
    """Each configuration's time to the accuracy `target` on the split that chooses, fastest first.

    The fastest has an interval.
    """
    spent = [(each, _spent(each, target)) for each in candidate.configurations]
    times = [
        TargetTime(
            swept=dict(configuration.swept),
            runs=len(own),
            reached=sum(reached for *_, reached in own),
            epochs=running_time([epochs for epochs, *_ in own], [each[2] for each in own]),
            seconds=running_time([seconds for _, seconds, _ in own], [each[2] for each in own]),
        )
        for configuration, own in spent
    ]
    order = sorted(range(len(times)), key=lambda place: speed(times[place]))
    first = order[0]
    own = spent[first][1]
    ends = running_time_interval([epochs for epochs, *_ in own], [each[2] for each in own])
    times[first] = replace(times[first], epochs_low=ends[0], epochs_high=ends[1])
    return [times[place] for place in order]


def speed(time: TargetTime) -> tuple[float, float]:
    """What configurations and candidates are ordered by, the fastest first."""
    missing = float("inf")
    return (
        missing if time.epochs is None else time.epochs,
        missing if time.seconds is None else time.seconds,
    )


def running_time(spent: Sequence[float], reached: Sequence[bool]) -> float | None:
    """All that the runs spent over the number of them that reached the target.

    `spent` are a run's epochs (or seconds) until it reached the target, or all that it had where
    it did not. This is the expected cost of starting again until one run reaches it (Hansen and
    others, COCO, Optimization Methods and Software, 2021).
    """
    return sum(spent) / sum(reached) if any(reached) else None


def running_time_interval(
    spent: Sequence[float], reached: Sequence[bool]
) -> tuple[float | None, float | None]:
    """The 95 % interval of the expected running time over two or more runs.

    The percentile bootstrap of 9,999 resamples of the runs (Efron, Annals of Statistics, 1979), the
    same at each call. A resample without a run that reached the target has no end.
    """
    costs, found = np.asarray(spent, np.float64), np.asarray(reached, np.float64)
    if len(costs) < 2 or not found.any():
        return None, None
    drawn = np.random.default_rng(0).integers(len(costs), size=(_RESAMPLES, len(costs)))
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.sort(costs[drawn].sum(1) / found[drawn].sum(1))
    tail = int((1 - LEVEL) / 2 * _RESAMPLES)
    low, high = float(times[tail]), float(times[-1 - tail])
    return low if np.isfinite(low) else None, high if np.isfinite(high) else None


def _spent(configuration: Configuration, target: float) -> list[tuple[float, float, bool]]:
    """Each run's epochs and seconds until it reached the target, or in all, and whether it did."""
    metric = f"{configuration.split}/accuracy"
    found = []
    for run in configuration.runs:
        points = run.history.get(metric, ())
        epoch = next((epoch for epoch, value in points if value >= target), None)
        last = run.epochs if epoch is None else epoch
        found.append((float(last), seconds_until(run, last), epoch is not None))
    return found


def seconds_until(run: RunRecord, epoch: int) -> float:
    """The seconds that a run took until an epoch's end; an even share where none was timed.

    Runs of a stack hold their share already.
    """
    times = dict(run.epoch_seconds)
    if not times:
        epochs = {number for points in run.history.values() for number, _ in points if number > 0}
        times = {number: run.seconds / len(epochs) for number in epochs}
    return sum(seconds for number, seconds in times.items() if number <= epoch)
