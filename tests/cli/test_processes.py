"""Worker processes: whatever happens to one, its task is settled and the next one is run."""

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from optsweep.errors import StackFailed, TaskFailed
from optsweep.execution import local as processes
from optsweep.execution.executor import Crashed, Task
from optsweep.execution.local import LocalProcesses
from optsweep.records.run import RunRecord
from support.in_process import job_in

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux ends children with their parent")


class Odd(Exception):
    """An exception that cannot be sent, nor asked what it says."""

    def __init__(self) -> None:
        self.hook = lambda: None

    def __str__(self) -> str:
        raise ValueError


class Unreadable:
    """What can be sent and cannot be read."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def raise_odd() -> None:
    raise Odd


def fail_as_a_stack() -> None:
    raise StackFailed("too large", out_of_memory=True)


def interrupt() -> None:
    raise KeyboardInterrupt


FATES: dict[str, Callable[[], object]] = {
    "pid": os.getpid,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "nameless signal": lambda: os.kill(os.getpid(), 40),
    "exit": lambda: sys.exit(3),
    "hard exit": lambda: os._exit(7),
    "interrupt": interrupt,
    "wait": lambda: time.sleep(3600),
    "hold the lock": lambda: ctypes.PyDLL(None).sleep(3600),
    "odd": raise_odd,
    "stack": fail_as_a_stack,
    "unsendable": lambda: lambda: None,
    "unreadable": Unreadable,
}


def meet(task: Task) -> list[RunRecord]:
    """What these tests' workers do: leave a mark, and meet the fate that the task names."""
    folder = task.jobs[0].folder
    (folder / f"{task.uri} {os.getpid()}").touch()
    return [FATES[task.uri]()]  # type: ignore[list-item]


def task(folder: Path, fate: str) -> Task:
    return Task([job_in(folder)], fate, "", None, "", False)


@pytest.fixture
def workers() -> Iterator[LocalProcesses]:
    """One worker."""
    started = LocalProcesses(1, timeout=3600, run=meet)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalProcesses]:
    """One worker, which tests leave as they found it."""
    started = LocalProcesses(1, timeout=3600, run=meet)
    yield started
    started.stop()


def outcome(future: "Future[list[RunRecord]]") -> object:
    error = future.exception(timeout=60)
    return error or future.result()[0]


def wait_for(folder: Path, fate: str) -> int:
    """The process that meets this fate, once it does."""
    for _ in range(600):
        for mark in folder.glob(f"{fate} *"):
            return int(mark.name.rpartition(" ")[2])
        time.sleep(0.1)
    raise TimeoutError(fate)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fate", "kind", "reason"),
    [
        ("kill", Crashed, "its process was killed by SIGKILL"),
        ("nameless signal", Crashed, "its process was killed by signal 40"),
        ("hard exit", Crashed, "its process ended with exit code 7"),
        ("exit", TaskFailed, "SystemExit: 3"),
        ("interrupt", TaskFailed, "KeyboardInterrupt"),
        ("odd", TaskFailed, "Odd"),
        ("stack", StackFailed, "too large"),
        ("unsendable", TaskFailed, "its result cannot be sent: "),
        ("unreadable", TaskFailed, "its result cannot be read: ValueError"),
    ],
)
def test_each_fate_has_its_reason_and_the_next_task_is_run(
    fate: str, kind: type[Exception], reason: str, shared: LocalProcesses, tmp_path: Path
) -> None:
    found = outcome(shared.submit(task(tmp_path, fate)))
    assert isinstance(found, kind)
    assert str(found).startswith(reason)
    assert isinstance(outcome(shared.submit(task(tmp_path, "pid"))), int)


@pytest.mark.long
def test_a_task_that_cannot_be_sent_fails_with_the_reason(
    shared: LocalProcesses, tmp_path: Path
) -> None:
    unsendable = task(tmp_path, "pid")
    object.__setattr__(unsendable.jobs[0], "hopeless", lambda epoch, score: False)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(unsendable)
    found = outcome(shared.submit(unsendable))
    assert isinstance(found, TaskFailed)
    assert str(found).startswith("it cannot be sent to a worker: ")
    assert isinstance(outcome(shared.submit(task(tmp_path, "pid"))), int)


@pytest.mark.long
def test_a_worker_runs_many_tasks(workers: LocalProcesses, tmp_path: Path) -> None:
    found = {outcome(workers.submit(task(tmp_path, "pid"))) for _ in range(5)}
    assert len(found) == 1


@pytest.mark.long
def test_a_worker_is_replaced_after_some_tasks(
    workers: LocalProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_TASKS", 2)
    found = [outcome(workers.submit(task(tmp_path, "pid"))) for _ in range(4)]
    assert found[0] == found[1] != found[2] == found[3]


def test_an_idle_worker_that_is_killed_is_replaced(workers: LocalProcesses, tmp_path: Path) -> None:
    first = outcome(workers.submit(task(tmp_path, "pid")))
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    while exists(first):
        time.sleep(0.01)
    second = outcome(workers.submit(task(tmp_path, "pid")))
    assert isinstance(second, int)
    assert second != first


@pytest.mark.long
@pytest.mark.parametrize("fate", ["wait", "hold the lock"])
def test_what_takes_too_long_is_ended(fate: str, tmp_path: Path) -> None:
    workers = LocalProcesses(1, timeout=0.5, run=meet)
    try:
        assert isinstance(outcome(workers.submit(task(tmp_path, fate))), TimeoutError)
        assert isinstance(outcome(workers.submit(task(tmp_path, "pid"))), int)
    finally:
        workers.stop()


def test_stopping_ends_the_workers_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    workers = LocalProcesses(1, run=meet)
    running = workers.submit(task(tmp_path, "hold the lock"))
    waiting = workers.submit(task(tmp_path, "pid"))
    worker = wait_for(tmp_path, "hold the lock")
    workers.stop()
    assert not exists(worker)
    late = workers.submit(task(tmp_path, "pid"))
    for future in (running, waiting, late):
        assert isinstance(outcome(future), Crashed)


def test_a_fault_of_the_serving_thread_leaves_nobody_waiting(
    workers: LocalProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = workers.submit(task(tmp_path, "wait"))
    worker = wait_for(tmp_path, "wait")

    def fail(self: LocalProcesses) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(LocalProcesses, "_hand_out", fail)
    waiting = workers.submit(task(tmp_path, "pid"))
    for future in (running, waiting, workers.submit(task(tmp_path, "pid"))):
        found = outcome(future)
        assert isinstance(found, TaskFailed)
        assert str(found) == "the workers cannot be served any more: ZeroDivisionError"
    assert not exists(worker)


def server_of(launcher: int) -> int:
    """The process that this one's workers are forked from."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and parent_of(int(folder.name)) == launcher:
            command = (folder / "cmdline").read_bytes()
            if b"multiprocessing.forkserver" in command:
                return int(folder.name)
    raise LookupError(launcher)


def parent_of(process: int) -> int | None:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def exists(process: int) -> bool:
    """Whether a process lives; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.long
@linux
def test_the_servers_death_costs_what_runs_and_nothing_else(
    workers: LocalProcesses, tmp_path: Path
) -> None:
    running = workers.submit(task(tmp_path, "hold the lock"))
    worker = wait_for(tmp_path, "hold the lock")
    waiting = workers.submit(task(tmp_path, "pid"))
    os.kill(server_of(os.getpid()), signal.SIGKILL)
    assert isinstance(outcome(running), Crashed)
    end = time.monotonic() + 2
    while exists(worker):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert isinstance(outcome(waiting), int)


@pytest.mark.long
@linux
def test_the_servers_death_between_tasks_costs_nothing(
    workers: LocalProcesses, tmp_path: Path
) -> None:
    assert isinstance(outcome(workers.submit(task(tmp_path, "pid"))), int)
    os.kill(server_of(os.getpid()), signal.SIGKILL)
    assert isinstance(outcome(workers.submit(task(tmp_path, "pid"))), int)


LAUNCHER = """
import sys
from pathlib import Path
from optsweep.execution.local import LocalProcesses
from test_processes import meet, task
if __name__ == "__main__":
    workers = LocalProcesses(2, run=meet)
    for _ in range(2):
        future = workers.submit(task(Path(sys.argv[1]), "hold the lock"))
    future.result()
"""


@pytest.mark.long
@linux
def test_all_processes_end_within_two_seconds_of_their_launcher(tmp_path: Path) -> None:
    script = tmp_path / "launcher.py"
    script.write_text(LAUNCHER)
    launcher = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2]))},
        start_new_session=True,
    )
    try:
        while len(marks := list(tmp_path.glob("hold the lock *"))) < 2:
            assert launcher.poll() is None
            time.sleep(0.1)
        started = [int(mark.name.rpartition(" ")[2]) for mark in marks]
        group = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        group = [process for process in group if in_group(process, launcher.pid)]
        assert {*started, server_of(launcher.pid)} < set(group)
        launcher.kill()
        launcher.wait()
        killed = time.monotonic()
        while left := [process for process in group if exists(process)]:
            assert time.monotonic() - killed < 2, left
            time.sleep(0.01)
    finally:
        launcher.kill()


def in_group(process: int, group: int) -> bool:
    try:
        return os.getpgid(process) == group
    except OSError:
        return False
