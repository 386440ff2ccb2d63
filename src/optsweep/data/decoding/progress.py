"""What a person sees while pictures are decoded: a bar in a terminal, lines elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_SOON = 1.0  # seconds that nobody needs to see
_EVERY = 3.0  # seconds between two lines


class DecodingProgress:
    """Shows how many of `total` pictures are decoded, unless that takes a second only."""

    def __init__(self, console: Console, total: int, done: int) -> None:
        self._console = console
        self._total = total
        self._done = done
        self._began = time.monotonic()
        self._next = self._began + _SOON
        self._bars: Progress | None = None

    def __enter__(self) -> "DecodingProgress":
        return self

    def advance(self, count: int) -> None:
        """So many more are decoded."""
        self._done += count
        self.show()

    def show(self) -> None:
        """Brings what is seen up to date; costs nothing where it is called often."""
        if time.monotonic() < self._next:
            return
        if self._console.is_terminal:
            self._next = 0.0
            self._move_bar()
        else:
            self._next = time.monotonic() + _EVERY
            self._print(f"decoding pictures: {self._done:,} of {self._total:,}")

    def _move_bar(self) -> None:
        if self._bars is None:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TimeRemainingColumn(compact=True),
                console=self._console,
            )
            self._bars.start()
            self._bars.add_task("decoding pictures", total=self._total)
        self._bars.update(self._bars.task_ids[0], completed=self._done)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        elif kind is None and self._next > self._began + _SOON:
            seconds = time.monotonic() - self._began
            self._print(f"decoded {self._total:,} pictures in {seconds:.1f} s")
