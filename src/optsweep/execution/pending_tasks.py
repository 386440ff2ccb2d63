"""The tasks that a cluster's executor holds: those that wait, and those that it owes a result for.

A sweep waits for each future, so none may stay unsettled, whatever the code that watches over it
raises: `Pending.settle` turns every exception into the future's, and `watch` answers every
exception of a watching thread, which it keeps alive.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

from optsweep.errors import StackFailed, TaskFailed
from optsweep.execution.executor import Crashed, Task
from optsweep.records.run import RunRecord

log = logging.getLogger(__name__)

Records = list[RunRecord]
Batch = list[tuple[Task, "Future[Records]"]]
_Key = TypeVar("_Key", bound=Hashable)


class Pending(Generic[_Key]):
    """Tasks that wait, and the futures of those that were sent, by the key that each was given.

    At most `most` are sent at a time, of all that the sweep ever adds.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most or sys.maxsize
        self._waiting: deque[tuple[Task, Future[Records]]] = deque()
        self._sent: dict[_Key, Future[Records]] = {}
        self._lock = threading.Lock()

    def add(self, task: Task) -> "Future[Records]":
        """Takes a task, which waits until `next` gives it."""
        future: Future[Records] = Future()
        future.set_running_or_notify_cancel()
        self._waiting.append((task, future))
        return future

    def next(self, count: int) -> Batch:
        """The tasks to be sent now, in their order, at most `count`; none where there are none."""
        count = min(count, self._most - len(self._sent), len(self._waiting))
        return [self._waiting.popleft() for _ in range(count)]

    def put_back(self, batch: Batch) -> None:
        """Lets tasks that could not be sent wait on, before all others."""
        self._waiting.extendleft(reversed(batch))

    def sent(self, key: _Key, future: "Future[Records]") -> None:
        """A task was sent; its future is settled by the key."""
        with self._lock:
            self._sent[key] = future

    def keys(self) -> list[_Key]:
        """What was sent and has no result yet."""
        with self._lock:
            return list(self._sent)

    def settle(self, key: _Key, outcome: Callable[[], Records]) -> None:
        """Settles a future by what `outcome` returns or raises; what is not owed is left alone."""
        with self._lock:
            future = self._sent.pop(key, None)
        if future is None:
            return
        try:
            future.set_result(outcome())
        except (Crashed, StackFailed, TaskFailed) as error:
            future.set_exception(error)
        except Exception as error:
            log.exception("the result of %s cannot be read", key)
            future.set_exception(Crashed(f"its result cannot be read: {last_line(error)}"))

    def fail(
        self, keys: Sequence[_Key], reason: str, end: Callable[[], object] = lambda: None
    ) -> None:
        """Settles futures as those of tasks that crashed, once `end` has ended what was sent."""
        with self._lock:
            futures = [self._sent.pop(key) for key in keys if key in self._sent]
        try:
            end()
        finally:
            for future in futures:
                future.set_exception(Crashed(reason))

    def forget(self) -> list[_Key]:
        """Drops all tasks; returns what was sent, whose results nobody waits for any more."""
        with self._lock:
            sent = list(self._sent)
            self._sent.clear()
        self._waiting.clear()
        return sent


def watch(
    look: Callable[[], None], every: float, closing: threading.Event, fail: Callable[[str], None]
) -> threading.Thread:
    """Calls `look` every so many seconds in a thread, until `closing` is set.

    An `OSError` is a moment of the shared storage's, said once. Any other exception is a fault of
    the program's: `fail` is given the reason, to settle what nobody would watch over.
    """

    def run() -> None:
        said = ""
        while not closing.wait(every):
            try:
                look()
            except OSError as error:
                if said != (said := str(error)):
                    log.warning("%s; trying again", error)
            except Exception as error:
                log.exception("watching over the sweep's tasks failed")
                with suppress(Exception):  # whatever it is, the next look comes
                    fail(f"watching over it failed: {last_line(error)}")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def last_line(said: object) -> str:
    """The last line of what an error or a command said; an error without a word is its name."""
    lines = [line.strip() for line in str(said).splitlines() if line.strip(" -")]
    if lines:
        return lines[-1]
    return type(said).__name__ if isinstance(said, BaseException) else "it gave no reason"


def ended_within(seconds: float, action: Callable[[], None]) -> bool:
    """Whether an action ended in time; one that did not is left behind, in its thread."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            action()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    for error in errors:
        log.warning("%s", last_line(error))
    return not thread.is_alive() and not errors
