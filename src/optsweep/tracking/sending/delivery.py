"""Sending what outboxes hold, and setting aside what a store does not take.

While a store is away, its calls are kept in order. A store that answers may refuse a call, or
fail at it each time (HTTP status 500): such a call must not block those behind it. It is saved in
`refused.jsonl` beside the outbox, which the command `sync` sends again.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from optsweep.errors import CallFailed, FolderError, TrackingError, Unreachable
from optsweep.tracking.sending import outbox
from optsweep.tracking.sending.outbox import Call, Finder, Outbox
from optsweep.tracking.store import Store

log = logging.getLogger(__name__)

FIRST = ("create", "reopen")  # calls without which the others of their run are for nothing
_TRIES = 3  # how often a store may fail at a call, before it is passed over
_PAUSE = 0.5  # seconds between two tries, where they are made at once


def deliver(
    store: Store, folders: Sequence[Path], *, whole: bool = False, at_once: bool = False
) -> int:
    """Sends what these folders' outboxes hold; returns how many calls the store took.

    A call that names a run which is still to be created waits for it: a run for its sweep, a
    sweep for its best run. With `whole` there are no other folders, and nothing waits. A folder
    whose outbox another process is sending is left to it, with a warning.

    A call that the store refuses is set aside. One that it fails at is tried three times, once in
    each delivery or all `at_once`, and is set aside when a later one gets through: a store that
    fails at everything takes nothing, and nothing is set aside.

    Raises:
        Unreachable: the store went away; what was not sent is still there.
        TrackingError: it did not take what the rest of a folder waits for.
    """
    sent, failed = 0, dict[Path, TrackingError]()
    for wait in (True, True, False)[: 3 if whole else 2]:
        for folder in folders:
            if folder in failed:
                continue
            box = Outbox(folder)
            try:
                with box.taken() as calls:
                    for _ in _sent(store, calls, box, wait, at_once):
                        sent += 1
            except FolderError as error:  # left to the process, or the user, that has it
                log.warning("%s", error)
            except TrackingError as error:
                if isinstance(error, Unreachable) and not isinstance(error, CallFailed):
                    raise
                failed[folder] = type(error)(f"{box.path}: {error}")
    if failed:
        raise next(iter(failed.values()))
    return sent


def set_aside(box: Outbox, call: Call, error: TrackingError) -> None:
    """Keeps a call that the store did not take beside the outbox, and says so."""
    box.set_aside(call, str(error))
    log.warning("%s; the call is set aside in %s", error, box.refused)


def _sent(
    store: Store, calls: list[Call], box: Outbox, wait: bool, at_once: bool
) -> Iterator[Call]:
    """Sends calls and takes them from the list; gives those that the store took."""
    ids: dict[str, str | None] = {}

    def find(ticket: str) -> str | None:
        if ids.get(ticket) is None:
            ids[ticket] = store.find_ticket(ticket)
        return ids[ticket]

    passed = 0  # calls at the head that the store failed at too often
    while passed < len(calls):
        kept = calls[passed]
        call = _named(kept, find)
        if wait and outbox.waits_for_another(call):
            break
        try:
            run_id = store.send(call)
        except CallFailed as error:
            failure = error
            kept["tries"] = kept.get("tries", 0) + 1
            if kept["tries"] >= _TRIES and kept["call"] not in FIRST:
                passed += 1
            elif at_once and kept["tries"] < _TRIES:
                time.sleep(_PAUSE)
            else:
                raise
            continue
        except Unreachable:
            raise
        except TrackingError as error:
            if kept["call"] in FIRST:
                raise
            set_aside(box, calls.pop(passed), error)
            continue
        if _creates(call):
            ids[call["tags"]["optsweep.ticket"]] = run_id
        for other in calls[:passed]:
            set_aside(box, other, failure)
        del calls[: passed + 1]
        passed = 0
        yield call
    if passed:
        raise failure


def _named(call: Call, find: Finder) -> Call:
    """The call with the ids of runs that were created since."""
    if _creates(call):  # its own id is what it asks for
        return call | outbox.with_ids({"tags": call["tags"]}, find) | {"run_id": "", "again": True}
    return outbox.with_ids(call, find)


def _creates(call: Call) -> bool:
    return bool(call["call"] == "create")
