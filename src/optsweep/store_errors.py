"""MLflow's and the database's errors as one line, and whether a store refuses or is away."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from optsweep.errors import TrackingError, Unreachable, first_line
from optsweep.redaction import redact
from optsweep.sending import is_away


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Raises what MLflow and its database raise as one line.

    Raises:
        Unreachable: the store does not answer, or cannot for now.
        TrackingError: it refuses, or was written by another version of MLflow.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        if found := re.search(r"\(found version (\w+), but expected (\w+)\)", str(error)):
            raise _other_version(uri, found[1]) from error
        if is_away(error):
            reason = redact(first_line(error))
            raise Unreachable(
                f"the MLflow store {redact(uri)} does not answer: {reason}"
            ) from error
        reason = redact(first_line(error))
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
