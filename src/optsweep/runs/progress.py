"""What a person sees while runs train: a bar in a terminal, plain lines elsewhere.

The training loop passes its batches to `watch`; `run.py` reports the start and each finished epoch.
A worker process has no terminal: it writes a status file (`status_file.py`), which the launching
process reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from optsweep.records.run import ranking_split
from optsweep.training.stack import Slices

_LINES = 20  # running groups that a person can follow


class Progress(Protocol):
    """What shows how far a run is."""

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Runs exist in MLflow, by their folders: one, or those that are trained together."""

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Passes an epoch's batches on and sees each as it is taken."""

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done, with these metrics."""

    def __enter__(self) -> "Progress":
        """Training begins."""

    def __exit__(self, *raised: object) -> None:
        """Training is over."""


def _started_bars(console: Console) -> Bars:
    """Bars with a title, a state and the time left, on the console already."""
    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(compact=True),
        console=console,
    )
    bars.start()
    return bars


class RunProgress:
    """A single run's progress on the console, for `epochs` epochs."""

    def __init__(self, console: Console, name: str, epochs: int) -> None:
        self._console = console
        self._name = name
        self._epochs = epochs
        self._done = 0
        self._bars: Bars | None = None
        self._task = TaskID(0)

    def __enter__(self) -> "RunProgress":
        if self._console.is_terminal:
            self._bars = _started_bars(self._console)
            self._task = self._bars.add_task(self._title(), total=None, state="")
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Nothing to show yet."""

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Passes an epoch's batches on and moves the bar as they are taken."""
        if self._bars is None:
            return iter(batches)
        return self._advancing(self._bars, batches)

    def _advancing(self, bars: Bars, batches: Sequence[slice]) -> Iterator[slice]:
        # A hundred steps an epoch are as many as the eye can follow; each costs 20 us.
        stride = max(1, len(batches) // 100)
        total = self._epochs * len(batches)
        for number, batch in enumerate(batches):
            if number % stride == 0:
                done = self._done * len(batches) + number
                bars.update(self._task, total=total, completed=done, description=self._title())
            yield batch

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Shows what an epoch gave."""
        self._done = epoch
        state = f"{scores(metrics)}, {metrics['samples_per_second']:,.0f} samples/s"
        if self._bars is None:
            line = f"epoch {epoch}/{self._epochs}  {state}"
            self._console.print(line, highlight=False, soft_wrap=True)
        else:
            done = self._bars.tasks[0].total if epoch == self._epochs else None
            self._bars.update(self._task, state=state, completed=done, description=self._title())

    def _title(self) -> str:
        return f"{escape(self._name)}  epoch {min(self._done + 1, self._epochs)}/{self._epochs}"


def scores(metrics: Mapping[str, float]) -> str:
    """Loss and accuracy of the split that counts: validation, test, or training where diverged."""
    split = ranking_split(metrics)
    split = split if f"{split}/loss" in metrics else "train"
    return (
        f"{split} loss {metrics[f'{split}/loss']:.4f}, accuracy {metrics[f'{split}/accuracy']:.4f}"
    )
