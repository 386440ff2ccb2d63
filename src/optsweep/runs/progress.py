"""What a person sees while runs train: a bar in a terminal, plain lines elsewhere.

The training loop hands its batches to `watch`; whoever carries the run out tells of its start and
of each finished epoch. A worker process has no terminal: it leaves a note in the run's folder,
which the launching process looks at.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from optsweep.records.run import RunRecord, ranking_split
from optsweep.system import files
from optsweep.training.stack import Slices

_LINES = 20  # running groups that a person can follow
NOTE = ".progress.json"  # in a run's folder, while it is carried out by a worker


class Progress(Protocol):
    """Who is told how far a run is."""

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Runs exist in MLflow, by their folders: one, or those that are trained together."""

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Hands an epoch's batches on, seeing each as it is taken."""

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done, with these metrics."""

    def __enter__(self) -> "Progress":
        """Training begins."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Nothing to show yet."""

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Hands an epoch's batches on, moving the bar as they are taken."""
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


class NotedProgress:
    """A worker's progress: a note of a few bytes in the folder of each run.

    Of runs that are trained together the first one's note says how far they are.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._note: dict[str, object] = {}

    def __enter__(self) -> "NotedProgress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The note stays: who finds the run dead reads its id there."""

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Notes the runs' ids, by which they are found in MLflow should this process die."""
        for folder, run_id in reversed(list(run_ids.items())):
            self._path = folder / NOTE
            self._note = {"run_id": run_id, "epoch": 0, "scores": ""}
            self._write()

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Hands an epoch's batches on."""
        return iter(batches)

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Notes what an epoch gave."""
        self._note |= {"epoch": epoch, "scores": scores(metrics)}
        self._write()

    def _write(self) -> None:
        files.write(self._path, json.dumps(self._note), durable=False)


def read_note(path: Path) -> dict[str, object]:
    """A worker's note; empty where there is none that can be read."""
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    kinds = {"run_id": str, "epoch": int, "scores": str}
    sound = isinstance(note, dict) and all(isinstance(note.get(key), kinds[key]) for key in kinds)
    return note if sound else {}


class SweepProgress:
    """A sweep's progress: a bar over all runs and a line for each that is running.

    Where the console is no terminal, a line for each run that ended.
    """

    def __init__(self, console: Console, runs: int, reused: int) -> None:
        self._console = console
        self._runs = runs
        self._ended = self._failed = 0
        self._reused = reused
        self._bars: Bars | None = None
        self._lines: dict[str, TaskID] = {}

    def __enter__(self) -> "SweepProgress":
        if self._console.is_terminal:
            self._bars = _started_bars(self._console)
            todo = self._runs - self._reused
            self._all = self._bars.add_task("all runs", total=todo, state=self._state())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            for line in self._lines.values():
                self._bars.remove_task(line)
            self._bars.stop()

    def more(self, runs: int, reused: int) -> None:
        """The sweep has got more runs, of which some are taken over."""
        self._runs += runs
        self._reused += reused
        if self._bars is not None:
            self._bars.update(self._all, total=self._runs - self._reused, state=self._state())

    @property
    def lines(self) -> int:
        """How many running groups it can show: none where the console is no terminal."""
        return 0 if self._bars is None else max(1, min(_LINES, self._console.height - 4))

    def running(self, notes: Mapping[str, tuple[Mapping[str, object], int]]) -> None:
        """Shows the runs that are under way: name -> its worker's note and its epochs in all."""
        if self._bars is None:
            return
        for name in self._lines.keys() - notes.keys():
            self._bars.remove_task(self._lines.pop(name))
        for name, (note, epochs) in notes.items():
            if name not in self._lines:
                self._lines[name] = self._bars.add_task(escape(name), total=epochs, state="")
            epoch = int(str(note.get("epoch", 0)))
            state = f"epoch {epoch}/{epochs}  {note.get('scores', '')}"
            self._bars.update(self._lines[name], completed=epoch, state=state)

    def split(self, runs: int, reason: str, rest: int) -> None:
        """Shows at once why a stack is tried again, whole or as stacks of `rest` runs."""
        how = "goes on each alone" if rest == 1 else f"goes on {rest} together"
        how = "is tried again" if rest == runs else how
        text = f"[yellow]a stack of {runs} runs[/] {how}: {escape(reason)}"
        self._console.print(text, highlight=False, soft_wrap=True)

    def ended(self, run: RunRecord) -> None:
        """Shows that a run is done, or at once why it failed."""
        self._ended += 1
        done = f"{self._ended + self._reused}/{self._runs}"
        if run.status == "FAILED":
            self._failed += 1
            text = f"[red]run {done}  {escape(run.name)} failed[/]: {escape(run.error)}"
            self._console.print(text, highlight=False, soft_wrap=True)
        elif self._bars is None:
            said = "diverged" if run.diverged else scores(run.metrics)
            said = f"pruned, {said}" if run.pruned else said
            text = f"run {done}  {escape(run.name)}: {said} ({run.seconds:.1f} s)"
            self._console.print(text, highlight=False, soft_wrap=True)
        if self._bars is not None:
            self._bars.update(self._all, completed=self._ended, state=self._state())

    def _state(self) -> str:
        counts = [f"{self._ended + self._reused}/{self._runs} runs"]
        counts += [f"[red]{self._failed} failed[/]"] * bool(self._failed)
        counts += [f"{self._reused} reused"] * bool(self._reused)
        return ", ".join(counts)
