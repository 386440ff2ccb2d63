"""Those who train the same network for an epoch: by hand in two ways, and optsweep.

Each has a process of its own, in which it waits for its turns: so nobody has threads, an allocator
or a cache that another one has set up.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from statistics import median
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Samples
from torchvision.transforms import ToTensor

from benchmarks.shared import ROOT, composed, timed
from optsweep.config.instantiate import call, resolve
from optsweep.config.settings import Settings
from optsweep.data.batch_order import batch_order
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.data.splits import Split
from optsweep.models.build import build_model
from optsweep.models.losses import build_loss
from optsweep.runs.build import build_run
from optsweep.training.device import computing
from optsweep.training.evaluation import evaluate
from optsweep.training.loop import train_epoch

CPU = torch.device("cpu")
Batches = Iterable[Sequence[Tensor]]
LOADED, IN_MEMORY, OPTSWEEP = "by hand", "by hand, from memory", "optsweep"


@dataclass(frozen=True)
class Turn:
    """What a turn gave: seconds of training and evaluation, loss and accuracy on test samples.

    `judged` is the same loss as optsweep takes it, the mean over samples.
    """

    training: float
    evaluation: float
    loss: float
    accuracy: float
    judged: float


class ByHand:
    """The tutorials' loop: pictures behind a DataLoader with ToTensor, torch's plain optimizer."""

    def __init__(self, settings: Settings, data: Dataset) -> None:
        self.settings, self.data = settings, data
        self.model = build_model(settings, data.input_shape, len(data.classes))
        target, option = resolve("optimizer", settings.optimizer), settings.optimizer
        self.optimizer = call("optimizer", option, target, self.model.parameters())
        loss = build_loss(settings)
        plain = settings.loss.name == "cross_entropy"
        self.loss = cross_entropy if plain else lambda *given: loss(*given).mean()
        self.batches, self.test_batches = self.loaded(data.train), self.loaded(data.test)
        self.shown: list[float] = []

    def loaded(self, split: Split) -> Batches:
        """A split's batches in the order of its files."""
        pictures = _Pictures(split, self.data.peak)
        return DataLoader(pictures, self.settings.batch_size)

    def train(self) -> None:
        """Forward, backward, step; the loss is looked at every 100 batches."""
        self.model.train()
        for number, (images, labels) in enumerate(self.batches):
            loss = self.loss(self.model(images), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if number % 100 == 0:
                self.shown.append(loss.item())

    def evaluate(self) -> tuple[float, float]:
        """The mean of the batches' losses, and the share of the samples classified right."""
        self.model.eval()
        loss, correct, count, batches = 0.0, 0.0, 0, 0
        with torch.no_grad():
            for images, labels in self.test_batches:
                outputs = self.model(images)
                loss += self.loss(outputs, labels).item()
                correct += (outputs.argmax(1) == labels).sum().item()
                count, batches = count + len(labels), batches + 1
        return loss / batches, correct / count

    def turn(self) -> Turn:
        """An epoch and its evaluation."""
        training, _ = timed(self.train)
        evaluation, (loss, accuracy) = timed(self.evaluate)
        stack = replace(build_run(self.settings, self.data, CPU), model=self.model)
        return Turn(
            training,
            evaluation,
            loss,
            accuracy,
            evaluate(stack, self.data, self.data.test)[0].item(),
        )


class FromMemory(ByHand):
    """The same loop over slices of float tensors that lie in memory."""

    def loaded(self, split: Split) -> Batches:
        """Slices, scaled before the clock starts."""
        size = self.settings.batch_size
        images = (split.images / self.data.peak).split(size)
        return list(zip(images, split.labels.split(size), strict=True))


class _Pictures(Samples[tuple[Tensor, int]]):
    """What torchvision's datasets do with a picture that lies in memory: Pillow, then ToTensor."""

    def __init__(self, split: Split, peak: int) -> None:
        pixels = split.images if peak == 255 else (split.images * (255 / peak)).byte()
        self.pictures = pixels.permute(0, 2, 3, 1).squeeze(-1).contiguous().numpy()
        self.labels = split.labels
        self.to_tensor = ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.to_tensor(Image.fromarray(self.pictures[index])), int(self.labels[index])


class Ours:
    """The same epoch by optsweep's core loop."""

    def __init__(self, settings: Settings, data: Dataset) -> None:
        count, size = len(data.train.labels), settings.batch_size
        self.stack, self.data = build_run(settings, data, CPU), data
        self.order = batch_order([settings.seed], 1, count, shuffle=False)
        self.batches = [slice(start, start + size) for start in range(0, count, size)]

    def turn(self) -> Turn:
        """As `optsweep.training.loop.train` has it done for each epoch."""
        training, _ = timed(lambda: train_epoch(self.stack, self.data, self.order, self.batches))
        evaluation, (loss, right) = timed(lambda: evaluate(self.stack, self.data, self.data.test))
        accuracy = right.double().mean().item()
        return Turn(training, evaluation, loss.item(), accuracy, loss.item())


@dataclass(frozen=True)
class Race:
    """What all contestants do: a run's overrides, how many samples, threads and which core."""

    overrides: Sequence[str]
    threads: int
    samples: int | None = None
    core: int | None = None


class Trained(Protocol):
    """A network that is about to be trained for an epoch and evaluated."""

    def turn(self) -> Turn:
        """Trains and evaluates it."""


KINDS: dict[str, Callable[[Settings, Dataset], Trained]] = {
    LOADED: ByHand,
    IN_MEMORY: FromMemory,
    OPTSWEEP: Ours,
}


class Contestant:
    """One of `KINDS` in a process of its own, which is built anew for each turn."""

    def __init__(self, kind: str, race: Race) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _enter, (kind, race))
        self.start().result()  # what is only done once in a process

    def start(self) -> "Future[Turn]":
        """Takes a turn, while this process continues."""
        return self._pool.submit(_turn)

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown()


@contextmanager
def contest(race: Race, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Mapping[str, Contestant]]:
    """Contestants by their kinds, until the block ends."""
    with ExitStack() as processes:
        found = {kind: Contestant(kind, race) for kind in kinds}
        for each in found.values():
            processes.callback(each.close)
        yield found


def rounds_of(
    race: Race, rounds: int, kinds: Sequence[str] = tuple(KINDS)
) -> dict[str, list[Turn]]:
    """The turns of each contestant, taken one after another in each round."""
    turns: dict[str, list[Turn]] = {kind: [] for kind in kinds}
    with contest(race, kinds) as contestants:
        for _ in range(rounds):
            for kind, each in contestants.items():
                turns[kind].append(each.start().result())
    return turns


def ratio(own: Sequence[Turn], others: Sequence[Turn], what: str = "training") -> float:
    """The median over rounds of one's seconds over another's."""
    pairs = zip(own, others, strict=True)
    ratios = [getattr(one, what) / getattr(other, what) for one, other in pairs]
    return float(median(ratios))


def race_data(race: Race) -> tuple[Settings, Dataset]:
    """The settings and samples of a race."""
    settings = composed([*race.overrides, "device=cpu", f"threads={race.threads}"], ROOT).settings
    data = load_dataset(settings)
    train, test = (
        Split(split.images[: race.samples], split.labels[: race.samples])
        for split in (data.train, data.test)
    )
    return settings, replace(data, train=train, test=test)


_entered: list[tuple[str, Settings, Dataset]] = []


def _enter(kind: str, race: Race) -> None:
    if race.core is not None:
        os.sched_setaffinity(0, [race.core])
    torch.set_num_threads(race.threads)
    _entered.append((kind, *race_data(race)))


def _turn() -> Turn:
    kind, settings, data = _entered[0]
    if kind != OPTSWEEP:
        return KINDS[kind](settings, data).turn()
    with computing(settings):
        return Ours(settings, data).turn()
