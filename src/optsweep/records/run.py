"""What became of a run and of a sweep, as plain data, and which run is the best.

A worker process returns a `RunRecord`, the store can give it back, and the table, the report and
the figures are drawn from it: none of them knows where a run ran.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optsweep.system.project_folder import command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCORES = (
    "val/accuracy",
    "val/balanced_accuracy",  # of unbalanced datasets alone, as on test
    "val/loss",
    "test/accuracy",
    "test/balanced_accuracy",
    "test/loss",
    "train/accuracy",
    "train/loss",
)
# What is said of runs that nothing but validation judges.
NO_TEST = "There is no test data: validation ranks and judges, so nothing judges on fresh data."


@dataclass(slots=True)  # of ten thousand runs
class RunRecord:
    """One run.

    `params` are its settings under MLflow's flat names, `swept` those that the sweep varies.
    `metrics` are those of the epoch that ranks and judges it ("val/loss", ...), the last unless
    `select=best`; `history` maps each of them to its points (epoch, value). `seconds` is the time
    of training and evaluation. `status` is MLflow's: FINISHED, FAILED, KILLED, or SCHEDULED for a
    run that was never started; `diverged` marks a FINISHED run whose loss became NaN or infinite;
    `pruned` one that a search ended early because it was hopeless; `stopped_early` one that ended
    after `patience` epochs without a better validation loss; `reused` one of an earlier sweep;
    `stack` says how many runs were trained together, this one included. `error` is one line,
    `output` the last lines that a failed run printed. `classes` is the number of classes of its
    dataset, where that is known, `correct` [N] says which test samples it had right after the epoch
    that judges it. `epoch_seconds` are the points (epoch, seconds) that add up to `seconds`.
    """

    name: str
    run_id: str = ""
    status: str = "FINISHED"
    params: Mapping[str, Any] = field(default_factory=dict)
    swept: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    seconds: float = 0.0
    epoch_seconds: list[tuple[int, float]] = field(default_factory=list)
    diverged: bool = False
    pruned: bool = False
    stopped_early: bool = False
    reused: bool = False
    stack: int = 1
    error: str = ""
    output: str = ""
    classes: int | None = None
    correct: "NDArray[np.bool_] | None" = field(default=None, compare=False, repr=False)

    @property
    def sound(self) -> bool:
        """Whether the run finished as it was meant to: it did not diverge and was not pruned."""
        return self.status == "FINISHED" and not self.diverged and not self.pruned

    @property
    def epochs(self) -> int:
        """The last epoch that was logged."""
        return max((points[-1][0] for points in self.history.values() if points), default=0)

    @property
    def selected_epoch(self) -> int | None:
        """With `select=best`, the epoch that ranks and judges the run; None: its last.

        It has the best validation accuracy, the earliest of equal ones. The untrained model is no
        choice, and a run that diverged has none.
        """
        if self.params.get("select") != "best" or self.diverged:
            return None
        points = [point for point in self.history.get("val/accuracy", ()) if point[0] > 0]
        return max(points, key=lambda point: point[1])[0] if points else None

    def final_metrics(self) -> dict[str, float]:
        """What `metrics` are, by the history: those of the selected epoch."""
        epoch = self.selected_epoch
        if epoch is None:
            return {name: points[-1][1] for name, points in self.history.items()}
        found = {name: dict(points).get(epoch) for name, points in self.history.items()}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def ending(self) -> str:
        """When a run that was pruned or stopped early ended, in words; empty of any other."""
        how = "pruned" if self.pruned else "stopped" if self.stopped_early else ""
        return f"{how} after {self.epochs} epoch{'s' * (self.epochs != 1)}" if how else ""

    @property
    def selection(self) -> str:
        """Which epoch was selected, in words; empty where it is the last anyway."""
        return "" if self.selected_epoch is None else f"best epoch {self.selected_epoch}"

    @property
    def notes(self) -> str:
        """What the table says of a run beside its numbers."""
        status = "" if self.status == "FINISHED" else self.status.lower()
        failure = f"{status}: {self.error}" if self.error else status
        stack = f"stack of {self.stack}" if self.stack > 1 else ""
        words = ["diverged" * self.diverged, self.ending, self.selection, "reused" * self.reused]
        words += [stack, failure]
        return "; ".join(word for word in words if word)


@dataclass(frozen=True)
class SweepRecord:
    """A sweep: the overrides as typed, its runs in the order of the grid, and where it ran.

    `grid` maps each swept value to its choices in the order in which they were typed; `common` are
    the settings that all runs share; `environment` says versions and hardware. `target` is
    an accuracy to reach, if one was asked for.
    `extended` names the configurations by which the sweep extended its grid itself. Of a search,
    `search` maps each value that was searched to what it was drawn from, as typed. Runs at
    `confirm_seeds` confirm what the others chose, in `looks` at so many of these seeds where there
    are several. Differences below `margin` do not matter. `compare` is the key whose values are
    compared, where that was typed.
    """

    run_id: str
    overrides: Sequence[str]
    grid: Mapping[str, Sequence[Any]]
    runs: Sequence[RunRecord]
    environment: Mapping[str, str] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=dict)
    target: float | None = None
    extended: Sequence[str] = ()
    confirm_seeds: Sequence[int] = ()
    looks: Sequence[int] = ()
    margin: float = 0.01
    compare: str | None = None
    search: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that repeats the sweep."""
        return f"{command()} {shlex.join(['-m', *self.overrides])}"


def has_score(name: str, runs: Iterable[RunRecord]) -> bool:
    """Whether a table of the runs has a column for one of `SCORES`, as it has for most."""
    return "balanced" not in name or any(name in run.metrics for run in runs)


def ranking_split(metrics: Mapping[str, float]) -> str:
    """The split that runs are ranked by: validation where there is one, else test."""
    return "val" if "val/accuracy" in metrics else "test"
