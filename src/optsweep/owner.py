"""Who carries a run out: known by host and by a lock that its process holds while it lives.

A process that is killed by SIGKILL cannot mark its runs; its lock falls open with it, and the
next sweep that finds one of its runs RUNNING knows that nobody is at it any more.
"""

import socket
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from optsweep.errors import FolderError


class Owner:
    """Holds the lock of a sweep's or a run's folder; `name` is what its runs are tagged with."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".owner"
        self._lock = FileLock(self._path)
        self.name = f"{socket.gethostname()}:{self._path}"

    def __enter__(self) -> "Owner":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FolderError(
                f"{self._path.parent} is in use by another process; wait for its end, or give "
                "another folder with hydra.sweep.dir= or hydra.run.dir="
            ) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._path.unlink(missing_ok=True)
        self._lock.release()


def is_dead(name: str) -> bool:
    """Whether the owner of that name lives no more; False where it is on another host."""
    host, _, path = name.partition(":")
    if host != socket.gethostname():
        return False
    if not Path(path).exists():
        return True
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True
