"""One trial: a sweep is started, struck, resumed, struck again, and at last left alone."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.disk import small_disk
from benchmarks.faults.found import Points, differences, points, statuses
from benchmarks.faults.moments import Life, Progress, random_moment
from benchmarks.faults.start import Place, Started, Strike, start
from benchmarks.faults.store import Server, store_line
from benchmarks.faults.strikes import OF_STORES, STRIKES
from benchmarks.shared import ROOT

_COMMON: tuple[str, ...] = (
    "epochs=20",
    "model.hidden=[64]",
    "schedule=cosine",
    "threads=1",
    "figures=none",
)
_COMMON += ("hydra.launcher.workers=2",)
_GRID = ("-m", "optimizer=adam,rmsprop", "lr=1e-3,1e-2", *_COMMON)
_SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "lr=interval(1e-4,1e-1)")
SWEEPS = {
    "plain": (*_GRID, "hydra.launcher.stack=1"),
    "stacked": (*_GRID, "hydra.launcher.stack=2"),
    "search": (*_SEARCH, "optimizer=adam,rmsprop", *_COMMON),
}
_EXPERIMENT = "optsweep"
_SERVERS = 0.35  # the share of trials whose store is a server
_AT_MOST = 5  # strikes in a row
_PATIENCE = 60.0  # seconds in which a start may be refused before that counts

COUNTS = (
    "points lost",
    "points doubled",
    "points different",
    "runs left RUNNING",
    "runs not FINISHED",
    "processes left",
    "signals ignored",
    "starts that hung",
    "last starts that failed",
    "trials that broke off",
)


@dataclass(frozen=True)
class Undisturbed:
    """What a sweep leaves that was not struck, and how it went."""

    points: Points
    life: Life


@dataclass
class Outcome:
    """What became of a trial: its strikes by kind, and what was found wrong in the end."""

    number: int
    sweep: str
    uses_server: bool
    kept: Path  # its folder, where it failed
    strikes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    replaced: int = 0  # full disks, where no small one can be mounted
    restarts: list[float] = field(default_factory=list)  # seconds until the next start worked
    story: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether any count is not zero."""
        return any(self.counts.values())


def undisturbed(sweep: str, folder: Path) -> Undisturbed:
    """Runs a sweep that nothing happens to."""
    project = _new_project(folder / "project")
    began = time.monotonic()
    done = start(Place(project, None, None), SWEEPS[sweep], folder / "start.txt")
    seconds = time.monotonic() - began
    if done.code:
        raise RuntimeError(f"the sweep failed:\n{(folder / 'start.txt').read_text()[-2000:]}")
    found = points(project / "mlflow.db", _EXPERIMENT)
    return Undisturbed(found, Life(Progress.of(project), seconds))


def _new_project(project: Path) -> Path:
    for name in ("conf", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, project / name, ignore=ignored)
    return project


class Trial:
    """A trial's random choices, made from its seed and number alone, and what they lead to."""

    def __init__(self, seed: int, number: int, folder: Path) -> None:
        self._name = f"{seed} {number}"
        self._folder = folder
        chance = random.Random(self._name)
        self._wanted = 1
        while self._wanted < _AT_MOST and chance.random() < 0.5:
            self._wanted += 1
        self._starts = 0
        sweep = chance.choice(list(SWEEPS))
        self.outcome = Outcome(number, sweep, uses_server=chance.random() < _SERVERS, kept=folder)

    def run(self, whole: Undisturbed, server: Server) -> Outcome:
        """Runs the trial; its folder is kept where something was found wrong."""
        disk = self._folder / "disk"
        with small_disk(disk) as mounted, ExitStack() as lines:
            line = (
                lines.enter_context(store_line(server.port)) if self.outcome.uses_server else None
            )
            round_ = 0
            while not self.outcome.strikes:  # else it finished before a strike has hit
                round_ += 1
                place = Place(_new_project(disk / f"{round_}"), disk if mounted else None, line)
                arguments = self._arguments(place, round_)
                self._strike(place, arguments, whole)
            self._finish(place, arguments)
            database = server.database if line else place.project / "mlflow.db"
            self._compare(database, self._experiment(round_), whole)
            if self.outcome.failed:
                shutil.copytree(disk, self._folder / "kept", symlinks=True)
        if not self.outcome.failed:
            shutil.rmtree(self._folder)
        return self.outcome

    def _experiment(self, number: int) -> str:
        return f"{self._folder.name}-{number}"

    def _arguments(self, place: Place, number: int) -> list[str]:
        arguments = [*SWEEPS[self.outcome.sweep], f"tracking.experiment={self._experiment(number)}"]
        if place.line:
            arguments.append(f"tracking.uri=http://127.0.0.1:{place.line.port}")
        return arguments

    def _strike(self, place: Place, arguments: Sequence[str], whole: Undisturbed) -> None:
        """Strikes the sweep and resumes it until it finishes, or was struck often enough."""
        finished, resumed = False, list(arguments)
        while not finished and len(self.outcome.strikes) < self._wanted:
            strike = self._drawn(place)
            done = self._start(place, resumed, strike, whole)
            if done.struck:
                self.outcome.strikes.append(strike.kind)
            finished = done.code == 0
            resumed = [*arguments, "resume=true"]

    def _drawn(self, place: Place) -> Strike:
        chance = random.Random(f"{self._name} {self._starts}")
        kinds = [kind for kind in STRIKES if place.line or kind not in OF_STORES]
        kind = chance.choice(kinds)
        if kind == "full disk" and not place.disk:
            self.outcome.replaced += 1
            kind = "SIGKILL launcher"
        return Strike(kind, random_moment(chance), chance)

    def _finish(self, place: Place, arguments: Sequence[str]) -> None:
        """Resumes the sweep and leaves it alone."""
        done = self._start(place, [*arguments, "resume=true"])
        self.outcome.counts["last starts that failed"] += done.code != 0

    def _start(
        self,
        place: Place,
        arguments: Sequence[str],
        strike: Strike | None = None,
        whole: Undisturbed | None = None,
    ) -> Started:
        """Starts the sweep, again and again for a while where it is refused though not struck."""
        began = time.monotonic()
        while True:
            entered = time.monotonic()
            self._starts += 1
            printed = self._folder / f"start-{self._starts}.txt"
            done = start(place, arguments, printed, strike, whole.life if whole else None)
            self._note(done, strike)
            if not done.refused or done.struck or time.monotonic() > began + _PATIENCE:
                break
            time.sleep(1)
        if self._starts > 1 and done.progress is not None:
            self.outcome.restarts.append(entered - began + done.progress)
        return done

    def _note(self, done: Started, strike: Strike | None) -> None:
        self.outcome.counts["processes left"] += len(done.orphans)
        self.outcome.counts["signals ignored"] += done.ignored
        self.outcome.counts["starts that hung"] += done.code is None
        hit = f"{strike}{'' if done.struck else ' (missed)'}" if strike else "left alone"
        self.outcome.story.append(f"{hit}: {'hung' if done.code is None else done.code}")
        self.outcome.story += [f"left: {orphan}" for orphan in done.orphans]

    def _compare(self, database: Path, experiment: str, whole: Undisturbed) -> None:
        counts = self.outcome.counts
        counts += differences(points(database, experiment), whole.points)
        found = statuses(database, experiment)
        counts["runs left RUNNING"] += found.pop("RUNNING", 0)
        found.pop("FINISHED", 0)
        counts["runs not FINISHED"] += found.total()
