"""Made-up sweeps, whose runs learn as real ones do: worse or not at all where the rate is wrong."""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import distinct
from optsweep.verdict.candidates import candidates

# Where each optimizer learns best, and how high it gets.
_BEST = {
    "sgd": (0.1, 0.93),
    "momentum": (0.03, 0.95),
    "adam": (1e-3, 0.97),
    "rmsprop": (1e-3, 0.96),
}


def sweep(
    grid: Mapping[str, Sequence[Any]], *, epochs: int = 5, val: bool = True, **fixed: Any
) -> SweepRecord:
    """Every combination of the grid, trained in imagination; `fixed` are settings of all runs."""
    common = {"model": "mlp", "dataset": "digits", "optimizer": "sgd", "lr": 1e-3, "seed": 0}
    common |= {"batch_size": 64, "epochs": epochs, "val_fraction": 0.1 if val else 0.0, **fixed}
    runs = [
        run(dict(zip(grid, choice, strict=True)), common, number, val=val)
        for number, choice in enumerate(itertools.product(*grid.values()))
    ]
    shared = {key: value for key, value in common.items() if key not in grid}
    typed = [f"{key}={','.join(map(str, choices))}" for key, choices in grid.items()]
    environment = {"torch": "2.15.0", "python": "3.11.2", "cpu": "Imaginary CPU", "cores": "2"}
    return SweepRecord("0" * 31 + "s", typed, dict(grid), runs, environment, shared)


def run(
    swept: Mapping[str, Any], common: Mapping[str, Any], number: int, *, val: bool
) -> RunRecord:
    """One run, whose curves depend on its optimizer, learning rate and seed."""
    params = {**common, **swept}
    optimizer, lr, seed = str(params["optimizer"]), params["lr"], params["seed"]
    best_lr, best = _BEST.get(optimizer, (1e-2, 0.9))
    away = math.log10(lr / best_lr) if isinstance(lr, float) else 0
    chance = random.Random(f"{number} {seed}")
    peak = max(0.1, best - 0.07 * away**2) + chance.gauss(0, 0.006)
    history: dict[str, list[tuple[int, float]]] = {}
    diverged, epochs = away > 1.4, int(params["epochs"])
    for epoch in range(1, epochs + 1):
        reached = peak * (1 - math.exp(-epoch * (0.9 + 0.3 * min(away, 0.5))))
        for split, worse in (("train", 0.0), ("val", 0.01), ("test", 0.015)):
            accuracy = min(1.0, max(0.0, reached - worse + chance.gauss(0, 0.004)))
            loss = math.nan if diverged and epoch > 1 else 2.4 * (1.03 - accuracy) ** 1.3
            if val or split != "val":
                history.setdefault(f"{split}/loss", []).append((epoch, loss))
                history.setdefault(f"{split}/accuracy", []).append((epoch, accuracy))
    seconds = 0.8 + chance.random()
    return RunRecord(
        name=f"{optimizer} lr={lr:g} seed={seed}" if isinstance(lr, float) else f"{optimizer} {lr}",
        run_id=f"{number:032x}",
        params=params,
        swept=dict(swept),
        metrics={key: points[-1][1] for key, points in history.items()},
        history=history,
        seconds=seconds,
        epoch_seconds=[(epoch, seconds / epochs) for epoch in range(1, epochs + 1)],
        diverged=diverged,
    )


def failed(record: RunRecord, error: str, output: str = "", status: str = "FAILED") -> RunRecord:
    """The same run, ended by an error before its first epoch was over."""
    return replace(
        record,
        status=status,
        error=error,
        output=output,
        metrics={},
        history={},
        seconds=0.0,
        epoch_seconds=[],
        diverged=False,
    )


def with_runs(record: SweepRecord, runs: Mapping[int, RunRecord]) -> SweepRecord:
    """The same sweep with some of its runs exchanged."""
    return replace(record, runs=[runs.get(n, old) for n, old in enumerate(record.runs)])


LRS = [1e-4, 1e-3, 1e-2, 1e-1]
OPTIMIZERS = ["sgd", "adam", "rmsprop"]
FOUR = sweep({"optimizer": ["sgd", "adam"], "lr": [1e-3, 1e-1]})
TWELVE = sweep({"optimizer": OPTIMIZERS, "lr": LRS})
SIXTY = sweep({"optimizer": OPTIMIZERS, "lr": LRS, "seed": list(range(5))})


Scores = Mapping[tuple[Any, ...], Sequence[tuple[float, float] | None]]


def scored(scores: Scores, *keys: str, val: bool = True) -> SweepRecord:
    """A sweep of one epoch with these (validation, test) accuracies by setting and seed.

    A setting is its values of `keys`; None stands for a run that diverged.
    """
    runs: list[RunRecord] = []
    for values, row in scores.items():
        for seed, pair in enumerate(row):
            swept = {**dict(zip(keys, values, strict=True)), "seed": seed}
            names = ("val/accuracy", "test/accuracy")[not val :]
            metrics = dict(zip(names, (pair or ())[not val :], strict=False))
            runs.append(
                RunRecord(
                    name=" ".join(map(str, values)),
                    run_id=f"{len(runs):032x}",
                    params=swept,
                    swept=swept,
                    metrics=metrics,
                    history={name: [(1, value)] for name, value in metrics.items()},
                    seconds=2.0,
                    diverged=pair is None,
                )
            )
    seeds = max((len(row) for row in scores.values()), default=0)
    choices = [list(dict.fromkeys(each)) for each in zip(*scores, strict=True)]
    grid = {**dict(zip(keys, choices, strict=True)), "seed": list(range(seeds))}
    return SweepRecord("0" * 31 + "v", [], grid, runs)


def pruned(record: RunRecord, epochs: int) -> RunRecord:
    """The same run, which a search ended after so many epochs."""
    history = {key: points[:epochs] for key, points in record.history.items()}
    metrics = {key: points[-1][1] for key, points in history.items()}
    times = record.epoch_seconds[:epochs]
    return replace(record, pruned=True, history=history, metrics=metrics, epoch_seconds=times)


def _searched() -> SweepRecord:
    """A search of nine runs, whose rates are all different; two of them were pruned."""
    rates = [2e-4, 3e-3, 1.5e-3, 0.03, 9e-4, 0.012, 4e-3, 7e-4, 2e-3]
    grid = sweep({"optimizer": ["sgd", "adam", "rmsprop"], "lr": rates}, epochs=9)
    runs = [run for place, run in enumerate(grid.runs) if place % 3 == place // 9]
    runs = [pruned(run, {1: 1, 5: 3}[n]) if n in (1, 5) else run for n, run in enumerate(runs)]
    choices = {"optimizer": ["sgd", "adam", "rmsprop"], "lr": [run.swept["lr"] for run in runs]}
    search = {"optimizer": "sgd,adam,rmsprop", "lr": "interval(1e-05,1)"}
    return replace(grid, runs=runs, grid=choices, search=search)


SEARCH = _searched()


def confirmed(record: SweepRecord, seeds: Sequence[int] = (100, 101, 102, 103, 104)) -> SweepRecord:
    """The same sweep after each candidate's best configuration was run at fresh seeds."""
    fresh = [
        ({**each.best.swept, "seed": seed}, place)
        for place, each in enumerate(candidates(record))
        if each.best
        for seed in seeds
    ]
    runs = [
        run(swept, {**record.common, **swept}, 10_000 * (place + 1) + swept["seed"], val=True)
        for swept, place in fresh
    ]
    return replace(record, runs=[*record.runs, *runs], confirm_seeds=list(seeds))


def union(*parts: SweepRecord) -> SweepRecord:
    """Sweeps as one union of grids: runs lack the values that their own part does not have."""
    runs = [run for part in parts for run in part.runs]
    keys = dict.fromkeys(key for part in parts for key in part.grid)
    runs = [replace(run, run_id=f"{number:032x}") for number, run in enumerate(runs)]
    grid = {key: distinct(run.swept[key] for run in runs if key in run.swept) for key in keys}
    return SweepRecord("0" * 31 + "u", [], grid, runs)
