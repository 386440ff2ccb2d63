"""What MLflow holds of a run and of a sweep, and how it gets there.

`Store.open` makes sure, before anything is trained, that the store answers and can be written,
and creates it and its experiment where they do not exist. `Store.start` gives a `TrackedRun`,
whose `log_epoch` costs one call an epoch. A store that goes away later stops nothing: what it
cannot take is kept in the run's folder (`outbox.py`) and sent when it answers again.
"""

import functools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 (half a second that `open` would pay)
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run as Run  # what `find` gives, for those who type it
from mlflow.exceptions import MlflowException

from optsweep.errors import CallFailed, StackFailed, TrackingError, Unreachable
from optsweep.system.locks import locked_if_allowed
from optsweep.system.redaction import redact, redacted
from optsweep.tracking import calls as sending
from optsweep.tracking import delivery, limits, new_store, outbox
from optsweep.tracking.address import absolute, refuse_unusable, sqlite_path
from optsweep.tracking.calls import DatasetInfo
from optsweep.tracking.connection import Connection
from optsweep.tracking.errors import explained
from optsweep.tracking.outbox import Call, Outbox
from optsweep.training.journal import Entry

log = logging.getLogger(__name__)

_CALL = 1000  # metrics that MLflow takes in one call
_OPENING = 120.0  # seconds that others, who open the same store, are waited for
_PAGE = 1000  # runs in one answer, which takes a busy server seconds


class Store:
    """An MLflow store, and the experiment in it that runs are filed under."""

    def __init__(self, uri: str, experiment_id: str, client: MlflowClient | None = None) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self.line = Connection(self._look)
        if client is not None:
            self.client = client

    def _look(self) -> None:
        refuse_unusable(self.uri)
        if not limits.settled():
            raise Unreachable("what was given up may still arrive")

    @functools.cached_property
    def client(self) -> MlflowClient:
        """MLflow's client; for a database it is made only once that answers."""
        if not self.uri.startswith("http"):
            try:
                refuse_unusable(self.uri)  # MLflow would try again for minutes
            except TrackingError as error:
                raise Unreachable(str(error)) from error
        return sending.connected(self.uri)

    @classmethod
    def open(cls, uri: str, experiment: str) -> "Store":
        """Opens the store at `uri`, creating it and its experiment where they do not exist.

        Raises:
            SettingsError: the address is of no known kind.
            TrackingError: it does not answer within `PATIENCE` seconds, cannot be written, or was
                written by another version of MLflow.
            FolderError: another process opens the same file and does not come to an end.
        """
        uri = absolute(uri)
        path = sqlite_path(uri)
        refuse_unusable(uri)
        with explained(uri):
            if path is None:
                client = sending.connected(uri)
                return cls(uri, _experiment_id(client, experiment, None), client)
            # MLflow sets up an empty database without a lock: of several that start together
            # on one, all but the first fail.
            with locked_if_allowed(path.with_name(f".{path.name}.lock"), _OPENING), _quiet():
                new_store.create(path)
                client = sending.connected(uri)
                artifacts = (path.parent / "mlartifacts").as_uri()
                return cls(uri, _experiment_id(client, experiment, artifacts), client)

    @classmethod
    def attach(cls, uri: str, experiment_id: str) -> "Store":
        """A store that another process opened, without looking at it again."""
        return cls(uri, experiment_id)

    def find(self, **tags: str) -> list[Run]:
        """The runs with these tags under `optsweep.`, newest first.

        `status=` and `parent=` look at a run's status and its parent's id.
        One query a page of runs. A store that is known to be away is not asked.

        Raises:
            Unreachable: the store does not answer.
            TrackingError: it fails.
        """
        if not self.line.up:
            raise Unreachable(f"the MLflow store {redact(self.uri)} does not answer")
        names = {"status": "attributes.status", "parent": "tags.`mlflow.parentRunId`"}
        wanted = " and ".join(
            f"{names.get(key, f'tags.`optsweep.{key}`')} = '{value}'" for key, value in tags.items()
        )
        runs: list[Run] = []
        token: str | None = None
        while True:
            with self._asking():
                page = self.client.search_runs(
                    [self.experiment_id], wanted, max_results=_PAGE, page_token=token
                )
            runs.extend(page)
            token = page.token
            if not token:
                return runs

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Explains errors, and notes that a store is away: the next to ask need not wait for it."""
        try:
            with explained(self.uri):
                yield
        except CallFailed:
            raise
        except Unreachable:
            self.line.lost()
            raise

    def download(self, run_id: str, folder: str, name: str, into: Path) -> Path:
        """Fetches one of a run's artifacts into a folder of this machine; returns where it lies.

        Raises:
            FileNotFoundError: the store has no such file.
            Unreachable: it does not answer.
            TrackingError: it fails.
        """
        wanted = f"{folder}/{name}".lstrip("/")
        with self._asking():
            listed = self.client.list_artifacts(run_id, folder or None)
            sizes = {entry.path: entry.file_size or 0 for entry in listed}
            if wanted in sizes:
                found = limits.bounded(
                    limits.seconds("download_artifacts", sizes[wanted], self.uri),
                    download_artifacts,
                    run_id=run_id,
                    artifact_path=wanted,
                    dst_path=str(into),
                    tracking_uri=self.uri,
                )
                return Path(found)
        raise FileNotFoundError(f"run {run_id} has no {wanted}")

    def end(
        self,
        run_id: str,
        status: str,
        error: str = "",
        output: str = "",
        folder: Path | None = None,
    ) -> None:
        """Ends a run whose own process cannot do it any more; `folder` is the run's."""
        tracked = TrackedRun(self, run_id, folder)
        if error:
            tracked.tag(error=error)
            tracked.log_text("error.txt", f"{error}\n\n{output}")
        tracked.end(status)

    @contextmanager
    def start(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
        run_id: str | None = None,
        folder: Path | None = None,
    ) -> Iterator["TrackedRun"]:
        """Creates a run, or reopens `run_id`, and ends it with the status that tells the truth.

        The run's `outcome`, FINISHED unless the block sets another, where the block ends by itself;
        KILLED where it is interrupted (Ctrl-C, SIGTERM), FAILED with the error as tag and artifact
        where it raises. The exception goes on.
        After `StackFailed` it stays as it is: RUNNING, for another task to go on with. With a
        `folder`, what the store cannot take is kept there; a run that it cannot create has an id
        of its own making, `pending-...`, until it can.
        """
        given = dict(tags or {})
        if parent is not None:
            given["mlflow.parentRunId"] = parent
        ticket = outbox.new_ticket()
        tracked = TrackedRun(self, run_id or outbox.pending_id(ticket), folder)
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
            raise  # the run goes on in another task
        except KeyboardInterrupt:
            tracked.end("KILLED")
            raise
        except BaseException as error:
            tracked.fail(error)
            raise
        tracked.end(tracked.outcome)

    def send(self, call: Call) -> str:
        """Tells the store one call; returns the id of its run.

        Raises:
            Unreachable: it does not answer; the call may have reached it or not.
            CallFailed: it failed at this call.
            TrackingError: it refuses.
        """
        with explained(self.uri):
            created = None
            if call["call"] == "create" and call["again"]:  # an earlier try may have reached it
                created = self.find_ticket(call["tags"]["optsweep.ticket"])
            run_id = created or sending.send(self.client, self.experiment_id, call)
        self.line.found()
        return run_id

    def id_of(self, run_id: str) -> str:
        """A run's id; where it was still to be created, the one that it has been given since."""
        ticket = outbox.ticket_of(run_id)
        return (ticket and self.find_ticket(ticket)) or run_id

    def find_ticket(self, ticket: str) -> str | None:
        """The id of the run that was created with a ticket; None where there is none."""
        found = self.find(ticket=ticket)
        return str(found[0].info.run_id) if found else None

    def deliver(
        self, folders: Sequence[Path], *, whole: bool = False, at_once: bool = False
    ) -> int:
        """Sends what these folders' outboxes hold; returns how many calls were sent.

        A folder whose outbox another process is sending is left to it, with a warning. What becomes
        of calls that the store does not take is in `delivery.py`.

        Raises:
            Unreachable: the store went away; what was not sent is still there.
            TrackingError: it did not take what the rest of a folder waits for.
        """
        return delivery.deliver(self, folders, whole=whole, at_once=at_once)


class TrackedRun:
    """One run in the store: where its params, metrics, dataset and files go.

    With a `folder`, what the store cannot take is kept there until it can. Without one, each
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
        self._tell("create", name=redact(name), tags=_shown(tags), again=False)

    def reopen(self, tags: Mapping[str, str]) -> None:
        """Makes the run a running one again, without the error that it ended with."""
        self._tell("reopen", tags=_shown(tags))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters under flat names; values as Python writes them."""
        shown = {key: str(value)[:6000] for key, value in redacted(dict(params)).items()}
        self._tell("params", params=shown)

    def log_dataset(self, note: DatasetInfo) -> None:
        """The dataset as an MLflow input, with the digest of its content and its splits' sizes.

        One input for all splits: MLflow keeps one dataset for a name and digest.
        """
        self._tell("dataset", note=asdict(note))

    def log_epoch(self, entry: Entry) -> None:
        """An epoch's metrics, and `batch/loss` by samples seen, in one call.

        NaN and infinity are left out: MLflow keeps infinity as 1.8e308, which no chart survives.
        The same entry logged twice gives each point once.
        """
        points = [(name, value, entry.time, entry.epoch) for name, value in entry.metrics.items()]
        points += [("batch/loss", loss, entry.time, seen) for seen, loss in entry.batches.items()]
        finite = [point for point in points if isfinite(point[1])]
        for first in range(0, len(finite), _CALL):
            self._tell("points", points=finite[first : first + _CALL])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Metrics that have no epoch (a sweep's best scores)."""
        self.log_epoch(Entry(0, _now(), metrics))

    def tag(self, **tags: str) -> None:
        """Tags under `optsweep.`; MLflow cuts a value at 8,000 characters."""
        self._tell("tags", tags={f"optsweep.{key}": text for key, text in _shown(tags).items()})

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """A file as an artifact, under `folder` where one is given."""
        self._tell("file", path=str(path.absolute()), folder=folder)

    def log_text(self, name: str, text: str) -> None:
        """A text as the artifact `name`."""
        self._tell("text", name=name, text=redact(text))

    def fail(self, error: BaseException) -> None:
        """Ends the run as FAILED, with the error as a tag and its traceback as an artifact."""
        import traceback

        with suppress(Exception):  # the store may be what failed; the first error is what counts
            self.tag(error=f"{type(error).__name__}: {error}")
            self.log_text("error.txt", "".join(traceback.format_exception(error)))
        self.end("FAILED")

    def end(self, status: str) -> None:
        """Ends the run with an MLflow status: FINISHED, FAILED or KILLED."""
        self._tell("end", status=status)

    def _tell(self, kind: str, **content: Any) -> None:
        """Tells the store, or keeps what it is to be told behind what it has not taken yet."""
        call = {"call": kind, "run_id": self.run_id, "time": _now(), **content}
        if self._outbox is None or self._folder is None:
            self.run_id = self.store.send(call)
            return
        kept = self._outbox.waiting or not self.store.line.up
        try:
            if kept:
                self._keep(call)
                if self.store.line.up:
                    self.store.deliver([self._folder])
            else:
                self.run_id = self.store.send(call | {"run_id": self._id()})
        except Unreachable as error:
            self.store.line.lost()
            if not self._outbox.waiting:
                self._keep(call)
                log.warning("%s; %s keeps what is to be sent", error, self._outbox.path)
        except TrackingError as error:
            if self._outbox.waiting or kind in delivery.FIRST:
                raise
            delivery.set_aside(self._outbox, self._filed(call), error)
        except KeyboardInterrupt:  # whether it reached the store nobody knows; twice does no harm
            if not kept:
                self._keep(call)
            raise

    def _id(self) -> str:
        """The run's id, which it may have been given by whoever sent what it had to wait with."""
        if outbox.ticket_of(self.run_id):
            self.run_id = self.store.id_of(self.run_id)
        return self.run_id

    def _keep(self, call: Call) -> None:
        assert self._outbox is not None
        self._outbox.add(self._filed(call))

    def _filed(self, call: Call) -> Call:
        filed = {"store": redact(self.store.uri), "experiment_id": self.store.experiment_id}
        return filed | call | {"run_id": self.run_id, "again": True}


def _shown(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without secrets, cut where MLflow would cut them."""
    return {key: redact(value)[:8000] for key, value in tags.items()}


def _now() -> int:
    return time.time_ns() // 1_000_000


def _experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # made by another process just now
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"tracking.experiment={name} was deleted from the store; restore it with "
            f"mlflow experiments restore -x {found.experiment_id}, or type another name"
        )
    return str(found.experiment_id)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps MLflow's notes on the tables that it creates from the terminal."""
    log = logging.getLogger("mlflow")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
