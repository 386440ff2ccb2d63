"""Who runs something: a launch, known by its machine, the lock on its folder and an id of its own.

A launch that is killed by SIGKILL cannot mark its runs; its lock opens with its end. So a launcher
that sees the same lock knows at once whether nobody runs them any more. Host names prove nothing,
since containers and cloned machines share them. Where the lock cannot be seen, the launch's lease
in the store decides (`lease.py`).
"""

import enum
import hashlib
import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from optsweep.errors import FolderError
from optsweep.system.locks import Lock, holder, look

_NAME = ".owner"
_PATIENCE = 2.0  # seconds; who looks whether a lock is free holds it for an instant


class State(enum.Enum):
    """Whether a launch lives, as far as one can know from here."""

    ALIVE = "alive"
    GONE = "gone"
    SILENT = "silent"  # its lease was not renewed for minutes
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Machine:
    """Where a process runs, as far as it matters to locks.

    Processes of one `kernel`, since it was started, see each other's locks on one file. Those that
    share a `view` of the file system also mean the same file by the same path.
    """

    host: str
    kernel: str
    view: str


def machine() -> Machine:
    """Where this process runs."""
    boot = [_read("/etc/machine-id"), _read("/proc/sys/kernel/random/boot_id")]
    if not all(boot):  # not Linux, or a bare container
        boot.append(f"{socket.gethostname()} {uuid.getnode()}")
    root = Path("/").stat()
    spaces = [_link(f"/proc/self/ns/{kind}") for kind in ("pid", "mnt")]
    view = [*spaces, str(root.st_dev), str(root.st_ino)]
    return Machine(socket.gethostname(), _digest(boot), _digest(view))


class Owner:
    """Holds the lock of a sweep's or a run's folder; `name` is what its runs are tagged with."""

    def __init__(self, folder: Path) -> None:
        self.launch = uuid.uuid4().hex[:16]
        here = machine()
        self._path = folder / _NAME
        self.name = f"{here.host}/{here.kernel}/{here.view}/{self.launch}:{self._path}"
        self._lock = Lock(self._path, launch=self.launch)

    def __enter__(self) -> "Owner":
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if not self._lock.acquire(_PATIENCE):
                raise FolderError(
                    f"{folder} is in use by {holder(self._path)}; wait for its end, or end it and "
                    "try again, or, without resume=true, give another folder with "
                    "hydra.sweep.dir= or hydra.run.dir="
                )
            if not os.access(self._path, os.W_OK):
                raise FolderError(f"{folder} belongs to another user; give another folder")
        except BaseException as error:
            self._lock.release()
            if isinstance(error, PermissionError):
                raise FolderError(f"{folder} cannot be used: {error.strerror}") from error
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self._path.unlink(missing_ok=True)
        self._lock.release()


def launch_of(name: str) -> str:
    """The launch's id in an owner's name; empty in one that an earlier version wrote."""
    where = name.partition(":")[0].split("/")
    return where[3] if len(where) == 4 else ""


def state_by_lock(name: str) -> State:
    """Whether the owner of that name lives, by the lock on its folder alone."""
    where, _, file = name.partition(":")
    host, *rest = where.split("/")
    here, path = machine(), Path(file)
    if path.name != _NAME:
        return State.UNKNOWN
    if len(rest) != 3:  # an earlier version went by the host's name alone
        same, same_view, launch = host == here.host, True, ""
    else:
        same, same_view, launch = rest[0] == here.kernel, rest[1] == here.view, rest[2]
    if not same:
        return State.UNKNOWN
    try:
        locked, wrote = look(path)
    except FileNotFoundError:  # its owner removed it at the end
        return State.GONE if same_view else State.UNKNOWN
    except OSError:  # another user's
        return State.UNKNOWN
    named = wrote.get("launch", "")
    if named == launch or (same_view and not (named and launch)):
        return State.ALIVE if locked else State.GONE
    return State.GONE if same_view else State.UNKNOWN  # a later launch has the folder


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
