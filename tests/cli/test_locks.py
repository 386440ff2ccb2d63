"""Locks between real processes: bounded, named, and usable by two users."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from optsweep.errors import FolderError
from optsweep.system import locks
from optsweep.system.locks import Lock, holder, locked
from optsweep.tracking import store as tracking
from optsweep.tracking.sending import outbox
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import Outbox
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import start_run
from support.users import as_user, shared_folder

_HOLD = """
import fcntl, sys
from pathlib import Path
if sys.argv[2:] == ["as us"]:
    from optsweep.system.locks import Lock
    lock = Lock(Path(sys.argv[1]))
    assert lock.acquire(0)
else:
    file = open(sys.argv[1], "a")
    fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, *how: str) -> Iterator[int]:
    """Another process holds the lock for the block; gives its id."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process.pid
    finally:
        process.communicate()


@pytest.fixture
def shared() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder


def test_the_lock_of_a_store_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_OPENING", 0.1, raising=False)
    with (
        held(tmp_path / ".mlflow.db.lock", "as us") as pid,
        pytest.raises(FolderError, match=rf"mlflow\.db\.lock .* by process {pid} of \S+ on "),
    ):
        Store.open(f"sqlite:///{tmp_path}/mlflow.db", "mine")


def test_the_lock_of_an_outbox_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_KEEPING", 0.1, raising=False)
    monkeypatch.setattr(outbox, "_SENDING", 0.1, raising=False)
    with held(tmp_path / ".unsent.jsonl.lock", "as us") as pid:
        with pytest.raises(FolderError, match=f"process {pid} "):
            Outbox(tmp_path).add({"call": "tags"})
        with pytest.raises(FolderError, match=f"process {pid} "), Outbox(tmp_path).taken():
            pass


@pytest.mark.long
def test_what_another_process_is_sending_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "_SENDING", 0.1)
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "mine")
    with start_run(store, "good") as run:
        pass
    for name in ("busy", "free"):
        tags = {"call": "tags", "run_id": run.run_id, "time": 1, "tags": {name: "sent"}}
        Outbox(tmp_path / name).add(tags | {"again": True})
    with held(tmp_path / "busy/.unsent.jsonl.lock", "as us") as pid:
        assert deliver(store, [tmp_path / "busy", tmp_path / "free"]) == 1
    assert f"process {pid} of" in caplog.text
    assert deliver(store, [tmp_path / "busy", tmp_path / "free"]) == 1


def test_a_holder_who_did_not_say_who_they_are_is_another_process(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with (
        held(path),
        pytest.raises(FolderError, match="by another process; wait"),
        locked(path, 0.1),
    ):
        pass


def test_a_lock_opens_when_its_holder_ends(tmp_path: Path) -> None:
    with held(tmp_path / ".lock", "as us") as pid:
        waiting = Lock(tmp_path / ".lock")
        assert not waiting.acquire(0)
        assert f"process {pid} of" in holder(tmp_path / ".lock")
        os.kill(pid, 9)
        assert waiting.acquire(10)
    assert f"process {os.getpid()} of" in holder(tmp_path / ".lock")
    waiting.release()


def test_a_lock_file_that_was_removed_under_its_waiter_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    removed = locks.open_to_lock(path)
    path.unlink()
    with pytest.MonkeyPatch.context() as patched:
        opened = iter([removed, locks.open_to_lock(path)])
        patched.setattr(locks, "open_to_lock", lambda path: next(opened))
        lock = Lock(path)
        assert lock.acquire(1)
    assert not Lock(path).acquire(0)
    lock.release()


def test_two_users_share_the_lock_of_a_store(shared: Path) -> None:
    path = shared / ".mlflow.db.lock"

    def take() -> str:
        try:
            with locked(path, 0.1):
                return "held"
        except FolderError as error:
            return str(error)

    assert as_user(1234, take) == "held"
    assert path.stat().st_uid == 1234
    assert as_user(1235, take) == "held"  # though the file is the first one's
    with held(path, "as us") as pid:
        assert f"process {pid} of" in as_user(1235, take)


def test_a_lock_file_that_another_user_keeps_to_themselves_is_named(shared: Path) -> None:
    path = shared / ".unsent.jsonl.lock"
    path.touch()
    path.chmod(0o600)

    def add() -> str:
        try:
            Outbox(shared).add({"call": "tags"})
        except FolderError as error:
            return str(error)
        return "added"

    assert f"{path} cannot be locked: Permission denied" in as_user(1234, add)


@pytest.mark.long
def test_a_store_whose_lock_file_another_user_keeps_to_themselves_is_opened(
    shared: Path,
) -> None:
    uri = f"sqlite:///{shared}/mlflow.db"
    Store.open(uri, "mine")
    for path in shared.glob("mlflow.db*"):
        path.chmod(0o666)
    (shared / ".mlflow.db.lock").chmod(0o600)
    assert as_user(1234, lambda: Store.open(uri, "mine").experiment_id) == "1"
