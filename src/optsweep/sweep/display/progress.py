"""A sweep's progress on the console.

`SweepProgress` is given how many runs there are and shows a bar, a line for each running one, and
failures at once; without a terminal, a line for each run that ended.
"""

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import TaskID

from optsweep.records.run import RunRecord
from optsweep.runs.progress import _LINES, _started_bars, scores


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

    def __exit__(self, *raised: object) -> None:
        if self._bars is not None:
            for line in self._lines.values():
                self._bars.remove_task(line)
            self._bars.stop()

    def more(self, runs: int, reused: int) -> None:
        """The sweep has got more runs, of which `reused` are not run again."""
        self._runs += runs
        self._reused += reused
        if self._bars is not None:
            self._bars.update(self._all, total=self._runs - self._reused, state=self._state())

    @property
    def lines(self) -> int:
        """How many running groups it can show: none where the console is no terminal."""
        return 0 if self._bars is None else max(1, min(_LINES, self._console.height - 4))

    def running(self, statuses: Mapping[str, tuple[Mapping[str, object], int]]) -> None:
        """Shows the runs that are under way: name -> its worker's status and its epochs in all."""
        if self._bars is None:
            return
        for name in self._lines.keys() - statuses.keys():
            self._bars.remove_task(self._lines.pop(name))
        for name, (status, epochs) in statuses.items():
            if name not in self._lines:
                self._lines[name] = self._bars.add_task(escape(name), total=epochs, state="")
            epoch = int(str(status.get("epoch", 0)))
            state = f"epoch {epoch}/{epochs}  {status.get('scores', '')}"
            self._bars.update(self._lines[name], completed=epoch, state=state)

    def split(self, runs: int, reason: str, rest: int) -> None:
        """Shows at once why a stack is tried again, whole or as stacks of `rest` runs."""
        how = "continues as single runs" if rest == 1 else f"continues in stacks of {rest}"
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
            said = f"{run.ending}, {said}" if run.ending else said
            text = f"run {done}  {escape(run.name)}: {said} ({run.seconds:.1f} s)"
            self._console.print(text, highlight=False, soft_wrap=True)
        if self._bars is not None:
            self._bars.update(self._all, completed=self._ended, state=self._state())

    def _state(self) -> str:
        counts = [f"{self._ended + self._reused}/{self._runs} runs"]
        counts += [f"[red]{self._failed} failed[/]"] * bool(self._failed)
        counts += [f"{self._reused} reused"] * bool(self._reused)
        return ", ".join(counts)
