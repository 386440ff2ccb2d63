"""The processes of a session: which of them launch, fork and train, and which are left."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A living process: its id, its parent's, and its command line."""

    pid: int
    parent: int
    command: str

    def __str__(self) -> str:
        return f"{self.pid}, child of {self.parent}: {self.command.partition(' ')[2][:60]}"


def of_session(session: int) -> list[Process]:
    """The processes of a session that live; what is dead and not yet waited for is none."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            state, parent, _, own, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(own) == session and state not in "ZX":
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(Process(int(entry.name), int(parent), command))
    return found


def forkservers(session: int) -> list[int]:
    """The processes that workers are forked from."""
    return [one.pid for one in of_session(session) if _is_forkserver(one, session)]


def workers(session: int) -> list[int]:
    """The processes that were forked to train runs."""
    living = of_session(session)
    servers = {one.pid for one in living if _is_forkserver(one, session)}
    return sorted(one.pid for one in living if one.parent in servers)


def _is_forkserver(process: Process, launcher: int) -> bool:
    return process.parent == launcher and "forkserver import main" in process.command


def left_after(session: int, seconds: float) -> list[Process]:
    """The processes of a session that still live so many seconds from now; killed then."""
    end = time.monotonic() + seconds
    while (left := of_session(session)) and time.monotonic() < end:
        time.sleep(0.05)
    kill_all(session)
    return left


def kill_all(session: int) -> None:
    """Kills every process of a session."""
    for process in of_session(session):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
