"""Who competes in a sweep: the optimizers, or what else was swept that is no number.

`candidates` is given a sweep and hands on its settings by contender, the best first, ranked by
validation as the table ranks them. Nothing here looks at test data where there is validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optsweep.records.grouping import Configuration, optimizer_of
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.wording import identity, is_number, label
from optsweep.verdict.ranking import ranked_configurations


@dataclass(frozen=True)
class Candidate:
    """One contender and its settings, the best first: by mean accuracy over seeds, then loss."""

    name: str
    settings: Sequence[Configuration]

    @property
    def best(self) -> Configuration | None:
        """The setting that was chosen; None where no run finished without diverging."""
        return self.settings[0] if self.settings[0].sound else None

    def counts(self) -> tuple[int, int, int]:
        """How many runs there are, how many of them diverged, and how many did not finish."""
        return (
            sum(len(setting.runs) for setting in self.settings),
            sum(setting.diverged for setting in self.settings),
            sum(setting.failed for setting in self.settings),
        )


def candidate_key(grid: Mapping[str, Sequence[Any]]) -> str | None:
    """What the contenders are values of: `optimizer`, else the first swept key of no numbers.

    None where only numbers were swept: then there is one contender.
    """
    if len(grid.get("optimizer", ())) > 1:
        return "optimizer"
    for key, choices in grid.items():
        if key != "seed" and len(choices) > 1 and not all(map(is_number, choices)):
            return key
    return None


def candidates(sweep: SweepRecord) -> list[Candidate]:
    """The contenders, the one with the best setting first."""
    key = candidate_key(sweep.grid)
    found: dict[str, list[Configuration]] = {}
    for setting in ranked_configurations(sweep.runs):
        named = label(setting.swept.get(key)) if key else optimizer_of(setting.runs[0])
        found.setdefault(named, []).append(setting)
    return [Candidate(name, settings) for name, settings in found.items()]


def seed_of(run: RunRecord) -> Any:
    """The run's seed, swept or not."""
    return run.swept.get("seed", run.params.get("seed", 0))


def by_seed(setting: Configuration, metric: str) -> dict[Any, float]:
    """The metric of the setting's sound runs by their seeds; of two runs at one seed the first."""
    found: dict[Any, float] = {}
    for run in setting.sound:
        if metric in run.metrics:
            found.setdefault(seed_of(run), run.metrics[metric])
    return found


def neighbours(
    best: Configuration, settings: Sequence[Configuration], key: str
) -> dict[float, Configuration]:
    """The settings that differ from the best in the number `key` alone, by it, ascending."""
    others = _without(best.swept, key)
    found = {
        setting.swept[key]: setting
        for setting in reversed(settings)
        if is_number(setting.swept.get(key)) and _without(setting.swept, key) == others
    }
    return dict(sorted(found.items()))


def _without(swept: Mapping[str, Any], key: str) -> dict[str, str]:
    return {name: identity(value) for name, value in swept.items() if name != key}
