"""Runs that a dead launcher left RUNNING, and their true status.

`release_dead` is given a store, sends what such runs left in their outboxes, and marks as KILLED
those that are RUNNING still.
"""

import logging

from optsweep.errors import TrackingError, Unreachable
from optsweep.runs.lease import Launches
from optsweep.runs.owner import State
from optsweep.sweep.resume import folder_of
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import outboxes
from optsweep.tracking.store import Run, Store
from optsweep.tracking.tracked_run import end_run

log = logging.getLogger(__name__)


def release_dead(store: Store) -> None:
    """Marks as KILLED what a launcher that is gone left RUNNING; a living one's is not touched."""
    dead = _dead(store)
    owned = {folder for run in dead if (folder := folder_of(run))}
    if unsent := [found for folder in owned for found in outboxes(folder)]:
        try:  # their end may be in their outboxes
            deliver(store, unsent)
        except Unreachable:
            raise
        except TrackingError as error:
            log.warning("%s; unsent data stays in %s", error, unsent[0])
        dead = _dead(store)
    for run in dead:
        end_run(store, run.info.run_id, "KILLED")


def _dead(store: Store) -> list[Run]:
    """The runs that are RUNNING in the store while no living launch has them."""
    launches = Launches(store)
    return [
        run
        for run in store.find(status="RUNNING")
        if launches.state(run) in (State.GONE, State.SILENT)
    ]
