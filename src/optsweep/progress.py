"""What a person sees while a run trains: a bar in a terminal, plain lines elsewhere."""

from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from optsweep.training import Slices


class RunProgress:
    """A run's progress: how far its epoch is, and what the last one gave.

    Given to the training loop by `watch`, and told of each finished epoch by `finished`.
    """

    def __init__(self, console: Console, name: str, epochs: int, done: int = 0) -> None:
        self._console = console
        self._epochs = epochs
        self._epoch = done
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._name = name

    def __enter__(self) -> "RunProgress":
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[state]}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title(), total=None, state="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Hands an epoch's batches on, moving the bar as they are taken."""
        if self._bar is None:
            return iter(batches)
        self._bar.update(
            self._task,
            total=self._epochs * len(batches),
            completed=self._epoch * len(batches),
            description=self._title(),
        )
        return self._advancing(batches)

    def _advancing(self, batches: Sequence[slice]) -> Iterator[slice]:
        assert self._bar is not None
        # A hundred steps an epoch are as many as the eye can follow; each costs 20 us.
        stride = max(1, len(batches) // 100)
        for number, batch in enumerate(batches, start=1):
            yield batch
            if number % stride == 0:
                self._bar.advance(self._task, stride)

    def finished(self, epoch: int, metrics: dict[str, float], samples_per_second: float) -> None:
        """Shows what an epoch gave."""
        self._epoch = epoch
        split = "val" if "val/loss" in metrics else "test"
        loss = metrics.get(f"{split}/loss", metrics["train/loss"])
        accuracy = metrics.get(f"{split}/accuracy", metrics["train/accuracy"])
        state = (
            f"{split} loss {loss:.4f}, accuracy {accuracy:.4f}, {samples_per_second:,.0f} samples/s"
        )
        if self._bar is None:
            self._console.print(f"epoch {epoch}/{self._epochs}  {state}", highlight=False)
        else:
            self._bar.update(self._task, state=state, description=self._title())

    def _title(self) -> str:
        return f"{escape(self._name)}  epoch {min(self._epoch + 1, self._epochs)}/{self._epochs}"
