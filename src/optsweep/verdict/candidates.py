"""Who competes in a sweep, and on what: candidates are compared within a workload, never across.

A workload is what an optimizer is tuned on: dataset, model and loss with their options, epochs,
val_fraction and precision, as far as they are swept. What is compared is never part of it.
`candidates` is given a sweep and hands on its configurations by candidate, the best first, ranked
by validation as the table ranks them. Nothing here looks at test data where there is validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optsweep.records.grouping import Configuration, optimizer_of
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import distinct, identity, is_number, label, named
from optsweep.verdict.ranking import best_run, ranked_configurations

_COMPARABLE = ("model", "loss", "precision")
_WORKLOAD = ("dataset", "epochs", "val_fraction", *_COMPARABLE)


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
            name = _named(swept, key) if key else optimizer_of(run)
            found.setdefault(name, []).append(configuration)
        every += [Candidate(name, own, workload) for name, own in found.items()]
    return every


def _named(swept: Mapping[str, Any], key: str) -> str:
    return label(swept[key]) if key in swept else f"without {key}"


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


def compared_key(grid: Mapping[str, Sequence[Any]], typed: str | None = None) -> str | None:
    """The key whose values are compared: `compare=KEY` as typed, else `optimizer` where swept.

    Else the first swept key of words, those last that are part of the workload otherwise; else the
    first swept option of the model or the loss. None where nothing is compared: one candidate.
    """
    if typed:
        return typed
    if len(grid.get("optimizer", ())) > 1:
        return "optimizer"
    several = [key for key, choices in grid.items() if key != "seed" and len(choices) > 1]
    own = [key for key in several if not is_of(key, _WORKLOAD)]
    others = [key for key in several if is_of(key, _COMPARABLE)]
    words = [key for key in [*own, *others] if not all(map(is_number, grid[key]))]
    return next(iter([*words, *others]), None)


def workload_keys(sweep: SweepRecord) -> list[str]:
    """The swept keys that make workloads, in the order of the grid."""
    compared = compared_key(sweep.grid, sweep.compare)
    return [
        key
        for key, choices in sweep.grid.items()
        if len(choices) > 1 and is_of(key, _WORKLOAD) and not (compared and is_of(key, (compared,)))
    ]


def tuned_keys(sweep: SweepRecord, own: Sequence[Candidate]) -> list[str]:
    """The keys in which one candidate's configurations differ, in the order of the grid.

    That are those with several choices, but for a key that only some of the runs have: it has to
    differ between configurations of one of `own` candidates.
    """
    hidden = {"seed", *workload_keys(sweep), compared_key(sweep.grid, sweep.compare)}
    return [
        key
        for key, choices in sweep.grid.items()
        if key not in hidden
        and (
            len(choices) > 1
            if all(key in run.swept for run in sweep.runs)
            else any(_differs(each, key) for each in own)
        )
    ]


def _differs(candidate: Candidate, key: str) -> bool:
    values = [each.swept.get(key, candidate) for each in candidate.configurations]
    return len({None if value is candidate else identity(value) for value in values}) > 1


def workloads(sweep: SweepRecord) -> dict[str, SweepRecord]:
    """The sweep's part for each workload, in the order of its runs; one without a name is whole.

    A part's grid has no workload keys, and the choices that its own runs have.
    """
    keys = workload_keys(sweep)
    if not keys:
        return {"": sweep}
    found: dict[str, list[RunRecord]] = {}
    for run in sweep.runs:
        own = {key: run.swept[key] for key in keys if key in run.swept}
        found.setdefault(named(own), []).append(run)
    compare = compared_key(sweep.grid, sweep.compare)
    return {
        name: replace(sweep, runs=runs, grid=_narrowed(sweep, keys, runs), compare=compare)
        for name, runs in found.items()
    }


def best_runs(sweep: SweepRecord) -> dict[str, RunRecord]:
    """The best run of each workload that has one."""
    found = {name: best_run(part.runs) for name, part in workloads(sweep).items()}
    return {name: run for name, run in found.items() if run is not None}


def _narrowed(
    sweep: SweepRecord, keys: Sequence[str], runs: Sequence[RunRecord]
) -> dict[str, Sequence[Any]]:
    grid: dict[str, Sequence[Any]] = {}
    for key, choices in sweep.grid.items():
        own = {identity(run.swept.get(key)) for run in runs if key in run.swept}
        if key not in keys:
            grid[key] = distinct(choice for choice in choices if identity(choice) in own)
    return grid


def is_of(key: str, groups: Sequence[str]) -> bool:
    """Whether a setting is one of the groups or values that are named, or an option of one."""
    return any(key == group or key.startswith(f"{group}.") for group in groups)
