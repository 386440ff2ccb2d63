"""Stores that say nothing, or nothing that makes sense: each call ends in time, in one line."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from optsweep.errors import TrackingError, Unreachable
from optsweep.tracking import history, reading, timeouts
from optsweep.tracking.address import refuse_unusable
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import Outbox
from optsweep.tracking.sending.reconnecting import Connection
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
from support.servers import babbling, silent

SOON = 20.0  # seconds: many times each limit, and far below what MLflow would wait
RUN = "0" * 32


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of half a second each."""
    monkeypatch.setattr(timeouts, "SECONDS", dict.fromkeys(timeouts.SECONDS, 0.5))


@pytest.fixture
def store(quick: None) -> Iterator[Store]:
    with silent() as address:
        yield Store.attach(f"http://{address}", "1")


def interrupt() -> None:
    """Has Ctrl-C typed a moment from now."""
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize(
    "call",
    [
        lambda store, folder: store.find(kind="run"),
        lambda store, folder: store.id_of(f"pending-{RUN}"),
        lambda store, folder: store.download(RUN, "resume", "stack.txt", folder),
        lambda store, folder: deliver(store, [folder]),
        lambda store, folder: TrackedRun(store, RUN).tag(a="b"),
        lambda store, folder: TrackedRun(store, RUN).log_texts({"name.txt": "text"}),
        lambda store, folder: reading.latest_sweep(store),
        lambda store, folder: reading.read_sweep(store, RUN),
        lambda store, folder: history.histories(store, [RUN], ["train/loss"]),
        lambda store, folder: history._one_by_one(store, [RUN], "train/loss"),
        lambda store, folder: store.client.get_run(RUN),
    ],
)
def test_every_call_to_a_silent_server_is_bounded(
    call: Callable[[Store, Path], object], store: Store, tmp_path: Path
) -> None:
    Outbox(tmp_path).add(
        {"call": "tags", "run_id": RUN, "time": 1, "tags": {"a": "b"}, "again": True}
    )
    began = time.monotonic()
    with pytest.raises((Unreachable, timeouts.Overdue), match=r"no answer within|does not answer"):
        call(store, tmp_path)
    assert time.monotonic() - began < SOON


def test_a_server_known_to_be_silent_is_not_asked_again(store: Store) -> None:
    with pytest.raises(Unreachable):
        store.find(kind="run")
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(Unreachable, match="does not answer"):
            store.find(kind="run")
    assert time.monotonic() - began < 5  # twenty waits of half a second would be ten


def test_opening_a_store_on_a_silent_server_or_database_is_bounded(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.tracking.timeouts.PATIENCE", 0.5)
    with silent() as address:
        for uri in (f"http://{address}", f"postgresql://ann:pw@{address}/x"):
            began = time.monotonic()
            with pytest.raises(TrackingError, match="does not answer"):
                Store.open(uri, "optsweep")
            with pytest.raises(Unreachable, match="does not answer"):
                Store.attach(uri, "1").find(kind="run")
            assert time.monotonic() - began < SOON


def test_ctrl_c_ends_the_wait_for_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "_GRACE", 0.1)
    interrupt()
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        timeouts.bounded(60, release.wait)
    assert time.monotonic() - began < SOON
    release.set()


def test_what_a_bounded_call_gives_or_raises_is_its_callers() -> None:
    assert timeouts.bounded(60, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        timeouts.bounded(60, lambda: 1 // 0)


def test_ctrl_c_in_the_middle_of_a_call_keeps_it(tmp_path: Path) -> None:
    with silent() as address:
        store = Store.attach(f"http://{address}", "1")
        run = TrackedRun(store, RUN, tmp_path)
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            run.end("FAILED")
    with Outbox(tmp_path).taken() as calls:
        assert [(call["call"], call["status"]) for call in calls] == [("end", "FAILED")]


@pytest.mark.long
def test_a_run_that_is_interrupted_while_it_is_created_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "SECONDS", dict.fromkeys(timeouts.SECONDS, 2.0))
    with silent() as address:
        store = Store.attach(f"http://{address}", "1")
        interrupt()
        with pytest.raises(KeyboardInterrupt), start_run(store, "run", folder=tmp_path):
            raise AssertionError("the run was never created")
    with Outbox(tmp_path).taken() as calls:
        assert [call["call"] for call in calls] == ["create", "end"]
        assert calls[1]["status"] == "KILLED"


def test_the_users_own_patience_widens_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    before = timeouts.seconds("search_runs")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(4 * timeouts.REQUEST))
    assert timeouts.seconds("search_runs") == 4 * before


def test_large_files_are_given_more_time() -> None:
    assert timeouts.seconds("log_artifact", 100 * 2**20) > timeouts.seconds("log_artifact") + 50


GARBAGE = {
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bytes": bytes(range(256)),
    "nothing": b"",
    "status": b"HTTP/1.1 what ever\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "html": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    "list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "json": b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"runs": 17}',
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: gopher://x/\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_no_tracking_server_is_one_line(kind: str, quick: None) -> None:
    with babbling(GARBAGE[kind]) as address:
        for call in (
            lambda: Store.open(f"http://{address}", "optsweep"),
            lambda: Store.attach(f"http://{address}", "1").find(kind="run"),
            lambda: history.histories(Store.attach(f"http://{address}", "1"), [RUN], ["loss"]),
            lambda: TrackedRun(Store.attach(f"http://{address}", "1"), RUN).log_texts({"a": "b"}),
        ):
            try:
                call()
            except TrackingError as error:
                assert "\n" not in str(error)
                assert address in str(error)
            else:
                assert kind in ("list", "json", "html")  # some calls look at no answer


@pytest.mark.parametrize("kind", ["ssh", "bytes", "status"])
def test_what_does_not_speak_http_is_refused_before_training(kind: str) -> None:
    with (
        babbling(GARBAGE[kind]) as address,
        pytest.raises(TrackingError, match="does not answer"),
    ):
        refuse_unusable(f"http://{address}")


def test_a_server_that_trickles_is_refused_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optsweep.tracking.timeouts.PATIENCE", 0.5)
    with (
        babbling(b"HTTP/1.1 200 OK\r\n" + b"X-More: x\r\n" * 99, pause=0.05) as address,
        pytest.raises(TrackingError, match="does not answer"),
    ):
        refuse_unusable(f"http://{address}")


def test_a_line_survives_whatever_its_probe_raises() -> None:
    errors: list[Exception] = [ValueError("no JSON"), RuntimeError("odd"), OSError("gone")]

    def probe() -> None:
        if errors:
            raise errors.pop()

    line = Connection(probe)
    line._FIRST = line._LONGEST = line._pause = 0.01
    line.lost()
    until = time.monotonic() + SOON
    while not line.up:
        assert time.monotonic() < until
        time.sleep(0.01)
