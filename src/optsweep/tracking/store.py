"""An MLflow store: opened, searched, and sent calls.

`Store.open` makes sure, before anything is trained, that the store answers and can be written,
and creates it and its experiment where they do not exist. `find` returns runs by their tags, `send`
sends one call. A store that goes away later stops nothing: see `tracked_run.py` and
`sending/outbox.py`.
"""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 (half a second that `open` would pay)
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run as Run  # what `find` gives, for those who type it
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from optsweep.errors import CallFailed, TrackingError, Unreachable
from optsweep.system.locks import locked_if_allowed
from optsweep.system.redaction import redact
from optsweep.tracking import timeouts
from optsweep.tracking.address import absolute, refuse_unusable, sqlite_path
from optsweep.tracking.errors import explained
from optsweep.tracking.new_store import create_sqlite_store
from optsweep.tracking.sending import calls, outbox
from optsweep.tracking.sending.outbox import Call
from optsweep.tracking.sending.reconnecting import Connection

log = logging.getLogger(__name__)

_OPENING = 120.0  # seconds that others, who open the same store, are waited for
_PAGE = 1000  # runs in one answer, which takes a busy server seconds


class Store:
    """An MLflow store, and the experiment in it that runs belong to."""

    def __init__(self, uri: str, experiment_id: str, client: MlflowClient | None = None) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self.connection = Connection(self._look)
        if client is not None:
            self.client = client

    def _look(self) -> None:
        refuse_unusable(self.uri)
        if not timeouts.settled():
            raise Unreachable("what was given up may still arrive")

    @functools.cached_property
    def client(self) -> MlflowClient:
        """MLflow's client; for a database it is made only once that answers."""
        if not self.uri.startswith("http"):
            try:
                refuse_unusable(self.uri)  # MLflow would try again for minutes
            except TrackingError as error:
                raise Unreachable(str(error)) from error
        return calls.connected(self.uri)

    @classmethod
    def open(cls, uri: str, experiment: str) -> "Store":
        """Opens a store, creating it and its experiment where they do not exist.

        Args:
            uri: its address: of a server, of a database, or of an sqlite file.
            experiment: the name of the experiment that runs belong to.

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
                client = calls.connected(uri)
                return cls(uri, _experiment_id(client, experiment, None), client)
            # MLflow sets up an empty database without a lock: of several that start together
            # on one, all but the first fail.
            lock = path.with_name(f".{path.name}.lock")
            with locked_if_allowed(lock, _OPENING), quiet(logging.WARNING):
                create_sqlite_store(path)
                client = calls.connected(uri)
                artifacts = (path.parent / "mlartifacts").as_uri()
                return cls(uri, _experiment_id(client, experiment, artifacts), client)

    @classmethod
    def existing(cls, uri: str, experiment: str) -> "Store | None":
        """A store as `open` opens it, where it and its experiment exist; it creates neither.

        Raises:
            SettingsError: the address is of no known kind.
            TrackingError: it does not answer, or was written by another version of MLflow.
        """
        uri = absolute(uri)
        path = sqlite_path(uri)
        if path is not None and not path.exists():
            return None
        refuse_unusable(uri)
        with explained(uri):
            client = calls.connected(uri)
            found = client.get_experiment_by_name(experiment)
        return None if found is None else cls(uri, str(found.experiment_id), client)

    @classmethod
    def attach(cls, uri: str, experiment_id: str) -> "Store":
        """A store that another process opened, without looking at it again."""
        return cls(uri, experiment_id)

    def find(self, **tags: str) -> list[Run]:
        """The runs with these tags under `optsweep.`, newest first, at one query for 1,000 of them.

        A store that is known to be away is not asked.

        Args:
            tags: their values by name; `status` and `parent` are a run's status and parent's id.

        Raises:
            Unreachable: the store does not answer.
            TrackingError: it fails.
        """
        self._refuse_away()
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

    def run(self, run_id: str) -> Run | None:
        """The run with an id, of any experiment; None where there is none.

        A store that is known to be away is not asked.

        Raises:
            Unreachable: the store does not answer.
            TrackingError: it fails.
        """
        self._refuse_away()
        with self._asking():
            try:
                return self.client.get_run(run_id)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

    def _refuse_away(self) -> None:
        if not self.connection.up:
            raise Unreachable(f"the MLflow store {redact(self.uri)} does not answer")

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Explains errors, and marks a store that is away: the next to ask need not wait for it."""
        try:
            with explained(self.uri):
                yield
        except CallFailed:
            raise
        except Unreachable:
            self.connection.lost()
            raise

    def download(self, run_id: str, folder: str, name: str, into: Path) -> Path:
        """Fetches one of a run's artifacts.

        Args:
            run_id: the run's id.
            folder: the folder among its artifacts; "" for the topmost.
            name: the file's name there.
            into: the folder of this machine that gets it.

        Returns:
            Where it lies.

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
                found = timeouts.bounded(
                    timeouts.seconds("download_artifacts", sizes[wanted], self.uri),
                    download_artifacts,
                    run_id=run_id,
                    artifact_path=wanted,
                    dst_path=str(into),
                    tracking_uri=self.uri,
                )
                return Path(found)
        raise FileNotFoundError(f"run {run_id} has no {wanted}")

    def delete_artifacts(self, run_id: str, folder: str) -> None:
        """Removes a folder of a run's artifacts; MLflow's client offers no call for it."""
        address = self.client.get_run(self.id_of(run_id)).info.artifact_uri
        repository: Any = get_artifact_repository(str(address))
        timeouts.bounded(timeouts.seconds("delete_artifacts"), repository.delete_artifacts, folder)

    def send(self, call: Call) -> str:
        """Sends the store one call.

        Args:
            call: plain data (see `sending/outbox.py`); sent twice, it is stored once.

        Returns:
            The id of its run.

        Raises:
            Unreachable: it does not answer; the call may have reached it or not.
            CallFailed: it failed at this call.
            TrackingError: it refuses.
        """
        with explained(self.uri):
            created = None
            if call["call"] == "create" and call["again"]:  # an earlier try may have reached it
                created = self.find_ticket(call["tags"]["optsweep.ticket"])
            run_id = created or calls.send(self.client, self.experiment_id, call)
        self.connection.found()
        return run_id

    def id_of(self, run_id: str) -> str:
        """A run's id; where it was still to be created, the one that it has been given since."""
        ticket = outbox.ticket_of(run_id)
        return (ticket and self.find_ticket(ticket)) or run_id

    def find_ticket(self, ticket: str) -> str | None:
        """The id of the run that was created with a ticket; None where there is none."""
        found = self.find(ticket=ticket)
        return str(found[0].info.run_id) if found else None


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
def quiet(least: int) -> Iterator[None]:
    """Keeps what MLflow logs below a level from the terminal: its notes on tables, its hints."""
    log = logging.getLogger("mlflow")
    level = log.level
    log.setLevel(least)
    try:
        yield
    finally:
        log.setLevel(level)
