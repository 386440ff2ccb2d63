"""Who competes in a sweep: the optimizers, or what else is compared, workload by workload.

`candidates` is given a sweep and hands on its configurations by candidate, the best first, ranked
by validation as the table ranks them. Nothing here looks at test data where there is validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optsweep.records.grouping import Configuration, optimizer_of
from optsweep.records.run import SweepRecord
from optsweep.records.values import identity, is_number, label
from optsweep.verdict.ranking import ranked_configurations
from optsweep.verdict.workloads import compared_key, workloads


@dataclass(frozen=True)
class Candidate:
    """A candidate and its configurations in one workload, those that were chosen first."""

    name: str
    configurations: Sequence[Configuration]
    workload: str = ""

    @property
    def best(self) -> Configuration | None:
        """The configuration that was chosen; None where no run finished without diverging."""
        return self.configurations[0] if self.configurations[0].sound else None

    def counts(self) -> tuple[int, int, int]:
        """How many runs there are, how many of them diverged, and how many did not finish."""
        return (
            sum(len(configuration.runs) for configuration in self.configurations),
            sum(configuration.diverged for configuration in self.configurations),
            sum(configuration.failed for configuration in self.configurations),
        )


def candidates(sweep: SweepRecord) -> list[Candidate]:
    """The candidates of each workload, the one with the best configuration first."""
    key = compared_key(sweep.grid, sweep.compare)
    every = []
    for workload, part in workloads(sweep).items():
        found: dict[str, list[Configuration]] = {}
        for configuration in ranked_configurations(part.runs, sweep.confirm_seeds):
            swept, run = configuration.swept, configuration.runs[0]
            name = label(swept.get(key)) if key else optimizer_of(run)
            found.setdefault(name, []).append(configuration)
        every += [Candidate(name, own, workload) for name, own in found.items()]
    return every


def neighbours(
    best: Configuration, configurations: Sequence[Configuration], key: str
) -> dict[float, Configuration]:
    """The configurations that differ from the best in the number `key` alone, by it, ascending."""
    others = _without(best.swept, key)
    found = {
        configuration.swept[key]: configuration
        for configuration in reversed(configurations)
        if is_number(configuration.swept.get(key)) and _without(configuration.swept, key) == others
    }
    return dict(sorted(found.items()))


def _without(swept: Mapping[str, object], key: str) -> dict[str, str]:
    return {name: identity(value) for name, value in swept.items() if name != key}
