"""When a sweep is struck: by its progress, which files show, or by the clock."""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GLANCE = 0.01  # seconds between two looks at the sweep's files


@dataclass(frozen=True)
class Progress:
    """How far a sweep is: epochs in its journals, runs whose weights are kept, its last table."""

    epochs: int
    weights: int
    table: float

    @staticmethod
    def of(project: Path) -> "Progress":
        """Reads it from the files of the sweeps in a project."""
        while True:
            with suppress(FileNotFoundError):  # a folder that went while it was looked at
                return Progress(
                    epochs=sum(map(_lines, project.glob("outputs/*/*/*/history.jsonl"))),
                    weights=len(list(project.glob("outputs/*/*/*/weights.safetensors"))),
                    table=max(
                        (path.stat().st_mtime for path in project.glob("outputs/*/*/table.csv")),
                        default=0.0,
                    ),
                )


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:  # it is being replaced
        return 0


@dataclass(frozen=True)
class Life:
    """A sweep that was not struck: how far it came, in how many seconds."""

    progress: Progress
    seconds: float


@dataclass(frozen=True)
class Moment:
    """A moment of a sweep: `share` says how far in its phase, `delay` how many seconds later.

    Phases: `time` counts seconds from Enter; `training` epochs, `closing` kept weights, both of
    what is still to be done; `summary` begins when all weights are kept, and again with the table.
    """

    phase: str
    share: float
    delay: float

    def __str__(self) -> str:
        return f"{self.phase} {self.share:.2f}+{self.delay:.2f}s"

    def wait(self, project: Path, alive: Callable[[], bool], whole: Life) -> bool:
        """Waits for the moment of a sweep that was just started; False if it ended before.

        `whole` is the life of one that was not struck.
        """
        begun = Progress.of(project)
        end = time.monotonic() + self.share * whole.seconds
        while not self._has_come(begun, whole.progress, project, end):
            if not alive():
                return False
            time.sleep(_GLANCE)
        time.sleep(self.delay)
        return alive()

    def _has_come(self, begun: Progress, whole: Progress, project: Path, end: float) -> bool:
        now = Progress.of(project)
        if self.phase == "summary":
            closed = now.weights >= whole.weights > begun.weights
            return now.table > begun.table or (self.share < 0.5 and closed)
        if self.phase == "training" and begun.epochs < whole.epochs:
            return now.epochs > begun.epochs + self.share * (whole.epochs - begun.epochs - 1)
        if self.phase == "closing" and begun.weights < whole.weights:
            return now.weights > begun.weights + self.share * (whole.weights - begun.weights - 1)
        return time.monotonic() >= end  # also where nothing is to be trained or closed any more


def random_moment(chance: random.Random) -> Moment:
    """A moment anywhere in a sweep's life."""
    phase = chance.choices(["time", "training", "closing", "summary"], [4, 3, 2, 1])[0]
    longest = {"time": 0.0, "training": 0.05, "closing": 0.1, "summary": 1.0}[phase]
    return Moment(phase, chance.random(), chance.uniform(0, longest))
