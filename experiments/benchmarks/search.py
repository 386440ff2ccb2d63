"""What a search finds with the epochs of a grid, and what pruning saves of them."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.shared import Options, Result, aligned
from benchmarks.sweeps import new_project, run_in

EPOCHS, SAMPLES, TRIALS = 9, 12_000, 12
GRID = ("optimizer=sgd,adam,rmsprop", "lr=1e-4,1e-3,1e-2,1e-1")
SPACE = ("optimizer=sgd,adam,rmsprop", "lr=interval(1e-5,1)")


@dataclass(frozen=True)
class Found:
    """The best run's validation accuracy, and the epochs that all runs trained."""

    accuracy: float
    epochs: int


def search(options: Options) -> Result:
    """A search on Fashion-MNIST beside the 12-run grid of as many epochs, with pruning too.

    Each round is another seed of the sampler; the grid, which has none, is trained once.
    """
    grid = _run_search(options, *GRID)
    searches, pruned = [], []
    for seed in range(options.rounds):
        asked = ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={TRIALS}"]
        asked += [f"hydra.sweeper.seed={seed}", *SPACE]
        searches.append(_run_search(options, *asked))
        pruned.append(_run_search(options, *asked, "hydra.sweeper.pruning=true"))
        rows = [_row(f"seed {seed}", [searches[-1]], grid), _row("pruned", [pruned[-1]], grid)]
        print(aligned(rows), file=sys.stderr, flush=True)  # a round takes minutes
    rows = [
        ("median", "best accuracy", "points ahead of the grid", "epochs", "of the grid's"),
        _row("grid", [grid], grid),
        _row("search", searches, grid),
        _row("search, pruned", pruned, grid),
    ]
    about = f"{TRIALS} runs of {EPOCHS} epochs, {options.samples or SAMPLES:,} samples"
    return f"{about}, searches at {options.rounds} seeds", rows


def _row(name: str, found: Sequence[Found], grid: Found) -> Sequence[str]:
    return (
        name,
        f"{median(each.accuracy for each in found):.4f}",
        f"{100 * median(each.accuracy - grid.accuracy for each in found):+.2f}",
        f"{median(each.epochs for each in found):.0f}",
        f"{median(each.epochs for each in found) / grid.epochs:.2f}",
    )


def _run_search(options: Options, *arguments: str) -> Found:
    """What a sweep with these arguments finds, in a project of its own."""
    limit = f"dataset.limit={options.samples or SAMPLES}"
    settings = [f"epochs={EPOCHS}", "dataset=fashion_mnist", limit, "figures=none"]
    with new_project() as folder:
        run_in(folder, "-m", *arguments, *settings, f"data_dir={options.data_dir}")
        return Found(_best(folder), _epochs(folder))


def _best(folder: Path) -> float:
    (table,) = (folder / "outputs").glob("*/*/table.csv")
    with table.open(newline="") as file:
        return float(next(csv.DictReader(file))["val/accuracy"])


def _epochs(folder: Path) -> int:
    journals = (folder / "outputs").glob("*/*/*/history.jsonl")
    return sum(len(journal.read_text().splitlines()) for journal in journals)
