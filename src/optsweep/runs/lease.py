"""A launch's lease: a tag in the store that it renews while it lives, for launchers elsewhere.

The launching process renews the lease of its sweep, or of its single run, every 30 s
(`heartbeat.py`); a sweep's runs share it. One that was not renewed for 5 minutes has run out. Its
time is by the clock of the process that renews it, so clocks may differ by 4 minutes. A launch
that was silent because the store was away renews at once when it is back. So what has run out is
marked as KILLED, which a launch that lives corrects at its end; but before it is resumed, its lease
is looked at twice, 45 s apart.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from optsweep.errors import FolderError, TrackingError, Unreachable
from optsweep.runs.owner import State, launch_of, state_by_lock
from optsweep.tracking.errors import explained
from optsweep.tracking.store import Run, Store

log = logging.getLogger(__name__)

TAG = "optsweep.lease"
INTERVAL = 30.0  # seconds between two renewals
STALE = 300.0  # seconds without one, after which a lease has run out
LOOK = 45.0  # seconds between two looks at one that has run out: longer than INTERVAL


@dataclass(frozen=True)
class Lease:
    """Who holds a lease, since when, and when they renewed it last (seconds of their clock)."""

    launch: str
    pid: int
    user: str
    host: str
    since: float
    renewed: float

    @classmethod
    def parse(cls, text: str | None) -> "Lease | None":
        """The lease that a tag holds; None in one that was given back."""
        try:
            return cls(**json.loads(text or ""))
        except (ValueError, TypeError):
            return None

    @property
    def fresh(self) -> bool:
        """Whether it has not run out."""
        return time.time() - self.renewed < STALE

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        ago = max(0.0, time.time() - self.renewed)
        return (
            f"process {self.pid} of {self.user} on {self.host}, since {since} "
            f"(last sign of life {ago:.0f} s ago)"
        )


class Launches:
    """Whether the launches that left runs in a store still live; `own` is this one's id."""

    def __init__(self, store: Store, own: str = "") -> None:
        self._store = store
        self._own = own
        self._since = time.monotonic()
        self._sweeps: dict[str, dict[str, str]] = {}  # the leases of sweeps, by their ids
        self._by_lock: dict[str, State] = {}

    def state(self, run: Run) -> State:
        """Whether the launch that runs it, by the run's tags, lives."""
        owner = run.data.tags.get("optsweep.owner", "")
        if not owner:
            return State.UNKNOWN
        if owner not in self._by_lock:
            self._by_lock[owner] = state_by_lock(owner)
        if self._by_lock[owner] is not State.UNKNOWN:
            return self._by_lock[owner]
        texts = self._texts(run)
        if not texts:  # an earlier version keeps none
            return State.UNKNOWN
        for lease in map(Lease.parse, texts.values()):
            if lease and lease.launch == launch_of(owner):
                return State.ALIVE if lease.fresh else State.SILENT
        return State.GONE  # given back, or another launch has resumed the sweep

    def refuse_living(self, run: Run) -> None:
        """Makes sure that nobody else runs what is to be resumed.

        Raises:
            FolderError: somebody does.
        """
        if found := self.living(run):
            raise in_use(run, found)

    def living(self, run: Run) -> Lease | None:
        """Who runs it, other than this launch; None where nobody does, as far as is known."""
        texts, dead = self._texts(run), ""
        if self.state(run) is State.GONE:
            dead = launch_of(run.data.tags.get("optsweep.owner", ""))
        held = {run_id: Lease.parse(text) for run_id, text in texts.items()}
        others = {
            run_id: lease
            for run_id, lease in held.items()
            if lease and lease.launch not in (self._own, dead)
        }
        if others and not any(lease.fresh for lease in others.values()):
            others = self._renewed(others)
        return next((lease for lease in others.values() if lease.fresh), None)

    def _renewed(self, silent: Mapping[str, Lease]) -> dict[str, Lease]:
        """Those leases, by runs, that change while they are watched; the others are ended."""
        for lease in silent.values():
            log.warning("waiting %.0f s for %s, which may still be there", LOOK, lease)
        time.sleep(max(0.0, self._since + LOOK - time.monotonic()))
        renewed = {}
        for run_id, lease in silent.items():
            found = Lease.parse(lease_of(self._store, run_id))
            if found and found != lease:
                renewed[run_id] = found
            else:
                write(self._store, run_id, {TAG: ""})
                self._sweeps.pop(run_id, None)
        return renewed

    def _texts(self, run: Run) -> dict[str, str]:
        """The lease tags of a run and of its sweep, by their ids, where they have one."""
        texts = {run.info.run_id: run.data.tags[TAG]} if TAG in run.data.tags else {}
        if parent := run.data.tags.get("mlflow.parentRunId"):
            if parent not in self._sweeps:
                text = lease_of(self._store, parent)
                self._sweeps[parent] = {} if text is None else {parent: text}
            texts |= self._sweeps[parent]
        return texts


def in_use(run: Run, lease: Lease) -> FolderError:
    """The error of who would resume what another launch runs."""
    return FolderError(
        f"{run.info.run_name}: is in use by {lease}; wait for its end, or end it and try again; "
        f"one that gives no sign of life for {STALE / 60:g} minutes counts as ended"
    )


def fetched(store: Store, run_id: str) -> Run:
    """A run as the store has it now.

    Raises:
        TrackingError: the store does not answer, or has no such run.
    """
    with explained(store.uri):
        return store.client.get_run(run_id)


def lease_of(store: Store, run_id: str) -> str | None:
    """The text of a run's lease tag as the store has it now; None where it has none.

    Raises:
        Unreachable: the store does not answer.
    """
    try:
        return fetched(store, run_id).data.tags.get(TAG)
    except Unreachable:
        raise
    except TrackingError:  # there is no such run
        return None


def write(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Sets a run's tags now or not at all: an old lease is of no use.

    Raises:
        TrackingError: the store does not answer, or refuses.
    """
    with explained(store.uri):
        for key, value in tags.items():
            store.client.set_tag(run_id, key, value)
