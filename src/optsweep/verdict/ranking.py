"""Which runs and configurations are best: by the accuracy that ranks, ties by its loss."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from optsweep.records.grouping import Configuration, _identity, _unseeded, chance, seed_of
from optsweep.records.run import RunRecord, ranking_split
from optsweep.records.values import identity


def ranked_runs(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The best first: by validation accuracy, then validation loss, of the epoch that counts.

    Runs without validation are ranked by test. After the sound ones come those that were pruned,
    the longest first, then those that diverged, then those that did not finish. Equal runs keep
    their order.
    """

    def key(run: RunRecord) -> tuple[int, int, float, float]:
        state = 3 if run.status != "FINISHED" else 2 if run.diverged else int(run.pruned)
        epochs = run.epochs if state == 1 else 0
        split = ranking_split(run.metrics)
        accuracy = run.metrics.get(f"{split}/accuracy", 0.0)
        return state, -epochs, -accuracy, run.metrics.get(f"{split}/loss", 0.0)

    return sorted(runs, key=key)


def objective(metrics: Mapping[str, float]) -> float:
    """The accuracy that runs are ranked by, for a sweeper that searches."""
    return metrics.get(f"{ranking_split(metrics)}/accuracy", 0.0)


def best_run(runs: Sequence[RunRecord]) -> RunRecord | None:
    """The first of the ranking, or None where no run finished without diverging."""
    sound = [run for run in runs if run.sound]
    return ranked_runs(sound)[0] if sound else None


def ranked_configurations(
    runs: Iterable[RunRecord], confirm_seeds: Iterable[Any] = ()
) -> list[Configuration]:
    """The configurations of the runs, the best first, equal ones in their order.

    They are ranked by the mean accuracy over seeds, where a run that diverged or failed counts as
    chance: it speaks against a configuration, while a killed run says nothing. Runs at
    `confirm_seeds` do not count where there are others. Those without a sound run are last, of
    these the pruned ones first, the longest before the others.
    """
    fresh = set(map(identity, confirm_seeds))
    gathered: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for run in runs:
        gathered.setdefault(_identity(run), []).append(run)
    found = [Configuration(_unseeded(own[0]), own) for own in gathered.values()]
    return sorted(found, key=lambda each: _standing(_without(each, fresh)))


def _without(configuration: Configuration, fresh: set[str]) -> Configuration:
    others = [run for run in configuration.runs if seed_of(run) not in fresh] if fresh else []
    return replace(configuration, runs=others) if others else configuration


def ranking_splits(configurations: Iterable[Configuration]) -> list[str]:
    """The splits that configurations are ranked by: one, unless sweeps of two kinds were merged."""
    found = [(configuration.split, configuration.runs) for configuration in configurations]
    # One that diverged in its first epoch has scores of its training alone.
    known = (
        split for split, runs in found if any(f"{split}/accuracy" in run.metrics for run in runs)
    )
    return list(dict.fromkeys(known))


def _standing(configuration: Configuration) -> tuple[int, float, float]:
    if not configuration.sound and configuration.pruned:
        longest = max((run for run in configuration.runs if run.pruned), key=lambda run: run.epochs)
        return 1, -longest.epochs, -longest.metrics.get(f"{configuration.split}/accuracy", 0.0)
    if not configuration.sound:
        return (2 if configuration.diverged else 3), 0.0, 0.0
    accuracies = configuration.values(f"{configuration.split}/accuracy")
    lost = sum(run.diverged or run.status == "FAILED" for run in configuration.runs)
    total = sum(accuracies) + lost * chance(configuration.runs)
    accuracy = total / max(len(accuracies) + lost, 1)
    return 0, -accuracy, configuration.mean(f"{configuration.split}/loss") or 0.0
