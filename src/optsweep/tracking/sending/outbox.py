"""The outbox: calls that a tracking store did not accept, kept in the run's folder, in order.

A call is plain data with the time it was made at, and belongs to a run. What is sent twice is
stored once: points and ends have their time, a run that is still to be created has a ticket, which
is its tag in the store. So a sender may die at any moment, and several may send side by side.

A call that the store refuses, or fails at each time, is set aside in a second file, so that it does
not block those behind it; the command `sync` sends it again.
"""

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optsweep.system import files
from optsweep.system.locks import locked

Call = dict[str, Any]
Finder = Callable[[str], str | None]  # the id of a ticket's run, where it was created

log = logging.getLogger(__name__)

NAME = "unsent.jsonl"
REFUSED = "refused.jsonl"  # what the store answered, and did not take
_POINTS = 1000  # metrics that MLflow takes in one call
# Seconds that another process is waited for, which sends what is kept: by who adds to it, and by
# who wants to send it too.
_KEEPING, _SENDING = 120.0, 5.0
_PENDING = re.compile(r"pending-([0-9a-f]{32})")


def new_ticket() -> str:
    """What a run is known by until the store has given it an id."""
    return uuid.uuid4().hex


def pending_id(ticket: str) -> str:
    """What stands for the id of a run that the store does not hold yet."""
    return f"pending-{ticket}"


def ticket_of(run_id: str) -> str | None:
    """The ticket of a run that was not created yet; None for an id of the store's own."""
    found = _PENDING.fullmatch(run_id)
    return found[1] if found else None


def with_ids(call: Call, find: Finder) -> Call:
    """The call with the ids of runs that were created since; `find` gives a ticket's, or None."""

    def known(found: re.Match[str]) -> str:
        return find(found[1]) or found[0]

    text = json.dumps(call)
    return dict(json.loads(_PENDING.sub(known, text))) if _PENDING.search(text) else call


def waits_for_another(call: Call) -> bool:
    """Whether a call names a run that the store does not hold yet."""
    return _PENDING.search(json.dumps(call)) is not None


class Outbox:
    """The calls of a folder that wait to be sent, oldest first, in a file of JSON lines."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = folder / f".{NAME}.lock"
        self.refused = folder / REFUSED
        self._refused_lock = folder / f".{REFUSED}.lock"

    @property
    def waiting(self) -> bool:
        """Whether there is anything to send."""
        return self.path.exists()

    @property
    def destination(self) -> tuple[str, str]:
        """The store's address, without a password, and the experiment that the calls are for."""
        first = next((call for path in (self.path, self.refused) for call in _read(path)), {})
        return str(first.get("store", "")), str(first.get("experiment_id", ""))

    def add(self, call: Call) -> None:
        """Keeps a call; once this returns, a crash of the process does not lose it.

        Raises:
            FolderError: another process does not stop sending what is kept.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._lock, _KEEPING):
            files.append(self.path, json.dumps(call))

    def set_aside(self, call: Call, reason: str) -> None:
        """Keeps a call that the store did not take, where it blocks no other."""
        self.refused.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._refused_lock, _KEEPING):
            files.append(self.refused, json.dumps(call | {"again": True, "refused": reason}))

    @property
    def reasons(self) -> list[str]:
        """Why the calls were set aside that are."""
        return [str(call.get("refused", "")) for call in _read(self.refused)]

    def take_back(self) -> None:
        """Puts what was set aside before what waits, for another try.

        Raises:
            FolderError: another process does not stop sending what is kept.
        """
        if not self.refused.exists():
            return
        with locked(self._lock, _SENDING), locked(self._refused_lock, _SENDING):
            calls = [
                {key: value for key, value in call.items() if key not in ("tries", "refused")}
                for path in (self.refused, self.path)
                for call in _read(path)
            ]
            _write(self.path, calls)
            self.refused.unlink(missing_ok=True)

    @contextmanager
    def taken(self) -> Iterator[list[Call]]:
        """The calls, for one sender at a time, which removes from the list what it has sent.

        Raises:
            FolderError: another process is sending them, or they are another user's.
        """
        with locked(self._lock, _SENDING):
            if not self.waiting:
                yield []
                return
            calls = list(joined(_read(self.path)))
            try:
                yield calls
            finally:
                _write(self.path, calls)


def _write(path: Path, calls: Iterable[Call]) -> None:
    lines = [json.dumps(call) + "\n" for call in calls]
    if lines:
        files.write(path, "".join(lines))
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> Iterator[Call]:
    if not path.exists():
        return
    for line in path.read_text(errors="replace").splitlines():
        try:
            call = json.loads(line)
        except ValueError:  # torn
            call = None
        if isinstance(call, dict) and "call" in call:
            yield call
        else:
            log.warning("%s: %d characters that are no call are left out", path, len(line))


def joined(calls: Iterable[Call]) -> Iterator[Call]:
    """The same calls with neighbouring points of a run in one, as many as MLflow takes at once."""
    last: Call | None = None
    for call in calls:
        fits = (
            last is not None
            and last["call"] == call["call"] == "points"
            and last["run_id"] == call["run_id"]
            and "tries" not in {*last, *call}  # one that fails does not drag others along
            and len(last["points"]) + len(call["points"]) <= _POINTS
        )
        if last is not None and fits:
            last = last | {"points": last["points"] + call["points"]}
            continue
        if last is not None:
            yield last
        last = call
    if last is not None:
        yield last


def outboxes(folder: Path, name: str = NAME) -> list[Path]:
    """The folders at and below `folder` that hold something to send, the outer ones first."""
    return sorted((path.parent for path in folder.rglob(name)), key=lambda path: len(path.parts))
