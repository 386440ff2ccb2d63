"""A launching process's own lease (`lease.py`): taken, renewed and given back.

A `Heartbeat` is given a store and the launch's owner. A thread of it renews the lease of the sweep
or single run until the `with` block ends.
"""

import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict

from optsweep.errors import OptsweepError, Unreachable
from optsweep.runs.lease import (
    INTERVAL,
    LOOK,
    STALE,
    TAG,
    Launches,
    Lease,
    fetched,
    in_use,
    lease_of,
    write,
)
from optsweep.runs.owner import Owner
from optsweep.system.environment import user
from optsweep.tracking.sending.outbox import ticket_of
from optsweep.tracking.store import Run, Store
from optsweep.tracking.tracked_run import TrackedRun

log = logging.getLogger(__name__)

_SETTLE = 1.0  # seconds after which one who took the lease at the same moment is seen
_PAUSE = 1.0  # seconds between two looks at whether a store that was away is back
_END = 5.0  # seconds that a renewal under way is waited for at the end


class Heartbeat:
    """Renews the lease of what a launch runs, from a thread, until its `with` block ends."""

    def __init__(self, store: Store, owner: Owner) -> None:
        self._store = store
        self._owner = owner
        self._since = self._renewed = time.time()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._run: TrackedRun | None = None

    def tags(self) -> dict[str, str]:
        """The lease as it is now: what a run is tagged with that is created or reopened."""
        who = self._owner.launch, os.getpid(), user(), socket.gethostname()
        return {TAG: json.dumps(asdict(Lease(*who, self._since, time.time())))}

    def claim(self, run: Run) -> Run:
        """Takes the lease of a run or sweep that is to be resumed; returns that as it is now.

        Raises:
            FolderError: another launch has it, or takes it at the same moment.
            TrackingError: the store does not answer.
        """
        launches, run_id = Launches(self._store, self._owner.launch), run.info.run_id
        launches.refuse_living(run)  # which may take a while
        began = time.monotonic()
        run = fetched(self._store, run_id)
        launches.refuse_living(run)
        write(self._store, run_id, {"optsweep.owner": self._owner.name, **self.tags()})
        # The last to write has it. One who was slow may have written after the other had looked,
        # who then renews it.
        time.sleep(_SETTLE if time.monotonic() - began < _SETTLE else LOOK)
        found = Lease.parse(lease_of(self._store, run_id))
        if found and found.launch != self._owner.launch:
            raise in_use(run, found)
        self._run = TrackedRun(self._store, run_id)
        return run

    def keep(self, run: TrackedRun) -> None:
        """Renews the lease of a run that was tagged with it, from now on."""
        self._run = run
        self._renewed = time.time()
        self._thread.start()

    def __enter__(self) -> "Heartbeat":
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_END)
        if self._run is not None:
            with suppress(OptsweepError):
                self._run.tag(lease="")

    def _beat(self) -> None:
        pause = INTERVAL
        while not self._ended.wait(pause) and self._run is not None:
            try:
                pause = INTERVAL if self._renew(self._run) else _PAUSE
            except Unreachable:
                self._store.connection.lost()
                pause = _PAUSE
            except Exception as failure:  # whatever it is, the next renewal may succeed
                log.warning("the lease was not renewed: %s", failure)
                pause = INTERVAL

    def _renew(self, run: TrackedRun) -> bool:
        """Renews the lease; returns False where the store is away, or has no such run yet."""
        if not self._store.connection.up or ticket_of(run_id := self._store.id_of(run.run_id)):
            return False
        if time.time() - self._renewed > STALE:  # the store was away, or this process stood still
            found = Lease.parse(lease_of(self._store, run_id))
            if found and found.fresh and found.launch != self._owner.launch:
                log.error("this was resumed in the meantime by %s; end one of the two", found)
                self._run = None  # the lease is theirs
                return True
        write(self._store, run_id, self.tags())
        self._renewed = time.time()
        return True
