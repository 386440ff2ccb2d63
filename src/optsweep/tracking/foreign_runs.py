"""Runs of other programs, read from whatever MLflow store they are in, which stays as it is.

`Experiment.open` finds an experiment by its name and creates nothing; `runs` and `with_best` return
plain values. A store of another version of MLflow is refused: opening it would change its tables.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from optsweep.errors import SettingsError, TrackingError, nearest
from optsweep.records.logged_run import LoggedRun
from optsweep.system.redaction import redact
from optsweep.tracking.address import absolute, refuse_silent, sqlite_path
from optsweep.tracking.errors import explained, migrations, other_version
from optsweep.tracking.history import histories
from optsweep.tracking.sending.calls import connected
from optsweep.tracking.store import Store
from optsweep.tracking.timeouts import PATIENCE, Overdue, bounded

_PAGE = 1000  # runs in one answer
_SHOWN = 20  # experiments in a message


@dataclass(frozen=True)
class Experiment:
    """An experiment of a store that another program wrote."""

    store: Store
    name: str

    @classmethod
    def open(cls, uri: str, name: str) -> "Experiment":
        """The experiment of that name.

        Raises:
            SettingsError: there is no such store, or no such experiment in it.
            TrackingError: the store does not answer, or is of another version of MLflow.
        """
        uri = _address(uri)
        if not uri.startswith("file:"):
            refuse_silent(uri, "store")
        if not uri.startswith(("file:", "http", "databricks")):
            _refuse_other_tables(uri)
        with explained(uri):
            client = connected(uri)
            found = client.get_experiment_by_name(name) if name else None
            if found is None or found.lifecycle_stage == "deleted":
                raise _no_experiment(client, name, is_deleted=found is not None)
        return cls(Store(uri, str(found.experiment_id), client), name)

    def runs(self, wanted: str = "") -> list[LoggedRun]:
        """The runs that were not deleted, in the order in which they started.

        Args:
            wanted: which ones, in MLflow's words: `params.dataset = 'digits'`.

        Raises:
            SettingsError: MLflow does not understand them.
            TrackingError: the store fails.
        """
        with explained(self.store.uri):
            try:
                found = list(self._found(wanted))
            except MlflowException as error:
                if wanted and error.error_code == "INVALID_PARAMETER_VALUE":
                    raise SettingsError(f"filter={wanted}: {error.message}") from error
                raise
        found.sort(key=lambda run: (run.info.start_time or 0, run.info.run_id))
        return [_logged(run) for run in found]

    def _found(self, wanted: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self.store.client.search_runs(
                [self.store.experiment_id], wanted, max_results=_PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def with_best(
        self, runs: Sequence[LoggedRun], metrics: Sequence[str], *, highest: bool
    ) -> list[LoggedRun]:
        """The runs, with the highest or the lowest of all steps as the value of these metrics.

        What is no number counts only where a run has nothing else.

        Raises:
            TrackingError: the store fails.
        """
        best = max if highest else min
        points = histories(self.store, [run.run_id for run in runs], metrics)
        found = []
        for run in runs:
            values = {
                name: best((value for _, value in own if not isnan(value)), default=nan)
                for name, own in points[run.run_id].items()
            }
            found.append(replace(run, metrics={**run.metrics, **values}))
        return found


def _logged(run: Run) -> LoggedRun:
    return LoggedRun(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        parent=run.data.tags.get("mlflow.parentRunId", ""),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
    )


def _address(uri: str) -> str:
    """The store's address; a folder's is `file:...`, which MLflow wants to be allowed.

    Raises:
        SettingsError: there is no such file or folder.
    """
    folder = _folder(uri)
    if folder and folder.is_dir():
        database = folder / "mlflow.db"
        if any(folder.glob("*/meta.yaml")):  # the experiments of a store in plain files
            os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
            return folder.absolute().as_uri()
        there = (
            f"sqlite:///{database.absolute()}"
            if database.exists()
            else "sqlite:////path/to/mlflow.db"
        )
        raise SettingsError(f"store={uri}: this folder holds no runs of MLflow; type store={there}")
    if folder and folder.is_file():
        return f"sqlite:///{folder.absolute()}"
    path = sqlite_path(uri)
    if folder or (path and not path.exists()):
        raise SettingsError(f"store={uri}: there is no {folder or path}; type where the runs are")
    return absolute(uri)


def _folder(uri: str) -> Path | None:
    """What an address names that is a path; None for a database or a server."""
    if uri.startswith("file:"):
        return Path(unquote(urlsplit(uri).path))
    return None if ":" in uri or uri.startswith("databricks") else Path(uri).expanduser()


def _refuse_other_tables(uri: str) -> None:
    """Makes sure that a database holds this MLflow's tables, which only then are left alone.

    Raises:
        TrackingError: it holds others, or none.
    """
    path = sqlite_path(uri)
    read_only = f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true" if path else uri

    def ask() -> tuple[str, int]:
        with closing(create_engine(read_only, poolclass=NullPool).connect()) as database:
            version = database.execute(text("SELECT version_num FROM alembic_version")).scalar()
            count = database.execute(text("SELECT count(*) FROM experiments")).scalar()
            return str(version), int(count or 0)

    try:
        version, experiments = bounded(2 * PATIENCE, ask)
    except (SQLAlchemyError, Overdue) as error:
        reason = f"{getattr(error, 'orig', None) or error}"
        raise TrackingError(f"store={redact(uri)} is no MLflow store ({redact(reason)})") from error
    if version != migrations().get_current_head():
        raise other_version(uri, version, "store")
    if not experiments:
        raise TrackingError(f"store={redact(uri)} holds no experiment")


def _no_experiment(client: MlflowClient, name: str, *, is_deleted: bool) -> SettingsError:
    there = [each.name for each in client.search_experiments(max_results=_SHOWN + 1)]
    more = ", ..." if len(there) > _SHOWN else ""
    shown = f"experiments there: {', '.join(there[:_SHOWN])}{more}" if there else "there is none"
    if not name:
        return SettingsError(f"experiment is missing; type experiment=NAME; {shown}")
    what = "was deleted" if is_deleted else "there is no such experiment"
    best = nearest(name, there)
    hint = f"did you mean experiment={best}? " if best else ""
    return SettingsError(f"experiment={name}: {what}; {hint}{shown}")
