"""Stacks of Fashion-MNIST's network on a GPU, beside one run after another, and beside their floor.

A step of a small network on a large GPU is bound by memory. The floor is what its weights,
gradients and optimizer state take to be read and written once each: 24 bytes a weight for SGD, 40
for Adam, at the rate at which this GPU copies.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from benchmarks.loop import operations
from benchmarks.shared import Options, Result, Row, composed, timed
from optsweep.config.settings import Settings
from optsweep.data.batch_order import batch_order
from optsweep.data.dataset import Dataset
from optsweep.data.splits import Split
from optsweep.models.build import build_model
from optsweep.runs.build import build_run, build_stack
from optsweep.training.device import computing
from optsweep.training.loop import train_epoch
from optsweep.training.stack import Stack

_SIZES = (1, 4, 16, 64, 256)
_SAMPLES = 60_000
# Bytes that a step moves for a weight: read for both passes, its gradient written and read, itself
# read and written; Adam reads and writes two more numbers.
_MOVED = {"sgd": 24, "adam": 40}


@dataclass(frozen=True)
class Contest:
    """Runs that are trained together, `size` of them, or one without a stack where that is 0."""

    optimizers: Sequence[str]
    size: int
    precision: str = "fp32"

    @property
    def name(self) -> str:
        """What its row is called."""
        size = f"stack of {self.size}" if self.size else "one by one, eager"
        special = [] if self.precision == "fp32" else [self.precision]
        return ", ".join([size, "-".join(self.optimizers), *special])


def _contests() -> Iterator[Contest]:
    yield Contest(["sgd"], 0)
    yield Contest(["adam"], 0)
    for optimizer in _MOVED:
        yield from (Contest([optimizer], size) for size in _SIZES)
    for precision in ("fp32", "tf32", "bf16"):
        yield Contest(["sgd", "adam", "rmsprop"], 64, precision)


@dataclass(frozen=True)
class Limits:
    """What this GPU can do: operations and bytes a second, and a run's weights and operations."""

    peak: float
    copied: float
    weights: int
    work: int

    def floor(self, contest: Contest) -> float:
        """Seconds that a step of one run takes where it is bound by memory; 0 of mixed ones."""
        (first, *others) = contest.optimizers
        return 0.0 if others else _MOVED[first] * self.weights / self.copied


def on_gpu(options: Options) -> Result:
    """Fashion-MNIST's network in stacks, beside one run after another; made-up pictures."""
    if not torch.cuda.is_available():
        return ("No CUDA device here: its part was left out.",)
    device = torch.device("cuda")
    data = _pictures().to(device)
    network = _network(composed([], Path()).settings)
    weights = sum(parameter.numel() for parameter in network.parameters())
    limits = Limits(_peak(device), _copied(device), weights, operations(network, (1, 28, 28)))
    rows: list[Row] = [("", "runs/s", "us a run and step", "floor", "/ floor", "of peak", "memory")]
    rows += [_row(contest, limits, data, options) for contest in _contests()]
    name = torch.cuda.get_device_name(device)
    about = f"{name}: 784-512-512-10, batches of 64, a run is one epoch of 60,000 samples"
    notes = f"peak: {limits.peak / 1e12:.1f} TFLOP/s, fp32 products; copies: "
    return about, rows, f"{notes}{limits.copied / 1e12:.2f} TB/s, read and written"


def _row(contest: Contest, limits: Limits, data: Dataset, options: Options) -> Row:
    rounds = list(_rounds(contest, data, options))
    runs = max(contest.size, 1)
    seconds = median(seconds for seconds, _ in rounds)
    step = seconds / runs / -(-_SAMPLES // 64)
    floor = limits.floor(contest)
    share = runs / seconds * limits.work * _SAMPLES / limits.peak
    return (
        contest.name,
        f"{runs / seconds:.2f}",
        f"{step * 1e6:.1f}",
        f"{floor * 1e6:.1f}" if floor else "",
        f"{step / floor:.1f}" if floor else "",
        f"{share:.1%}" if contest.precision == "fp32" else "",
        f"{max(memory for _, memory in rounds) / 2**20:.0f} MB",
    )


def _rounds(contest: Contest, data: Dataset, options: Options) -> Iterator[tuple[float, int]]:
    """Seconds for an epoch of all runs, and the peak of memory in bytes."""
    device = data.train.images.device
    with TemporaryDirectory() as folder:
        typed = [f"precision={contest.precision}", f"device={device.type}"]
        kinds = [
            composed([f"optimizer={name}", *typed], Path(folder)).settings
            for name in contest.optimizers
        ]
    runs = [kinds[number % len(kinds)] for number in range(max(1, contest.size))]
    with computing(runs[0]):
        if contest.size:
            trained = build_stack(runs, [_network(run) for run in runs], data, device)
        else:
            trained = build_run(runs[0], data, device)
        train(trained, data, runs[0].batch_size)  # to warm up, and to capture
        for _ in range(options.rounds):
            torch.cuda.reset_peak_memory_stats()
            seconds, _ = timed(lambda: train(trained, data, runs[0].batch_size))
            yield seconds, torch.cuda.max_memory_allocated()


def train(trained: Stack, data: Dataset, size: int, epochs: int = 1) -> None:
    """Trains a stack, without evaluation."""
    count = len(data.train.labels)
    batches = [slice(start, start + size) for start in range(0, count, size)]
    for epoch in range(1, epochs + 1):
        order = batch_order(trained.seeds, epoch, count, shuffle=True)
        losses, _ = train_epoch(trained, data, order.to(data.train.labels.device), batches)
        losses.cpu()


def _network(settings: Settings) -> nn.Module:
    return build_model(settings, (1, 28, 28), 10)


def _pictures() -> Dataset:
    random = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=random)
        return Split(images, torch.randint(0, 10, (count,), generator=random))

    classes = tuple(map(str, range(10)))
    return Dataset("made up", split(_SAMPLES), None, split(10_000), classes, 255, "")


def _peak(device: torch.device) -> float:
    """Floating point operations a second of large square products in float32, the best of ten."""
    torch.set_float32_matmul_precision("highest")
    square = torch.rand(8192, 8192, device=device)

    def multiply() -> Tensor:
        product = square @ square
        torch.cuda.synchronize()
        return product

    multiply()
    return float(2 * 8192**3 / min(timed(multiply)[0] for _ in range(10)))


def _copied(device: torch.device) -> float:
    """Bytes a second that are read and written where a large tensor is copied, the best of ten."""
    source = torch.rand(2**28, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        torch.cuda.synchronize()

    copy()
    return 2 * 4 * 2**28 / min(timed(copy)[0] for _ in range(10))
