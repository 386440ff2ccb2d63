"""One start of a sweep: struck at a moment or left alone, and watched to its end."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.moments import Life, Moment, Progress
from benchmarks.faults.processes import Process, kill_all, left_after
from benchmarks.faults.store import StoreLine
from benchmarks.faults.strikes import SIGNALS, STRIKES, Target

_ORPHANS = 2.0  # seconds in which all processes of a sweep end after its launcher
_ANSWER = 10.0  # seconds in which a signal ends a sweep
_LIMIT = 180.0  # seconds that a start may take
_GLANCE = 0.02  # seconds between two looks


_living: set[int] = set()  # sessions of sweeps under way
_stopped = threading.Event()


class Stopped(BaseException):
    """No sweep is started any more."""


def stop_all() -> None:
    """Kills all sweeps under way and lets no further one start."""
    _stopped.set()
    for session in list(_living):
        kill_all(session)


@dataclass(frozen=True)
class Place:
    """Where a trial's sweep runs: its project, the small disk that holds it, its store's line."""

    project: Path
    disk: Path | None
    line: StoreLine | None


@dataclass(frozen=True)
class Strike:
    """What a start is struck by, and when; `chance` decides what else is random about it."""

    kind: str
    moment: Moment
    chance: random.Random

    def __str__(self) -> str:
        return f"{self.kind} at {self.moment}"


@dataclass(frozen=True)
class Started:
    """What became of a start: `code` is its exit code, None where it had to be killed.

    `progress` is the seconds from Enter until it trained an epoch, kept weights or wrote a table.
    """

    code: int | None
    struck: bool
    ignored: bool  # a signal, which did not end it
    progress: float | None
    orphans: Sequence[Process]

    @property
    def refused(self) -> bool:
        """Whether it ended before it did anything."""
        return self.code == 2 and self.progress is None


class Watched:
    """A sweep's process, of whose progress the first sign is kept."""

    def __init__(self, place: Place, arguments: Sequence[str], printed: Path) -> None:
        self._project = place.project
        self._begun = Progress.of(place.project)
        self._began = time.monotonic()
        self.progress: float | None = None
        if _stopped.is_set():
            raise Stopped
        with printed.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(place.project / "experiments/run.py"), *arguments],
                cwd=place.project,
                env=_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.session = self._process.pid
        _living.add(self.session)

    def alive(self) -> bool:
        """Whether it lives; looks at its progress too."""
        alive = self._process.poll() is None
        if self.progress is None and Progress.of(self._project) != self._begun:
            self.progress = time.monotonic() - self._began
        return alive

    def end(self) -> int | None:
        """Waits for its end: the exit code; None where it took too long.

        It is then made to print where its threads are.
        """
        while self.alive():
            if time.monotonic() > self._began + _LIMIT:
                os.kill(self.session, signal.SIGABRT)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(10)
                kill_all(self.session)
                self._process.wait()
                return None
            time.sleep(_GLANCE)
        return self._process.returncode


def start(
    place: Place,
    arguments: Sequence[str],
    printed: Path,
    strike: Strike | None = None,
    whole: Life | None = None,
) -> Started:
    """Starts a sweep, strikes it, and waits for its end and that of all its processes.

    `whole` is the life of a sweep that was not struck.
    """
    watched = Watched(place, arguments, printed)
    struck_at: float | None = None
    undo: list[Callable[[], None]] = []
    if strike and whole and strike.moment.wait(place.project, watched.alive, whole):
        disk = place.disk or place.project
        target = Target(watched.session, place.project, disk, place.line, strike.chance)
        while struck_at is None and watched.alive():  # until there is what it strikes
            with suppress(ProcessLookupError):  # it has just ended
                if STRIKES[strike.kind](target):
                    struck_at = time.monotonic()
                else:
                    time.sleep(_GLANCE)
        undo = target.undo
    code = watched.end()
    answered = struck_at is None or time.monotonic() < struck_at + _ANSWER
    orphans = left_after(watched.session, _ORPHANS)
    _living.discard(watched.session)
    for action in undo:
        action()
    signalled = struck_at is not None and strike is not None and strike.kind in SIGNALS
    unanswered = signalled and code == 0  # it was at its end already, or has not noticed
    return Started(
        code,
        struck=struck_at is not None and not (unanswered and answered),
        ignored=unanswered and not answered,
        progress=watched.progress,
        orphans=orphans,
    )


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return own | {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
