"""Who competes in a sweep: the optimizers, or what else was swept that is no number.

`candidates` is given a sweep and hands on its configurations by candidate, the best first, ranked
by validation as the table ranks them. Nothing here looks at test data where there is validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optsweep.records.grouping import Configuration, optimizer_of
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import identity, is_number, label
from optsweep.verdict.ranking import ranked_configurations


@dataclass(frozen=True)
class Candidate:
    """A candidate and its configurations, best first: by mean accuracy over seeds, then loss."""

    name: str
    configurations: Sequence[Configuration]

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


def candidate_key(grid: Mapping[str, Sequence[Any]]) -> str | None:
    """What the candidates are values of: `optimizer`, else the first swept key of no numbers.

    None where only numbers were swept: then there is one candidate.
    """
    if len(grid.get("optimizer", ())) > 1:
        return "optimizer"
    for key, choices in grid.items():
        if key != "seed" and len(choices) > 1 and not all(map(is_number, choices)):
            return key
    return None


def candidates(sweep: SweepRecord) -> list[Candidate]:
    """The candidates, the one with the best configuration first."""
    key = candidate_key(sweep.grid)
    found: dict[str, list[Configuration]] = {}
    for configuration in ranked_configurations(sweep.runs):
        named = label(configuration.swept.get(key)) if key else optimizer_of(configuration.runs[0])
        found.setdefault(named, []).append(configuration)
    return [Candidate(name, configurations) for name, configurations in found.items()]


def seed_of(run: RunRecord) -> Any:
    """The run's seed, swept or not."""
    return run.swept.get("seed", run.params.get("seed", 0))


def by_seed(configuration: Configuration, metric: str) -> dict[Any, float]:
    """The metric of a configuration's sound runs by seed; of two runs at one seed the first."""
    found: dict[Any, float] = {}
    for run in configuration.sound:
        if metric in run.metrics:
            found.setdefault(seed_of(run), run.metrics[metric])
    return found


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


def _without(swept: Mapping[str, Any], key: str) -> dict[str, str]:
    return {name: identity(value) for name, value in swept.items() if name != key}
