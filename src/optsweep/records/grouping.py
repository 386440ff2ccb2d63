"""Runs grouped by configuration: those that differ in their seed alone are its repeats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from optsweep.records.run import RunRecord, ranking_split
from optsweep.records.values import identity, label, named


@dataclass(frozen=True)
class Configuration:
    """Runs that agree in all that the sweep varies but `seed`; `swept` holds those values."""

    swept: Mapping[str, Any]
    runs: Sequence[RunRecord]

    @property
    def sound(self) -> list[RunRecord]:
        """The runs that finished without diverging, and were not pruned."""
        return [run for run in self.runs if run.sound]

    @property
    def diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(run.diverged and run.status == "FINISHED" for run in self.runs)

    @property
    def pruned(self) -> int:
        """How many of the runs a search ended early."""
        return sum(run.pruned and run.status == "FINISHED" for run in self.runs)

    @property
    def stopped_early(self) -> int:
        """How many of the runs ended for want of a better validation loss."""
        return sum(run.stopped_early and run.sound for run in self.runs)

    @property
    def failed(self) -> int:
        """How many of the runs did not finish."""
        return sum(run.status != "FINISHED" for run in self.runs)

    @property
    def split(self) -> str:
        """The split that the runs are ranked by."""
        known = [run.metrics for run in self.sound or self.runs if run.metrics]
        return ranking_split(known[0] if known else {})

    @property
    def name(self) -> str:
        """The values, each under its name but for the optimizer: `adam lr=0.001`."""
        return named(self.swept)

    @property
    def notes(self) -> str:
        """How many of the runs ended otherwise than planned: `1 of 3 diverged`."""
        counts = {"diverged": self.diverged, "pruned": self.pruned}
        counts |= {"stopped early": self.stopped_early, "not finished": self.failed}
        of = f" of {len(self.runs)}" if len(self.runs) > 1 else ""
        return "; ".join(
            f"{count}{of} {what}" if of else what for what, count in counts.items() if count
        )

    def values(self, metric: str) -> list[float]:
        """The metric of each sound run that has it."""
        return [run.metrics[metric] for run in self.sound if metric in run.metrics]

    def mean(self, metric: str) -> float | None:
        """The metric's mean over the sound runs; None where there are none."""
        values = self.values(metric)
        return fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Its standard deviation over them (n - 1 in the denominator); None for fewer than two."""
        values = self.values(metric)
        return stdev(values) if len(values) > 1 else None

    @property
    def seconds(self) -> float:
        """The mean time of the runs that took any."""
        taken = [run.seconds for run in self.runs if run.seconds > 0]
        return fmean(taken) if taken else 0.0


def configuration_name(run: RunRecord) -> str:
    """The name of the configuration that the run is of: `adam lr=0.001`."""
    return named(_unseeded(run))


def chance(runs: Iterable[RunRecord]) -> float:
    """The accuracy of guessing: 1 / classes; 0 where no run knows its classes."""
    classes = max((run.classes or 0 for run in runs), default=0)
    return 1 / classes if classes else 0.0


def seed_of(run: RunRecord) -> str:
    """The run's seed, swept or not, the same for equal ones."""
    return identity(run.swept.get("seed", run.params.get("seed", 0)))


def _identity(run: RunRecord) -> tuple[tuple[str, str], ...]:
    return tuple((key, identity(value)) for key, value in sorted(_unseeded(run).items()))


def _unseeded(run: RunRecord) -> dict[str, Any]:
    return {key: value for key, value in run.swept.items() if key != "seed"}


def optimizer_of(run: RunRecord) -> str:
    """The name of the run's optimizer, swept or not; empty where the record does not hold it."""
    return label(run.swept.get("optimizer", run.params.get("optimizer", "")))
