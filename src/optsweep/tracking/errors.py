"""Errors of MLflow and its database as one line.

`explained` wraps calls to a store and raises the package's own errors, which say whether the store
refuses a call, fails at it, or is away.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import OperationalError

from optsweep.errors import CallFailed, OptsweepError, TrackingError, Unreachable
from optsweep.system.exceptions import first_line
from optsweep.system.redaction import redact
from optsweep.tracking.timeouts import Overdue

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

_AWAY = (408, 429, 502, 503, 504)  # statuses of a server that may be back soon


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Raises what MLflow and its database raise as one line.

    Raises:
        Unreachable: the store does not answer, or cannot for now.
        CallFailed: it answers, and failed at this call.
        TrackingError: it refuses, or was written by another version of MLflow.
    """
    try:
        yield
    except (OptsweepError, TimeoutError):  # the latter is the alarm of a run that takes too long
        raise
    except Exception as error:  # what answers may be no MLflow at all, and then anything is raised
        if found := re.search(r"\(found version (\w+), but expected (\w+)\)", str(error)):
            raise other_version(uri, found[1]) from error
        reason = redact(first_line(error))
        if (status := status_of(error)) in _AWAY:
            raise Unreachable(
                f"the MLflow store {redact(uri)} does not answer: {reason}"
            ) from error
        kind = CallFailed if status >= 500 else TrackingError
        raise kind(f"the MLflow store {redact(uri)} failed: {reason}") from error


def status_of(error: Exception) -> int:
    """The HTTP status that an error stands for: 503 where there was no answer, 400 if in doubt."""
    if isinstance(error, MlflowException):
        if found := re.search(r"too many (\d+) error responses", str(error)):
            return int(found[1])
        # MLflow's client says "internal error" where it got no answer, as its servers do of theirs.
        if re.match(r"API request to \S+ failed with (timeout )?exception", str(error)):
            return 503
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    if isinstance(error, RequestException):
        return 503 if error.response is None else error.response.status_code
    away = (OperationalError, Overdue, ConnectionError)
    return 503 if isinstance(error, away) else 400


def other_version(uri: str, revision: str, name: str = "tracking.uri") -> TrackingError:
    """What to say of a store whose tables, by their revision, are of another MLflow."""
    from alembic.util import CommandError

    try:
        known = migrations().get_revision(revision) is not None
    except CommandError:
        known = False
    if known:
        wrote, instead = "an older", f"mlflow db upgrade '{redact(uri)}'"
    else:
        wrote, instead = "a newer", "pip install --upgrade mlflow"
    return TrackingError(
        f"the MLflow store {redact(uri)} was written by {wrote} MLflow than this one, "
        f"{mlflow.__version__}; type {instead}, or give another store with {name}="
    )


def migrations() -> "ScriptDirectory":
    """The revisions of a database's tables that this MLflow knows."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
