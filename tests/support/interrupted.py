"""Sweeps that are interrupted, and what remains of them."""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from support.command import start

Points = dict[tuple[str, str], list[tuple[int, float]]]


def points(project: Path) -> Points:
    """(run name, metric) -> its points, of every run but the metrics of time.

    A sweep that continues is concluded again: what its own run says of the best and of the verdict
    is then logged twice, of which MLflow shows the newer.
    """
    ask = """SELECT tags.value, metrics.key, metrics.step, metrics.value
        FROM metrics JOIN tags ON tags.run_uuid = metrics.run_uuid AND tags.key = 'mlflow.runName'
        WHERE metrics.key NOT IN ('epoch_seconds', 'samples_per_second')
        AND metrics.key NOT LIKE 'best/%' AND metrics.key NOT LIKE 'verdict/%'
        ORDER BY 1, 2, 3"""
    found: Points = {}
    with sqlite3.connect(project / "mlflow.db") as database:
        for name, key, step, value in database.execute(ask):
            found.setdefault((name, key), []).append((step, value))
    return found


class Started:
    """A sweep under way in a process group of its own."""

    def __init__(self, project: Path, *arguments: str) -> None:
        self.project = project
        command = [sys.executable, str(project / "experiments/run.py"), *arguments]
        self.process = start(command, project, start_new_session=True)

    def wait_for(self, moment: Callable[[Path], bool]) -> None:
        """Returns once the sweep has come to a moment; it must not have ended before."""
        for _ in range(30_000):
            if moment(self.project):
                return
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.01)
        raise TimeoutError

    def wait_for_epochs(self, count: int = 1) -> None:
        """Returns once a run has trained so many epochs."""
        self.wait_for(lambda project: _epochs(project) >= count)

    def wait_for_workers(self, seen: set[int]) -> None:
        """Returns once a run is trained by a process that had not been seen."""
        self.wait_for(lambda project: bool({*self.workers()} - seen))

    def workers(self) -> list[int]:
        """Processes that train a run: those that write their progress into its folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and self._is_worker(entry):
                found.append(int(entry.name))
        return found

    def servers(self) -> list[int]:
        """The server that workers are forked from: started by the launcher, not forked."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes() + (entry / "comm").read_bytes()
                if parent == self.process.pid and b"forkserver" in command:
                    found.append(int(entry.name))
        return found

    def _is_worker(self, entry: Path) -> bool:
        try:
            of_group = os.getpgid(int(entry.name)) == self.process.pid
            links = [str(link.readlink()) for link in (entry / "fd").iterdir()]
        except OSError:
            return False
        return of_group and any(link.endswith("optsweep.log") for link in links)

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=300)
        return self.process.returncode, output

    def die(self, epochs: int = 1) -> None:
        """Loses the launcher once a run has trained so many epochs; its workers end too."""
        self.wait_for_epochs(epochs)
        kill_launcher(self)
        code, output = self.end()
        assert code == -signal.SIGKILL, output
        assert no_process_is_left(self)


def no_process_is_left(started: Started) -> bool:
    """Whether the process group is empty, which it may take a moment to become."""
    for _ in range(600):
        try:
            os.killpg(started.process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _epochs(project: Path) -> int:
    """The epochs of the run that has trained most."""
    journals = project.glob("outputs/*/*/*/history.jsonl")
    return max((journal.read_bytes().count(b"\n") for journal in journals), default=0)


def before_the_first_epoch(project: Path) -> bool:
    """A worker has a run in hand."""
    return any(project.glob("outputs/*/*/*/optsweep.log"))


def in_the_middle(project: Path) -> bool:
    """A run has trained half of its epochs."""
    return _epochs(project) >= 20


def while_weights_are_written(project: Path) -> bool:
    """A run has trained all of its epochs and is being closed."""
    return _epochs(project) >= 40


def between_two_runs(project: Path) -> bool:
    """A run has trained all of its epochs and needs its checkpoint no more."""
    weights = project.glob("outputs/*/*/*/weights.safetensors")
    return any(not path.with_name("checkpoint.bin").exists() for path in weights)


def in_the_summary(project: Path) -> bool:
    """The sweep has written the first of its own files, and not yet the report."""
    return any(project.glob("outputs/*/*/table.csv"))


def kill_launcher(started: Started) -> None:
    os.kill(started.process.pid, signal.SIGKILL)


def kill_worker(started: Started) -> None:
    started.wait_for(lambda project: bool(started.workers()))
    os.kill(started.workers()[0], signal.SIGKILL)


def kill_server(started: Started) -> None:
    """Kills the server that workers are forked from, and so those that it has forked."""
    (server,) = started.servers()
    os.kill(server, signal.SIGKILL)


def interrupt_launcher(started: Started) -> None:
    os.kill(started.process.pid, signal.SIGINT)


def interrupt_group(started: Started) -> None:
    os.killpg(started.process.pid, signal.SIGINT)


def terminate_launcher(started: Started) -> None:
    os.kill(started.process.pid, signal.SIGTERM)
