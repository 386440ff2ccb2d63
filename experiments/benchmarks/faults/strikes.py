"""What a sweep is struck by: signals, a full disk, a store that goes away, a power cut."""

import os
import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.disk import FullDisk
from benchmarks.faults.processes import forkservers, kill_all, workers
from benchmarks.faults.store import StoreLine


@dataclass
class Target:
    """A sweep under way: its launcher leads a session; its project lies on `disk`."""

    session: int
    project: Path
    disk: Path
    store: StoreLine | None
    chance: random.Random
    undo: list[Callable[[], None]] = field(default_factory=list)  # once the sweep has ended

    def signal(self, number: int, *, group: bool = False) -> bool:
        """Sends a signal to the launcher, or to all of its process group."""
        if group:
            os.killpg(self.session, number)
        else:
            os.kill(self.session, number)
        return True


def _kill_one(target: Target, processes: list[int]) -> bool:
    if not processes:
        return False
    os.kill(target.chance.choice(processes), signal.SIGKILL)
    return True


def _fill_disk(target: Target) -> bool:
    full = FullDisk(target.disk / "full")
    _end_some_time(target, full.release)
    return True


def _close_store(target: Target) -> bool:
    assert target.store
    target.store.close()
    _end_some_time(target, target.store.open)
    return True


def _silence_store(target: Target) -> bool:
    assert target.store
    target.store.silence()
    _end_some_time(target, target.store.open)
    return True


def _end_some_time(target: Target, end: Callable[[], None]) -> None:
    """Ends what a strike began: in a few seconds, or only after the sweep's end."""
    target.undo.append(end)
    if target.chance.random() < 0.5:
        timer = threading.Timer(target.chance.uniform(0.2, 5), end)
        timer.daemon = True
        timer.start()
        target.undo.insert(0, timer.cancel)


def _cut_power(target: Target) -> bool:
    """Kills all at once and cuts the file that was written last, anywhere."""
    kill_all(target.session)

    def cut() -> None:
        files = [path for path in target.project.glob("outputs/*/*/**/*") if path.is_file()]
        if written := [path for path in files if path.stat().st_size]:
            last = max(written, key=lambda path: path.stat().st_mtime_ns)
            os.truncate(last, target.chance.randrange(last.stat().st_size))

    target.undo.append(cut)
    return True


# Each strikes a sweep that lives; False where there was nothing to strike.
STRIKES: dict[str, Callable[[Target], bool]] = {
    "SIGKILL launcher": lambda target: target.signal(signal.SIGKILL),
    "SIGKILL worker": lambda target: _kill_one(target, workers(target.session)),
    "SIGKILL forkserver": lambda target: _kill_one(target, forkservers(target.session)),
    "SIGTERM launcher": lambda target: target.signal(signal.SIGTERM),
    "SIGTERM group": lambda target: target.signal(signal.SIGTERM, group=True),
    "SIGINT launcher": lambda target: target.signal(signal.SIGINT),
    "SIGINT group": lambda target: target.signal(signal.SIGINT, group=True),
    "full disk": _fill_disk,
    "store away": _close_store,
    "store silent": _silence_store,
    "power cut": _cut_power,
}
OF_STORES = {"store away", "store silent"}
SIGNALS = {name for name in STRIKES if name.endswith((" launcher", " group"))}  # these end it
