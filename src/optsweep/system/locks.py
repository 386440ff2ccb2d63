"""Locks between processes: no wait for one is endless, and who waits in vain learns who holds it.

A lock is an advisory one (flock) on a file. It opens when its holder ends, however that ends. The
holder writes into the file who it is. A file of another user need only be readable to be locked.
On a filesystem without such locks nobody waits for anybody.
"""

import errno
import fcntl
import functools
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from optsweep.errors import FolderError
from optsweep.system.environment import user
from optsweep.system.redaction import redacted

_PAUSE = 0.05  # seconds between two tries
_LONGEST = 100_000  # bytes that are read of what a holder wrote
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what such a filesystem answers


class Lock:
    """A lock on a file; `about` is written there beside who holds it."""

    def __init__(self, path: Path, **about: str) -> None:
        self.path = path
        self._about = about
        self._file: FileIO | None = None

    def acquire(self, patience: float) -> bool:
        """Waits so many seconds at most; returns whether this process holds the lock now.

        Raises:
            OSError: the file cannot be opened.
        """
        until = time.monotonic() + patience
        while not self._try():
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        return True

    def release(self) -> None:
        """Gives the lock back, where it is held."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _try(self) -> bool:
        try:
            self._file = open_to_lock(self.path)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        except FileNotFoundError:
            if self.path.parent.is_dir():  # removed while it was being opened
                return False
            raise
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self.release()
                raise
        assert self._file is not None
        if os.fstat(self._file.fileno()).st_nlink == 0:  # its last holder removed it
            self.release()
            return False
        if self._file.writable():
            with suppress(OSError):  # a full disk
                self._file.truncate()
                self._file.write(json.dumps(this_process() | self._about).encode())
        return True


@contextmanager
def locked(path: Path, patience: float) -> Iterator[None]:
    """Holds the lock on a file for a block.

    Raises:
        FolderError: another process holds it and does not give it back within `patience` seconds,
            or the file cannot be opened.
    """
    with locked_if_allowed(path, patience) as error:
        if error is not None:
            raise FolderError(f"{path} cannot be locked: {error.strerror}") from error
        yield


@contextmanager
def locked_if_allowed(path: Path, patience: float) -> Iterator[OSError | None]:
    """Holds the lock on a file for a block; gives the reason where it cannot be opened.

    Raises:
        FolderError: another process holds it and does not give it back within `patience` seconds.
    """
    lock, refusal = Lock(path), None
    try:
        try:
            held = lock.acquire(patience)
        except OSError as error:
            held, refusal = True, error
        if not held:
            raise FolderError(
                f"{path} has been locked for {patience:g} s by {holder(path)}; wait for the end of "
                "that process, or end it, and try again"
            )
        yield refusal
    finally:
        lock.release()


def open_to_lock(path: Path, create: bool = True) -> FileIO:
    """Opens a file to lock it: to write if that is allowed, else to read."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    # In a folder for all (/tmp) nobody may open another's file with O_CREAT, though it is there.
    ways = [os.O_RDWR | os.O_CREAT, os.O_RDWR] if create else []
    for way in ways:
        with suppress(PermissionError):
            return FileIO(os.open(path, flags | way, 0o666), "r+")
    return FileIO(os.open(path, flags | os.O_RDONLY), "r")


def look(path: Path) -> tuple[bool, dict[str, str]]:
    """Whether a process holds the lock on a file, and what the holder, or the last one, wrote.

    Raises:
        OSError: there is no such file, it cannot be read, or its filesystem has no locks.
    """
    with open_to_lock(path, create=False) as file:
        wrote = _parsed(file.read(_LONGEST) or b"")
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, wrote
    return False, wrote


def holder(path: Path) -> str:
    """Who holds, or held last, the lock on a file: one line for a person."""
    try:
        _, found = look(path)
        return (
            f"process {found['pid']} of {found['user']} on {found['host']}, "
            f"since {found['since']} ({found['command']})"
        )
    except (OSError, KeyError):
        return "another process"


def _parsed(content: bytes) -> dict[str, str]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def this_process() -> dict[str, str]:
    """Who this process is, for those who meet what it holds."""
    return {"since": time.strftime("%Y-%m-%d %H:%M:%S"), **_process(os.getpid())}


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> dict[str, str]:
    command = shlex.join(redacted(sys.argv))
    return {"pid": str(pid), "user": user(), "host": socket.gethostname(), "command": command}
