"""Runs that are trained together, beside the same runs one after another: training alone.

Imports, tracking, evaluation and reports are left out. On the CPU 12 runs on digits are trained
by a loop as people write it, by the core loop without stacks in two processes, and stacked, in one
process and in two; on a GPU, where there is one, see `gpu_stack.py`.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch.nn.functional import cross_entropy

from benchmarks.gpu_stack import on_gpu, train
from benchmarks.shared import Options, Result, Row, composed, timed
from optsweep.config.settings import Settings
from optsweep.data.dataset import load_dataset
from optsweep.models.build import build_model
from optsweep.runs.build import build_run, build_stack

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
            train(each, data, runs[0].batch_size, EPOCHS)

    return timed(train_all)[0]


def _stacked(name: str, chosen: slice) -> float:
    """The core loop, all runs at once."""
    runs = _settings(name, chosen)
    data = load_dataset(runs[0])
    networks = [build_model(run, data.input_shape, len(data.classes)) for run in runs]
    together = build_stack(runs, networks, data, CPU)
    return timed(lambda: train(together, data, runs[0].batch_size, EPOCHS))[0]
