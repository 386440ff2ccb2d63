"""What MLflow holds of a run and of a sweep; the only file that imports mlflow.

`Store.open` makes sure, before anything is trained, that the store answers and can be written,
and creates it and its experiment where they do not exist. `Store.start` gives a `TrackedRun`,
whose `log_epoch` costs one call an epoch.
"""

import functools
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no calls home, least of all offline

import mlflow.store.tracking.sqlalchemy_store  # half a second that `open` would pay else
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as Run  # what `find` gives, for those who type it
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from optsweep.address import absolute, refuse_unusable, sqlite_path
from optsweep.checks import redact
from optsweep.errors import StackFailed, TrackingError
from optsweep.results import Entry

_CALL = 1000  # metrics that MLflow takes in one call


@dataclass(frozen=True)
class DatasetNote:
    """What MLflow shows of a run's dataset."""

    name: str
    digest: str
    source: str
    shape: Sequence[int]
    samples: Mapping[str, int]


class Store:
    """An MLflow store that answers, and the experiment in it that runs are filed under."""

    def __init__(self, uri: str, experiment_id: str, client: MlflowClient) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self.client = client

    @classmethod
    def open(cls, uri: str, experiment: str) -> "Store":
        """Opens the store at `uri`, creating it and its experiment where they do not exist.

        Raises:
            SettingsError: the address is of no known kind.
            TrackingError: it does not answer within `PATIENCE` seconds, cannot be written, or was
                written by another version of MLflow.
        """
        uri = absolute(uri)
        path = sqlite_path(uri)
        refuse_unusable(uri)
        with _explained(uri):
            if path is None:
                client = MlflowClient(uri)
                return cls(uri, _experiment_id(client, experiment, None), client)
            # MLflow sets up an empty database without a lock: of several that start together
            # on one, all but the first fail.
            with FileLock(path.with_name(f".{path.name}.lock")), _quiet():
                client = MlflowClient(uri)
                artifacts = (path.parent / "mlartifacts").as_uri()
                return cls(uri, _experiment_id(client, experiment, artifacts), client)

    @classmethod
    def attach(cls, uri: str, experiment_id: str) -> "Store":
        """A store that another process opened, without looking at it again."""
        return cls(uri, experiment_id, MlflowClient(uri))

    def find(self, **tags: str) -> list[Run]:
        """The runs with these tags under `optsweep.`, newest first.

        `status=` and `parent=` look at a run's status and its parent's id.
        One query a page of 10,000 runs, however many there are.
        """
        names = {"status": "attributes.status", "parent": "tags.`mlflow.parentRunId`"}
        wanted = " and ".join(
            f"{names.get(key, f'tags.`optsweep.{key}`')} = '{value}'" for key, value in tags.items()
        )
        runs: list[Run] = []
        with _explained(self.uri):
            token: str | None = None
            while True:
                page = self.client.search_runs(
                    [self.experiment_id], wanted, max_results=10_000, page_token=token
                )
                runs.extend(page)
                token = page.token
                if not token:
                    return runs

    def end(self, run_id: str, status: str, error: str = "", output: str = "") -> None:
        """Ends a run whose own process cannot do it any more."""
        tracked = TrackedRun(self, run_id)
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
    ) -> Iterator["TrackedRun"]:
        """Creates a run, or reopens `run_id`, and ends it with the status that tells the truth.

        FINISHED where the block ends by itself, KILLED where it is interrupted (Ctrl-C,
        SIGTERM), FAILED with the error as tag and artifact where it raises. The exception goes on.
        After `StackFailed` it stays as it is: RUNNING, for another task to go on with.
        """
        given = dict(tags or {})
        if parent is not None:
            given["mlflow.parentRunId"] = parent
        with _explained(self.uri):
            tracked = self._reopened(run_id, given) if run_id else self._created(name, given)
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
        tracked.end("FINISHED")

    def _created(self, name: str, tags: Mapping[str, str]) -> "TrackedRun":
        run = self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags))
        return TrackedRun(self, run.info.run_id)

    def _reopened(self, run_id: str, tags: Mapping[str, str]) -> "TrackedRun":
        self.client.update_run(run_id, status="RUNNING")
        if "optsweep.error" in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, "optsweep.error")
        entries = [RunTag(key, value) for key, value in tags.items()]
        self.client.log_batch(run_id, tags=entries)
        return TrackedRun(self, run_id)


def _explains(method: Callable[..., None]) -> Callable[..., None]:
    """The store's errors inside a method of `TrackedRun`, as one line."""

    @functools.wraps(method)
    def explained(self: "TrackedRun", *args: Any, **kwargs: Any) -> None:
        with _explained(self.store.uri):
            method(self, *args, **kwargs)

    return explained


class TrackedRun:
    """One run in the store: where its params, metrics, dataset and files go."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.run_id = run_id
        self.store = store
        self._client = store.client

    @_explains
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters under flat names; values as Python writes them."""
        entries = [Param(key, str(value)[:6000]) for key, value in params.items()]
        for first in range(0, len(entries), 100):
            self._client.log_batch(self.run_id, params=entries[first : first + 100])

    @_explains
    def log_dataset(self, note: DatasetNote) -> None:
        """The dataset as an MLflow input, with the digest of its content and its splits' sizes.

        One input for all splits: MLflow keeps one dataset for a name and digest.
        """
        spec = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *note.shape]}}
        dataset = Dataset(
            name=note.name,
            digest=note.digest,
            source_type="local",
            source=json.dumps({"uri": note.source}),
            schema=json.dumps({"mlflow_tensorspec": {"features": json.dumps([spec])}}),
            profile=json.dumps({"num_rows": sum(note.samples.values()), **note.samples}),
        )
        context = InputTag("mlflow.data.context", ", ".join(note.samples))
        given = [DatasetInput(dataset, [context])]
        try:
            self._client.log_inputs(self.run_id, datasets=given)
        except MlflowException as error:
            # Runs that start together all find the dataset missing; one of them creates it.
            if not re.search(r"unique constraint|duplicate key", str(error), re.IGNORECASE):
                raise
            self._client.log_inputs(self.run_id, datasets=given)

    @_explains
    def log_epoch(self, entry: Entry) -> None:
        """An epoch's metrics, and `batch/loss` by samples seen, in one call.

        NaN and infinity are left out: MLflow keeps infinity as 1.8e308, which no chart survives.
        The same entry logged twice gives each point once.
        """
        points = [
            Metric(name, value, entry.time, entry.epoch) for name, value in entry.metrics.items()
        ]
        points += [
            Metric("batch/loss", loss, entry.time, seen) for seen, loss in entry.batches.items()
        ]
        finite = [point for point in points if isfinite(point.value)]
        for first in range(0, len(finite), _CALL):
            self._client.log_batch(self.run_id, metrics=finite[first : first + _CALL])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Metrics that have no epoch (a sweep's best scores)."""
        self.log_epoch(Entry(0, time.time_ns() // 1_000_000, metrics))

    @_explains
    def tag(self, **tags: str) -> None:
        """Tags under `optsweep.`; MLflow cuts a value at 8,000 characters."""
        entries = [RunTag(f"optsweep.{key}", value[:8000]) for key, value in tags.items()]
        self._client.log_batch(self.run_id, tags=entries)

    @_explains
    def log_file(self, path: Path, folder: str | None = None) -> None:
        """A file as an artifact, under `folder` where one is given."""
        self._client.log_artifact(self.run_id, str(path), folder)

    @_explains
    def log_text(self, name: str, text: str) -> None:
        """A text as the artifact `name`."""
        self._client.log_text(self.run_id, text, name)

    def fail(self, error: BaseException) -> None:
        """Ends the run as FAILED, with the error as a tag and its traceback as an artifact."""
        import traceback

        with suppress(Exception):  # the store may be what failed; the first error is what counts
            self.tag(error=f"{type(error).__name__}: {error}")
            self.log_text("error.txt", "".join(traceback.format_exception(error)))
        self.end("FAILED")

    @_explains
    def end(self, status: str) -> None:
        """Ends the run with an MLflow status: FINISHED, FAILED or KILLED."""
        self._client.set_terminated(self.run_id, status)


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
def _explained(uri: str) -> Iterator[None]:
    """MLflow's and the database's errors as one line."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        if found := re.search(r"\(found version (\w+), but expected (\w+)\)", str(error)):
            raise _other_version(uri, found[1]) from error
        reason = redact(str(error).strip().splitlines()[0])
        raise TrackingError(f"the MLflow store {redact(uri)} failed: {reason}") from error


def _other_version(uri: str, revision: str) -> TrackingError:
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    migrations = Path(mlflow.__file__).parent / "store" / "db_migrations"
    try:
        known = ScriptDirectory(str(migrations)).get_revision(revision) is not None
    except CommandError:
        known = False
    if known:
        wrote, instead = "an older", f"mlflow db upgrade '{redact(uri)}'"
    else:
        wrote, instead = "a newer", "pip install --upgrade mlflow"
    return TrackingError(
        f"the MLflow store {redact(uri)} was written by {wrote} MLflow than this one, "
        f"{mlflow.__version__}; type {instead}, or give another store with tracking.uri="
    )


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
