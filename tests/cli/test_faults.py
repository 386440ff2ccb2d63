"""The strikes of `benchmark.py faults` hit, and what they leave is counted.

Whole trials are in `test_benchmark.py`.
"""

import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.command import ROOT


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))


def test_lost_doubled_and_different_points_are_counted() -> None:
    from benchmarks.faults.found import differences

    expected = {("adam", "val/loss", epoch): [1 / epoch] for epoch in range(1, 6)}
    assert not differences(expected, expected).total()
    found = expected | {
        ("adam", "val/loss", 2): [1 / 2, 1 / 2],
        ("adam", "val/loss", 3): [1 / 3, 0.3333],
        ("adam", "val/loss", 4): [0.2501],
    }
    del found["adam", "val/loss", 5]
    counts = {"points lost": 1, "points doubled": 2, "points different": 2}
    assert differences(found, expected) == Counter(counts)
    assert differences({}, expected) == Counter({"points lost": 5})


def test_processes_that_are_left_are_found_and_killed() -> None:
    from benchmarks.faults.processes import left_after, of_session

    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    code = f"import subprocess; subprocess.Popen({sleeping!r})"
    launcher = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    launcher.wait()
    (left,) = left_after(launcher.pid, 0.2)
    assert "time.sleep(600)" in left.command
    while of_session(launcher.pid):
        pass
    assert left_after(launcher.pid, 0.0) == []


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it is sent."""

    def serve(caller: socket.socket) -> None:
        while data := caller.recv(100):
            caller.sendall(data)

    def accept() -> None:
        while True:
            try:
                caller, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(caller,), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield int(listening.getsockname()[1])


def test_a_store_is_reached_is_silent_is_away_and_is_reached_again(echo: int) -> None:
    from benchmarks.faults.store import store_line

    def ask(caller: socket.socket, patience: float = 20) -> bytes:
        caller.settimeout(patience)
        caller.sendall(b"?")
        return caller.recv(100)

    with store_line(echo) as line:
        here = ("127.0.0.1", line.port)
        caller = socket.create_connection(here)
        assert ask(caller) == b"?"
        line.silence()
        with pytest.raises(TimeoutError):
            ask(caller, 0.2)
        line.open()
        caller.settimeout(20)
        assert caller.recv(100) == b"?"  # what was held back
        line.close()
        assert caller.recv(100) == b""
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(here)
        line.open()
        with closing(socket.create_connection(here)) as caller:
            assert ask(caller) == b"?"


def test_a_disk_is_full_until_it_is_released(tmp_path: Path) -> None:
    from benchmarks.faults.disk import FullDisk, small_disk

    with small_disk(tmp_path / "disk") as mounted:
        if not mounted:
            pytest.skip("mounting a file system is not permitted here")
        full = FullDisk(tmp_path / "disk" / "full")
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "disk" / "file").write_bytes(b"0" * 9000)
        full.release()
        (tmp_path / "disk" / "file").write_bytes(b"0" * 9000)
    assert list((tmp_path / "disk").iterdir()) == []


def test_moments_are_waited_for_by_progress(tmp_path: Path) -> None:
    from benchmarks.faults.moments import Life, Moment, Progress

    run = tmp_path / "outputs" / "day" / "sweep" / "0"
    run.mkdir(parents=True)
    whole = Life(Progress(epochs=10, weights=1, table=1.0), seconds=1.0)
    training = Moment("training", 0.5, 0.0)
    looks = iter(range(1, 100))

    def train() -> bool:  # an epoch between two looks
        (run / "history.jsonl").write_text("{}\n" * next(looks))
        return True

    assert training.wait(tmp_path, train, whole)
    assert Progress.of(tmp_path).epochs == 6  # the sixth of ten, as it was looked at once more
    assert not training.wait(tmp_path, lambda: False, whole), "it ended before"
