"""Runs that are trained together, beside the same runs one after another: training alone.

Imports, tracking, evaluation and reports are left out. On the CPU 12 runs on digits are trained
by a loop as people write it, by the core loop without stacks in two processes, and stacked, in one
process and in two; on a GPU, where there is one, Fashion-MNIST's network in stacks of up to 256.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.loop import operations
from benchmarks.shared import Options, Result, Row, composed, timed
from optsweep.config.settings import Settings
from optsweep.data.batch_order import batch_order
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.data.splits import Split
from optsweep.models.build import build_model
from optsweep.runs.build import build_run, build_stack
from optsweep.training.loop import train_epoch
from optsweep.training.stack import Stack

CPU = torch.device("cpu")
EPOCHS = 20
CHOICES = tuple(
    (f"optimizer={name}", f"lr={lr}")
    for name in ("sgd", "adam", "rmsprop")
    for lr in ("1e-4", "1e-3", "1e-2", "1e-1")
)
_FASHION = ("dataset=fashion_mnist", "dataset.limit=1600")
MODELS = {
    "digits, softmax": ("model=softmax",),
    "digits, 32-32": ("model.hidden=[32,32]",),
    "digits, 64-64": ("model.hidden=[64,64]",),
    "digits, 128-128": ("model.hidden=[128,128]",),
    "digits, 256-256": ("model.hidden=[256,256]",),
    "fashion, softmax": ("model=softmax", *_FASHION),
    "fashion, 32": ("model.hidden=[32]", *_FASHION),
}
BY_HAND = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}


def stack(options: Options) -> Result:
    """12 runs on digits as one program, beside the same runs one by one; and a GPU's stacks."""
    rows: list[Row] = [
        ("", "by hand", "alone, 2 processes", "stacked", "2 stacks", "/ by hand", "/ alone")
    ]
    _data_dir.append(options.data_dir)
    with _two_processes(options.data_dir) as both:
        for name in MODELS:
            rows.append(_row(name, options, both))
    text = f"12 runs, {EPOCHS} epochs of some 1,500 samples, seconds, medians of {options.rounds}"
    notes = (
        "by hand: one after another, an optimizer over the parameters, the faster of 1 and "
        f"{options.threads} threads.\nstacked: all 12 in one process of one thread; 2 stacks: 6 "
        "in each of two.\n/ by hand: stacked over by hand; / alone: 2 stacks over alone."
    )
    return text, rows, notes, *on_gpu(options)


Both = Callable[[Callable[[str, slice], float], str], float]


def _row(name: str, options: Options, both: Both) -> Row:
    taken: dict[str, list[float]] = {"hand": [], "alone": [], "stacked": [], "two": []}
    for _ in range(options.rounds):
        threads = {1, options.threads}
        taken["hand"].append(min(_with_threads(count, _by_hand, name) for count in threads))
        taken["alone"].append(both(_alone, name))
        taken["stacked"].append(_with_threads(1, _stacked, name))
        taken["two"].append(both(_stacked, name))
    seconds = {key: median(values) for key, values in taken.items()}
    ratios = seconds["stacked"] / seconds["hand"], seconds["two"] / seconds["alone"]
    return (name, *(f"{value:.2f}" for value in (*seconds.values(), *ratios)))


def _with_threads(count: int, work: Callable[[str, slice], float], name: str) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return work(name, slice(None))
    finally:
        torch.set_num_threads(before)


_barrier: list[Barrier] = []
_data_dir: list[Path] = []


def _enter(barrier: Barrier, data_dir: Path) -> None:
    _barrier.append(barrier)
    _data_dir.append(data_dir)
    torch.set_num_threads(1)


class _two_processes:  # noqa: N801 (used as a function)
    """Two processes of one thread each, which take every second choice and start together."""

    def __init__(self, data_dir: Path) -> None:
        context = get_context("spawn")
        self._pool = ProcessPoolExecutor(2, context, _enter, (context.Barrier(2), data_dir))

    def __enter__(self) -> Both:
        return self._both

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def _both(self, work: Callable[[str, slice], float], name: str) -> float:
        halves = [slice(0, None, 2), slice(1, None, 2)]
        return max(self._pool.map(_together, [work] * 2, [name] * 2, halves))


def _together(work: Callable[[str, slice], float], name: str, chosen: slice) -> float:
    _settings(name, chosen)  # composed and read before the clock runs
    _barrier[0].wait()
    return work(name, chosen)


def _settings(name: str, chosen: slice) -> list[Settings]:
    if name not in _composed:
        where = [f"data_dir={_data_dir[0]}", "device=cpu"]
        with TemporaryDirectory() as folder:
            _composed[name] = [
                composed([*MODELS[name], *choice, *where], Path(folder)).settings
                for choice in CHOICES
            ]
    return _composed[name][chosen]


_composed: dict[str, list[Settings]] = {}


def _by_hand(name: str, chosen: slice) -> float:
    """A loop as people write it, over tensors in memory."""
    runs = _settings(name, chosen)
    data = load_dataset(runs[0])
    images, labels = data.scale(data.train.images), data.train.labels
    networks = [build_model(run, data.input_shape, len(data.classes)) for run in runs]

    def train_all() -> None:
        for run, network in zip(runs, networks, strict=True):
            optimizer = BY_HAND[run.optimizer.name](network.parameters(), lr=run.lr)
            for _ in range(EPOCHS):
                for batch in torch.randperm(len(labels)).split(run.batch_size):
                    optimizer.zero_grad()
                    cross_entropy(network(images[batch]), labels[batch]).backward()
                    optimizer.step()

    return timed(train_all)[0]


def _alone(name: str, chosen: slice) -> float:
    """The core loop, run by run."""
    runs = _settings(name, chosen)
    data = load_dataset(runs[0])
    stacks = [build_run(run, data, CPU) for run in runs]

    def train_all() -> None:
        for each in stacks:
            _train(each, data, runs[0].batch_size)

    return timed(train_all)[0]


def _stacked(name: str, chosen: slice) -> float:
    """The core loop, all runs at once."""
    runs = _settings(name, chosen)
    data = load_dataset(runs[0])
    networks = [build_model(run, data.input_shape, len(data.classes)) for run in runs]
    together = build_stack(runs, networks, data, CPU)
    return timed(lambda: _train(together, data, runs[0].batch_size))[0]


def _train(trained: Stack, data: Dataset, size: int, epochs: int = EPOCHS) -> None:
    count = len(data.train.labels)
    batches = [slice(start, start + size) for start in range(0, count, size)]
    for epoch in range(1, epochs + 1):
        order = batch_order(trained.seeds, epoch, count, shuffle=True)
        losses, _ = train_epoch(trained, data, order.to(data.train.labels.device), batches)
        losses.cpu()


@dataclass(frozen=True)
class Trained:
    """What a number of runs on a GPU gave: seconds for an epoch of all, and peak memory."""

    seconds: float
    memory: int


_SIZES = (1, 8, 64, 256)
_SAMPLES = 60_000


def on_gpu(options: Options) -> Result:
    """Fashion-MNIST's network in stacks, beside one run after another; made-up pictures."""
    if not torch.cuda.is_available():
        return ("No CUDA device here: its part was left out.",)
    device = torch.device("cuda")
    data = _pictures().to(device)
    rows: list[Row] = [("", "runs/s", "times one by one", "share of peak", "peak memory")]
    work = operations(_network(composed([], Path()).settings), (1, 28, 28))
    peak = _peak(device)
    base = None
    for label, size, precision in _contests():
        seconds, memory = zip(
            *((one.seconds, one.memory) for one in _gpu_rounds(size, precision, data, options)),
            strict=True,
        )
        rate = max(size, 1) / median(seconds)
        base = base or rate
        share = rate * work * _SAMPLES / peak
        rows.append(
            (
                label,
                f"{rate:.2f}",
                f"{rate / base:.1f}",
                f"{share:.1%}" if precision == "fp32" else "",
                f"{max(memory) / 2**20:.0f} MB",
            )
        )
    name = torch.cuda.get_device_name(device)
    about = f"{name}: 784-512-512-10, batches of 64, a run is one epoch of 60,000 samples"
    return about, rows, f"peak: {peak / 1e12:.1f} TFLOP/s, fp32 products"


def _contests() -> Iterator[tuple[str, int, str]]:
    yield "one by one, eager", 0, "fp32"
    for size in _SIZES:
        yield f"stack of {size}", size, "fp32"
    for precision in ("tf32", "bf16"):
        yield f"stack of 64, {precision}", 64, precision


def _gpu_rounds(size: int, precision: str, data: Dataset, options: Options) -> Iterator[Trained]:
    from optsweep.training.device import computing

    with TemporaryDirectory() as folder:
        runs = [
            composed(
                [
                    f"optimizer={('sgd', 'adam', 'rmsprop')[number % 3]}",
                    f"precision={precision}",
                    "device=cuda",
                ],
                Path(folder),
            ).settings
            for number in range(min(3, max(1, size)))
        ]
    runs = [runs[number % len(runs)] for number in range(max(1, size))]
    device = data.train.images.device
    with computing(runs[0]):
        networks = [_network(run) for run in runs]
        if size:
            trained = build_stack(runs, networks, data, device)
        else:
            trained = build_run(runs[0], data, device)
        _train(trained, data, runs[0].batch_size, epochs=1)  # to warm up, and to capture
        for _ in range(options.rounds):
            torch.cuda.reset_peak_memory_stats()
            seconds, _ = timed(lambda: _train(trained, data, runs[0].batch_size, epochs=1))
            yield Trained(seconds, torch.cuda.max_memory_allocated())


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
