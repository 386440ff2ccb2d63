"""How fast optsweep is, beside what people write by hand, measured side by side in one command.

    python experiments/benchmark.py loop                   one epoch of preset=fashion_mlp
    python experiments/benchmark.py overhead --rounds 3    what a run costs beside its epochs

Contestants take turns, so that whatever else the machine does hits them alike, and the median of
the rounds counts: read the ratios, the seconds are this machine's. Another part is another
function in `PARTS`; the first line of its docstring is what --help says of it.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import sklearn.datasets  # noqa: F401 (imported here, so that no run is charged for it)
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from hydra_plugins.optsweep._door import job_from_config, split_config
from optsweep import environment
from optsweep.dataset import Dataset
from optsweep.errors import OptsweepError
from optsweep.run import Job, build, load_dataset, ready, run
from optsweep.settings import Settings
from optsweep.splits import Split
from optsweep.tracking import Store
from optsweep.training import batch_order, evaluate, train_epoch

ROOT = Path(__file__).resolve().parent.parent
OmegaConf.register_new_resolver("project_root", lambda: str(ROOT), replace=True)

CPU = torch.device("cpu")
Product = tuple[Tensor, Tensor]
Row = Sequence[str]
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What the command line says; a part reads what concerns it."""

    rounds: int
    threads: int
    samples: int | None
    data_dir: Path


# loop: the core loop beside one written by hand


class Contestant(Protocol):
    """A network that is about to be trained for one epoch."""

    def train(self) -> None:
        """One pass over the training samples."""

    def evaluate(self) -> tuple[float, float]:
        """Loss and accuracy on the test samples."""


class ByHand:
    """The tutorials' way: torchvision's dataset behind a DataLoader, torch's plain optimizer."""

    def __init__(self, settings: Settings, initial: Mapping[str, Tensor], data: Dataset) -> None:
        self.model = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, 512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, 10),
        )
        self.model.load_state_dict(initial)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=settings.lr)
        self.batches = _loader(settings, len(data.train.labels), train=True)
        self.test_batches = _loader(settings, len(data.test.labels), train=False)
        self.shown: list[float] = []

    def train(self) -> None:
        """Forward, backward, step; the loss is looked at every 100 batches."""
        self.model.train()
        for number, (images, labels) in enumerate(self.batches):
            loss = cross_entropy(self.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if number % 100 == 0:
                self.shown.append(loss.item())

    def evaluate(self) -> tuple[float, float]:
        """The mean of the batches' losses, and the share of the samples classified right."""
        self.model.eval()
        loss, correct, count = 0.0, 0.0, 0
        with torch.no_grad():
            for images, labels in self.test_batches:
                outputs = self.model(images)
                loss += cross_entropy(outputs, labels).item()
                correct += (outputs.argmax(1) == labels).sum().item()
                count += len(labels)
        return loss / len(self.test_batches), correct / count


def _loader(settings: Settings, samples: int, *, train: bool) -> "DataLoader[list[Tensor]]":
    pictures = FashionMNIST(str(settings.data_dir), train=train, transform=ToTensor())
    chosen = pictures if samples == len(pictures) else Subset(pictures, range(samples))
    return DataLoader(chosen, settings.batch_size)


class Ours:
    """The same epoch by optsweep's core loop."""

    def __init__(self, settings: Settings, data: Dataset) -> None:
        count, size = len(data.train.labels), settings.batch_size
        self.stack = build(settings, data, CPU)
        self.model = self.stack.model
        self.data = data
        self.order = batch_order([settings.seed], 1, count, shuffle=False)
        self.batches = [slice(start, start + size) for start in range(0, count, size)]

    def train(self) -> None:
        """As `optsweep.training.train` has it done for each epoch."""
        train_epoch(self.stack, self.data, self.order, self.batches, len(self.batches))

    def evaluate(self) -> tuple[float, float]:
        """The mean of the samples' losses, and the share of the samples classified right."""
        loss, accuracy = evaluate(self.stack, self.data, self.data.test)
        return loss.item(), accuracy.item()


@dataclass(frozen=True)
class Turn:
    """What a contestant's turn gave: seconds for training and evaluation, loss and accuracy."""

    training: float
    evaluation: float
    loss: float
    accuracy: float


def loop(options: Options) -> str:
    """One epoch of preset=fashion_mlp and its evaluation, beside the loop of the tutorials.

    The share of peak counts the operations of the network's matrix products as work and all of
    an epoch as time: to 100 % is missing whatever else is done, and products slower than the peak.
    """
    config = composed(["preset=fashion_mlp", "device=cpu", f"data_dir={options.data_dir}"], ROOT)
    settings = job_of(config).settings
    data = _first_samples(load_dataset(settings), options.samples)
    by_hand, ours = [], []
    for _ in range(options.rounds):
        mine = Ours(settings, data)
        theirs = ByHand(settings, mine.model.state_dict(), data)
        by_hand.append(_take_turn(theirs))
        ours.append(_take_turn(mine))
    judged, _ = evaluate(replace(mine.stack, model=theirs.model), data, data.test)
    apart = abs(judged.item() / ours[-1].loss - 1)
    sizes = f"{len(data.train.labels):,} training and {len(data.test.labels):,} test samples"
    return "\n".join(
        [
            f"preset=fashion_mlp, {sizes}, medians of {options.rounds} rounds",
            "",
            *aligned(_comparison(by_hand, ours)),
            "",
            *aligned(_shares(mine.model, data, settings.batch_size, by_hand, ours)),
            "",
            f"The two trained networks' test losses, taken alike, differ by {apart:.0e} of theirs.",
            "(By hand, the loss is the mean of the batches' means, as the tutorials print it.)",
        ]
    )


def _first_samples(data: Dataset, count: int | None) -> Dataset:
    if count is None:
        return data
    train, test = (Split(s.images[:count], s.labels[:count]) for s in (data.train, data.test))
    return replace(data, train=train, test=test)


def _take_turn(contestant: Contestant) -> Turn:
    training, _ = timed(contestant.train)
    evaluation, (loss, accuracy) = timed(contestant.evaluate)
    return Turn(training, evaluation, loss, accuracy)


def _comparison(by_hand: Sequence[Turn], ours: Sequence[Turn]) -> list[Row]:
    def row(name: str, turns: Sequence[Turn]) -> Row:
        training = median(turn.training for turn in turns)
        evaluation = median(turn.evaluation for turn in turns)
        scores = f"{turns[-1].loss:.4f}", f"{turns[-1].accuracy:.4f}"
        return name, f"{training:.2f} s", f"{evaluation:.3f} s", *scores

    training = median(t.training for t in by_hand) / median(t.training for t in ours)
    evaluation = median(t.evaluation for t in by_hand) / median(t.evaluation for t in ours)
    return [
        ("", "training", "evaluation", "test loss", "accuracy"),
        row("by hand", by_hand),
        row("optsweep", ours),
        ("times as fast", f"{training:.1f}", f"{evaluation:.1f}", "", ""),
    ]


def _shares(
    model: nn.Module, data: Dataset, batch: int, by_hand: Sequence[Turn], ours: Sequence[Turn]
) -> list[Row]:
    square = torch.rand(2048, 2048)
    peak = best_rate([(square, square)])
    work = operations(model, data.input_shape) * len(data.train.labels)

    def row(name: str, rate: float) -> Row:
        return name, f"{rate / 1e9:.0f} GFLOP/s", f"{rate / peak:.0%}"

    return [
        ("matrix products", "rate", "share of peak"),
        row("2048 x 2048, float32, the peak", peak),
        row("this network's, alone", best_rate(products(model, batch))),
        row("this network's, training by hand", work / median(t.training for t in by_hand)),
        row("this network's, training by optsweep", work / median(t.training for t in ours)),
    ]


def operations(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Floating point operations of a sample's products, forward and backward to the weights."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *input_shape)).sum().backward()
    return counter.get_total_flops()


def products(model: nn.Module, batch: int) -> list[Product]:
    """The matrix products of a training step, as pairs; images need no gradient."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    pairs: list[Product] = []
    for number, layer in enumerate(layers):
        weight = layer.weight.detach()
        inputs, gradient = torch.rand(batch, layer.in_features), torch.rand(batch, len(weight))
        pairs += [(inputs, weight.t()), (gradient.t(), inputs)]
        if number > 0:
            pairs.append((gradient, weight))
    return pairs


def best_rate(pairs: Sequence[Product], patience: float = 1.0) -> float:
    """Floating point operations a second of these products, the best within `patience` seconds."""
    work = sum(2 * left.shape[0] * left.shape[1] * right.shape[1] for left, right in pairs)
    results = [left @ right for left, right in pairs]

    def multiply() -> None:
        for (left, right), result in zip(pairs, results, strict=True):
            torch.mm(left, right, out=result)

    best, end = float("inf"), time.perf_counter() + patience
    while time.perf_counter() < end:
        best = min(best, timed(multiply)[0])
    return work / best


# overhead: what a run costs beside its epochs


def overhead(options: Options) -> str:
    """A run's time outside of its epochs, after the imports, on a store that exists.

    Each round is a process of its own, as a run from the shell is: what a process does once (find
    Hydra's plugins, load MLflow's tables) is counted, imports are not.
    """
    with TemporaryDirectory() as folder:
        Store.open(_uri(Path(folder)), "benchmark")
        context = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            tasks = [(Path(folder), number, options.threads) for number in range(options.rounds)]
            rounds = list(pool.map(_phases, *zip(*tasks, strict=True)))
    outside = median(sum(phases.values()) for phases in rounds)
    return "\n".join(
        [
            f"digits, mlp, 3 epochs, no pictures; medians of {options.rounds} processes",
            "",
            *aligned(
                [(name, f"{median(p[name] for p in rounds):.3f} s") for name in rounds[0]]
                + [("outside of the epochs", f"{outside:.3f} s")]
            ),
        ]
    )


def _phases(folder: Path, number: int, threads: int) -> dict[str, float]:
    """Seconds of each phase of a run, in the order in which the command goes through them."""
    overrides = ["epochs=3", "device=cpu", f"threads={threads}", "tracking.experiment=benchmark"]
    overrides += [f"tracking.uri={_uri(folder)}", f"data_dir={folder}"]
    composing, config = timed(lambda: composed(overrides, folder / str(number)))
    checking, job = timed(lambda: job_of(config))
    opening, store = timed(lambda: Store.open(job.settings.tracking_uri, job.settings.experiment))
    console = Console(file=StringIO())
    running, result = timed(lambda: run(job, store, console=console, figures=False))
    return {
        "compose the config": composing,
        "check it, load the data": checking,
        "open the store": opening,
        "build, track, keep weights": running - result.seconds,
    }


def _uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


# What the parts share


def composed(overrides: list[str], folder: Path) -> DictConfig:
    """The config of a run in `folder`, as Hydra composes it from the shell."""
    where = f"hydra.runtime.output_dir={folder}"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", [*overrides, where], return_hydra_config=True)


def job_of(config: DictConfig) -> Job:
    """The config as a checked job, as the command makes it."""
    own, hydra = split_config(config)
    return job_from_config(own, hydra, list(hydra.overrides.task), (), ready)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that `work` takes, and what it returns."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def aligned(rows: Sequence[Row]) -> list[str]:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def header(options: Options) -> str:
    """Where and when a result was measured, in a line."""
    about = environment.describe()
    commit = environment.git_commit(ROOT) or "unknown"
    machine = f"{about['cpu']}, {about['cores']} cores, {options.threads} threads"
    return f"{machine}; torch {about['torch']}; {date.today()}; commit {commit}"


@dataclass(frozen=True)
class Part:
    """A benchmark: the function that measures and returns what to print, and its usual rounds."""

    measure: Callable[[Options], str]
    rounds: int

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.measure.__doc__ or "").splitlines()[0]


PARTS = {"loop": Part(loop, rounds=3), "overhead": Part(overhead, rounds=7)}


def main() -> None:
    """Measures the part that the command line names and prints what it gave."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    for name, part in PARTS.items():
        _add_options(parts.add_parser(name, help=part.summary, description=part.summary), part)
    given = vars(parser.parse_args())
    part = PARTS[given.pop("part")]
    options = Options(**given)
    torch.set_num_threads(options.threads)
    try:
        print(header(options), part.measure(options), sep="\n\n")
    except OptsweepError as error:
        sys.exit(f"error: {error}")


def _add_options(parser: argparse.ArgumentParser, part: Part) -> None:
    data_dir = Path(os.environ.get("OPTSWEEP_DATA") or ROOT / "data")
    texts = {
        "rounds": f"measurements of each contestant, of which the median counts ({part.rounds})",
        "threads": "threads of every contestant (all cores)",
        "samples": "only so many training and test samples, to try a part out (all)",
        "data-dir": f"where datasets lie and are downloaded to ({data_dir})",
    }
    parser.add_argument("--rounds", type=int, default=part.rounds, help=texts["rounds"])
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help=texts["threads"])
    parser.add_argument("--samples", type=int, help=texts["samples"])
    parser.add_argument("--data-dir", type=Path, default=data_dir, help=texts["data-dir"])


if __name__ == "__main__":
    main()
