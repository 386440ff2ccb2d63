"""One run in the store: logs its params, metrics, dataset and files, and ends it.

`start_run` creates or reopens a run, hands on a `TrackedRun`, and sets its status at the end. What
the store does not accept waits in the run's outbox.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from optsweep.errors import StackFailed, TrackingError, Unreachable
from optsweep.system.redaction import redact, redacted
from optsweep.tracking.sending import delivery, outbox
from optsweep.tracking.sending.calls import DatasetInfo
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import Call, Outbox
from optsweep.tracking.store import Store
from optsweep.training.epoch_journal import Entry

log = logging.getLogger(__name__)

DESCRIPTION = "mlflow.note.content"  # the tag that MLflow's page shows as a run's description
_CALL = 1000  # metrics that MLflow takes in one call


class TrackedRun:
    """One run in the store, to which params, metrics, a dataset and files are logged.

    With a `folder`, calls that the store does not accept wait there. Without one, each
    method raises `TrackingError` where the store does not answer.
    """

    def __init__(self, store: Store, run_id: str, folder: Path | None = None) -> None:
        self.run_id = run_id
        self.store = store
        self.outcome = "FINISHED"  # what the run ends with where nothing is raised
        self._folder = folder
        self._outbox = Outbox(folder) if folder is not None else None

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        """Creates the run in the store."""
        self._send("create", name=redact(name), tags=redacted_tags(tags), again=False)

    def reopen(self, tags: Mapping[str, str]) -> None:
        """Makes the run a running one again, without the error that it ended with."""
        self._send("reopen", tags=redacted_tags(tags))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters under flat names; values as Python writes them."""
        shown = {key: str(value)[:6000] for key, value in redacted(dict(params)).items()}
        self._send("params", params=shown)

    def log_dataset(self, info: DatasetInfo) -> None:
        """The dataset as an MLflow input, with the digest of its content and its splits' sizes.

        One input for all splits: MLflow keeps one dataset for a name and digest.
        """
        self._send("dataset", dataset=asdict(info))

    def log_epoch(self, entry: Entry) -> None:
        """An epoch's metrics, and `batch/loss` by samples seen, in one call.

        NaN and infinity are left out: MLflow keeps infinity as 1.8e308, which no chart survives.
        The same entry logged twice gives each point once.
        """
        points = [(name, value, entry.time, entry.epoch) for name, value in entry.metrics.items()]
        points += [("batch/loss", loss, entry.time, seen) for seen, loss in entry.batches.items()]
        finite = [point for point in points if isfinite(point[1])]
        for first in range(0, len(finite), _CALL):
            self._send("points", points=finite[first : first + _CALL])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Metrics that have no epoch (a sweep's best scores)."""
        self.log_epoch(Entry(0, _now(), metrics))

    def tag(self, **tags: str) -> None:
        """Tags under `optsweep.`; MLflow cuts a value at 8,000 characters."""
        self._send(
            "tags", tags={f"optsweep.{key}": text for key, text in redacted_tags(tags).items()}
        )

    def describe(self, text: str) -> None:
        """The run's description in MLflow's page, in Markdown."""
        self._send("tags", tags=redacted_tags({DESCRIPTION: text}))

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """A file as an artifact, under `folder` where one is given."""
        self._send("file", path=str(path.absolute()), folder=folder)

    def log_texts(self, texts: Mapping[str, str], folder: str | None = None) -> None:
        """Texts as artifacts, by their names, under `folder` where one is given."""
        shown = {name: redact(text) for name, text in texts.items()}
        self._send("texts", texts=shown, folder=folder)

    def fail(self, error: BaseException) -> None:
        """Ends the run as FAILED, with the error as a tag and its traceback as an artifact."""
        import traceback

        with suppress(Exception):  # the store may be what failed; the first error is what counts
            self.tag(error=f"{type(error).__name__}: {error}")
            self.log_texts({"error.txt": "".join(traceback.format_exception(error))})
        self.end("FAILED")

    def end(self, status: str) -> None:
        """Ends the run with an MLflow status: FINISHED, FAILED or KILLED."""
        self._send("end", status=status)

    def _send(self, kind: str, **content: Any) -> None:
        """Sends a call to the store, or puts it into the outbox behind those that wait there."""
        call = {"call": kind, "run_id": self.run_id, "time": _now(), **content}
        if self._outbox is None or self._folder is None:
            self.run_id = self.store.send(call)
            return
        kept = self._outbox.waiting or not self.store.connection.up
        try:
            if kept:
                self._keep(call)
                if self.store.connection.up:
                    deliver(self.store, [self._folder])
            else:
                # A run that is still to be created is not in the store: it is not searched there.
                known = {} if kind == "create" else {"run_id": self._id()}
                self.run_id = self.store.send(call | known)
        except Unreachable as error:
            self.store.connection.lost()
            if not self._outbox.waiting:
                self._keep(call)
                log.warning("%s; unsent data is saved in %s", error, self._outbox.path)
        except TrackingError as error:
            if self._outbox.waiting or kind in delivery.FIRST:
                raise
            delivery.set_aside(self._outbox, self._addressed(call), error)
        except KeyboardInterrupt:  # whether it reached the store nobody knows; twice does no harm
            if not kept:
                self._keep(call)
            raise

    def _id(self) -> str:
        """The run's id, which it may have got from a process that sent its outbox."""
        if outbox.ticket_of(self.run_id):
            self.run_id = self.store.id_of(self.run_id)
        return self.run_id

    def _keep(self, call: Call) -> None:
        assert self._outbox is not None
        self._outbox.add(self._addressed(call))

    def _addressed(self, call: Call) -> Call:
        address = {"store": redact(self.store.uri), "experiment_id": self.store.experiment_id}
        return address | call | {"run_id": self.run_id, "again": True}


def end_run(
    store: Store,
    run_id: str,
    status: str,
    error: str = "",
    output: str = "",
    folder: Path | None = None,
) -> None:
    """Ends a run whose own process cannot do it any more; `folder` is the run's."""
    tracked = TrackedRun(store, run_id, folder)
    if error:
        tracked.tag(error=error)
        tracked.log_texts({"error.txt": f"{error}\n\n{output}"})
    tracked.end(status)


@contextmanager
def start_run(
    store: Store,
    name: str,
    *,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
    run_id: str | None = None,
    folder: Path | None = None,
) -> Iterator[TrackedRun]:
    """Creates a run, or reopens `run_id`, and ends it with its true status.

    The status is the run's `outcome`, FINISHED unless the block sets another, where the block ends
    by itself; KILLED where it is interrupted (Ctrl-C, SIGTERM); FAILED, with the error as tag and
    artifact, where it raises. The exception is raised again. After `StackFailed` the run stays
    RUNNING, for another task to continue. With a `folder`, what the store does not accept is kept
    there; a run that it cannot create has the id `pending-...` until it can.
    """
    given = dict(tags or {})
    if parent is not None:
        given["mlflow.parentRunId"] = parent
    ticket = outbox.new_ticket()
    tracked = TrackedRun(store, run_id or outbox.pending_id(ticket), folder)
    try:
        if run_id:
            tracked.reopen(given)
        else:
            tracked.create(name, given | {"optsweep.ticket": ticket})
    except KeyboardInterrupt:
        if folder is not None:  # where the call is kept that may have reached the store
            tracked.end("KILLED")
        raise
    try:
        if not run_id:
            tracked.log_params(params or {})
        yield tracked
    except StackFailed:
        raise  # the run continues in another task
    except KeyboardInterrupt:
        tracked.end("KILLED")
        raise
    except BaseException as error:
        tracked.fail(error)
        raise
    tracked.end(tracked.outcome)


def _now() -> int:
    return time.time_ns() // 1_000_000


def redacted_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without secrets, cut where MLflow would cut them."""
    return {key: redact(value)[:8000] for key, value in tags.items()}
