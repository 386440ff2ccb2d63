"""How long each call to a store may take, and how that is enforced.

`bounded` runs a call in another thread and waits for it as long as `SECONDS` allows: nothing else
ends in time on every kind of store. HTTP timeouts count from one piece of an answer to the
next, and a database that was stopped in the middle of a query has none at all. What is given up
may still reach the store; calls can be sent twice (see `sending/outbox.py`).

A user who sets MLFLOW_HTTP_REQUEST_TIMEOUT above `REQUEST` widens all limits by the same factor.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

PATIENCE = 5.0  # seconds until a server that does not answer counts as out of reach
REQUEST = 30  # seconds that a server may take for a piece of its answer
_OTHER = "any other"
SECONDS = {
    "search_runs": 15.0,  # a page of runs
    "get_metric_history": 30.0,  # many points, of many runs
    "download_artifacts": 30.0,  # and the time of its size
    "open": 120.0,  # creating a database
    _OTHER: 8.0,  # what training and Ctrl-C wait for
}
_PACE = 2**20  # bytes a second that a file is sent with, at least
_LOCKED = 25.0  # seconds: MLflow waits for 20 until an sqlite file is free
_GRACE = 1.0  # seconds that an interrupt leaves a call under way, which is most often done then

# MLflow reads these at each call. Its own retries would outlast a call that was given up.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST))
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("PGCONNECT_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # our own is shown

_P = ParamSpec("_P")
_T = TypeVar("_T")

_writes: dict[object, float] = {}  # calls under way that change a store, and when they began


class Overdue(Exception):
    """A store gave no answer in time."""


def seconds(call: str, size: int = 0, uri: str = "") -> float:
    """How long a call may take; `size` is that of a file in bytes, `call` a method of MLflow's."""
    given = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "")
    factor = max(1.0, int(given) / REQUEST) if given.isdigit() else 1.0
    longest = SECONDS.get(call, SECONDS[_OTHER]) + size / _PACE
    return factor * (max(longest, _LOCKED) if uri.startswith("sqlite") else longest)


class _Thread:
    """A thread for one call after another.

    It is kept once it is there. To start one for each call costs more, and Python hangs where
    memory runs out while a thread starts.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._serve, name="store", daemon=True).start()

    def run(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def _serve(self) -> None:
        while True:
            self._calls.get()()
            _idle.append(self)


_idle: list[_Thread] = []
os.register_at_fork(after_in_child=_idle.clear)  # a forked process has none of these threads
_inside: ContextVar[bool] = ContextVar("inside", default=False)


def bounded(longest: float, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What the call returns or raises, within `longest` seconds.

    Within another bounded call, that one's limit holds.

    Raises:
        Overdue: it is not done by then; its thread continues.
    """
    if _inside.get():
        return call(*args, **kwargs)
    results: list[_T] = []
    errors: list[BaseException] = []
    done = threading.Event()
    context = copy_context()
    context.run(_inside.set, True)

    def work() -> None:
        try:
            results.append(context.run(call, *args, **kwargs))
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    try:
        thread = _idle.pop()
    except IndexError:
        thread = _Thread()
    thread.run(work)
    try:
        done.wait(longest)
    except BaseException:  # Ctrl-C, SIGTERM, an alarm
        done.wait(_GRACE)
        raise
    if errors:
        raise errors.pop()
    if not results:
        raise Overdue(f"no answer within {longest:g} s")
    return results.pop()


@contextmanager
def writing() -> Iterator[None]:
    """Counts a call that changes a store as under way, also when its caller gave it up."""
    key = object()
    _writes[key] = time.monotonic()
    try:
        yield
    finally:
        del _writes[key]


def settled() -> bool:
    """Whether no call that changes a store is under way, but for those of minutes ago.

    Before, a call that is sent again could arrive twice at once.
    """
    return all(time.monotonic() - began > 4 * REQUEST for began in list(_writes.values()))
