"""The core loop beside the one that the tutorials write by hand."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from benchmarks.shared import ROOT, Options, Result, Row, composed, timed
from optsweep.config.settings import Settings
from optsweep.data.batch_order import batch_order
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.data.splits import Split
from optsweep.runs.build import build_run
from optsweep.training.evaluation import evaluate
from optsweep.training.loop import train_epoch

CPU = torch.device("cpu")
Product = tuple[Tensor, Tensor]


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
        self.stack = build_run(settings, data, CPU)
        self.model = self.stack.model
        self.data = data
        self.order = batch_order([settings.seed], 1, count, shuffle=False)
        self.batches = [slice(start, start + size) for start in range(0, count, size)]

    def train(self) -> None:
        """As `optsweep.training.loop.train` has it done for each epoch."""
        train_epoch(self.stack, self.data, self.order, self.batches)

    def evaluate(self) -> tuple[float, float]:
        """The mean of the samples' losses, and the share of the samples classified right."""
        loss, right = evaluate(self.stack, self.data, self.data.test)
        return loss.item(), right.double().mean().item()


@dataclass(frozen=True)
class Turn:
    """What a contestant's turn gave: seconds for training and evaluation, loss and accuracy."""

    training: float
    evaluation: float
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Round:
    """A turn of each contestant, and how fast this machine multiplied matrices just before.

    Rates are floating point operations a second. `apart` is by how much the two trained
    networks' test losses differ, both taken by optsweep, as a share of the loss.
    """

    by_hand: Turn
    ours: Turn
    apart: float
    peak: float
    alone: float


def loop(options: Options) -> Result:
    """One epoch of preset=fashion_mlp and its evaluation, beside the loop of the tutorials.

    The share of peak counts the operations of the network's matrix products as work and all of
    an epoch as time: to 100 % is missing whatever else is done, and products slower than the peak.
    """
    overrides = ["preset=fashion_mlp", "device=cpu", f"data_dir={options.data_dir}"]
    settings = composed(overrides, ROOT).settings
    data = _first_samples(load_dataset(settings), options.samples)
    rounds = [_round(settings, data) for _ in range(options.rounds)]
    network = build_run(settings, data, CPU).model
    work = operations(network, data.input_shape) * len(data.train.labels)
    sizes = f"{len(data.train.labels):,} training and {len(data.test.labels):,} test samples"
    return (
        f"preset=fashion_mlp, {sizes}, rounds: {len(rounds)}, medians",
        _comparison(rounds),
        _shares(rounds, work),
        f"The trained networks' test losses differ by {max(r.apart for r in rounds):.0e} of a loss."
        "\n(By hand it is the mean of the batches' means, as the tutorials have it.)",
    )


def _first_samples(data: Dataset, count: int | None) -> Dataset:
    train, test = (Split(s.images[:count], s.labels[:count]) for s in (data.train, data.test))
    return replace(data, train=train, test=test)


def _round(settings: Settings, data: Dataset) -> Round:
    ours = Ours(settings, data)
    by_hand = ByHand(settings, ours.model.state_dict(), data)
    squares = [torch.rand(size, size) for size in (512, 1024, 2048)]
    peak = max(best_rate([(square, square)]) for square in squares)
    alone = best_rate(products(ours.model, settings.batch_size))
    turns = _turn(by_hand), _turn(ours)
    loss, _ = evaluate(replace(ours.stack, model=by_hand.model), data, data.test)
    return Round(*turns, abs(loss.item() / turns[1].loss - 1), peak, alone)


def _turn(contestant: Contestant) -> Turn:
    training, _ = timed(contestant.train)
    evaluation, (loss, accuracy) = timed(contestant.evaluate)
    return Turn(training, evaluation, loss, accuracy)


def _comparison(rounds: Sequence[Round]) -> list[Row]:
    def row(name: str, turns: Sequence[Turn]) -> Row:
        training = median(turn.training for turn in turns)
        evaluation = median(turn.evaluation for turn in turns)
        scores = f"{turns[-1].loss:.4f}", f"{turns[-1].accuracy:.4f}"
        return name, f"{training:.2f} s", f"{evaluation:.3f} s", *scores

    training = [r.by_hand.training / r.ours.training for r in rounds]
    evaluation = [r.by_hand.evaluation / r.ours.evaluation for r in rounds]
    return [
        ("", "training", "evaluation", "test loss", "accuracy"),
        row("by hand", [r.by_hand for r in rounds]),
        row("optsweep", [r.ours for r in rounds]),
        ("times as fast", f"{median(training):.1f}", f"{median(evaluation):.1f}", "", ""),
        ("from", f"{min(training):.1f}", f"{min(evaluation):.1f}", "", ""),
        ("to", f"{max(training):.1f}", f"{max(evaluation):.1f}", "", ""),
    ]


def _shares(rounds: Sequence[Round], work: int) -> list[Row]:
    peak = max(max(r.peak, r.alone) for r in rounds)

    def row(name: str, rate: float) -> Row:
        return name, f"{rate / 1e9:.0f} GFLOP/s", f"{rate / peak:.0%}"

    return [
        ("float32 matrix products", "rate", "share of peak"),
        row("square ones", max(r.peak for r in rounds)),
        row("this network's, alone", max(r.alone for r in rounds)),
        row("this network's, trained by hand", work / median(r.by_hand.training for r in rounds)),
        row("this network's, trained by optsweep", work / median(r.ours.training for r in rounds)),
    ]


def operations(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Floating point operations of a sample's products, forward and backward to the weights."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *input_shape)).sum().backward()
    return int(counter.get_total_flops())


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


def best_rate(pairs: Sequence[Product], patience: float = 0.3) -> float:
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
