"""A store's address: what it names, whether it answers, and how to browse what it holds.

MLflow tries again for minutes before it says that a store cannot be used. So an address is tried
here first, for a bounded time.
"""

import base64
import http.client
import re
import shutil
import socket
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from optsweep.config.validators import check_address
from optsweep.errors import TrackingError
from optsweep.system.exceptions import first_line
from optsweep.system.redaction import redact
from optsweep.tracking import timeouts
from optsweep.tracking.timeouts import Overdue, bounded

_NEEDED = 8 * 2**20  # bytes that an sqlite store needs to be of use; an empty one takes 1 MB


def absolute(uri: str) -> str:
    """The same address, with an sqlite file named from the root of the file system."""
    path = sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path}"


def sqlite_path(uri: str) -> Path | None:
    """The absolute path of an sqlite store's file; None for any other address."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)).absolute() if uri.startswith(prefix) else None


def ui_command(uri: str) -> str:
    """What to type, or to open, to browse the store."""
    if uri.startswith("http"):
        return redact(uri)
    return f"mlflow ui --backend-store-uri '{redact(absolute(uri))}'"


def refuse_unusable(uri: str) -> None:
    """Makes sure that a store can be used, within `PATIENCE` seconds.

    Raises:
        TrackingError: it does not answer or cannot be written.
        SettingsError: the address is of no known kind.
    """
    path = sqlite_path(uri)
    if path is None:
        refuse_silent(uri)
    else:
        check_address("tracking.uri", uri)
        _refuse_unwritable(path)


def refuse_silent(uri: str, name: str = "tracking.uri") -> None:
    """Makes sure that a server or a database answers, within `PATIENCE` seconds; changes nothing.

    Raises:
        TrackingError: it does not answer.
        SettingsError: the address is of no known kind; `name` is what it is typed as.
    """
    check_address(name, uri)
    scheme = uri.partition(":")[0] if ":" in uri else ""
    if scheme in ("http", "https"):
        _refuse_silent_server(uri, name)
    elif re.match(r"(postgresql|mysql|mssql)\b", scheme):
        _refuse_silent_database(uri, name)


def refuse_out_of_reach(uri: str, hosts: Collection[str]) -> None:
    """Makes sure that runs on these hosts can reach a store.

    Raises:
        TrackingError: it is a file or a server of this machine alone, and they are others.
    """
    own = socket.gethostname()
    if all(host.partition(".")[0] == own.partition(".")[0] for host in hosts):
        return
    path = sqlite_path(uri)
    address = re.sub(r"^[\w+]+://([^/@]*@)?", "", uri)
    if path is None and not re.match(r"(localhost|127\.[\d.]+|\[::1\])(:|/|$)", address):
        return
    database = f"sqlite:///{path}" if path else "sqlite:////path/to/mlflow.db"
    where = ", ".join(sorted(hosts))
    server = (
        f"mlflow server --host 0.0.0.0 --port 5000 --allowed-hosts '{own}:5000,localhost:5000' "
        f"--backend-store-uri '{database}' --artifacts-destination /path/to/artifacts"
    )
    raise TrackingError(
        f"tracking.uri={redact(uri)} is for {own} alone, and runs start on {where}; type {server} "
        f"on {own}, and then tracking.uri=http://{own}:5000"
    )


def _refuse_unwritable(path: Path) -> None:
    # MLflow would try again for a hundred seconds before it says that a file cannot be written.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < _NEEDED:
            raise OSError(f"{free // 1024} KB are free, {_NEEDED // 1024} KB are needed")
        if not path.exists():  # `new_store` makes it, whole
            with tempfile.TemporaryFile(dir=path.parent):
                return
        with closing(sqlite3.connect(path, timeout=timeouts.PATIENCE)) as database:
            database.execute("PRAGMA journal_mode=wal")  # readers and writers side by side
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except (OSError, sqlite3.Error) as error:
        raise TrackingError(
            f"the MLflow store {path} cannot be written ({error}); free or open its folder, or "
            "give another store with tracking.uri=sqlite:////path/to/mlflow.db"
        ) from error


def _refuse_silent_server(uri: str, name: str) -> None:
    def ask() -> None:
        urllib.request.urlopen(_health(uri), timeout=timeouts.PATIENCE).close()

    try:
        bounded(timeouts.PATIENCE, ask)
    except urllib.error.HTTPError as error:
        if error.code >= 500:  # MLflow would try again for minutes
            raise _silent(uri, name, error) from error
    except http.client.HTTPException as error:
        raise _silent(uri, name, f"what it says is not HTTP: {type(error).__name__}") from error
    except (OSError, ValueError, Overdue) as error:
        raise _silent(uri, name, getattr(error, "reason", error)) from error


def _health(uri: str) -> urllib.request.Request:
    """The question whether a server answers; urllib takes no account in an address."""
    parts = urlsplit(uri)
    account, _, host = parts.netloc.rpartition("@")
    asked = urllib.request.Request(f"{parts._replace(netloc=host).geturl().rstrip('/')}/health")
    if account:
        encoded = base64.b64encode(unquote(account).encode()).decode()
        asked.add_header("Authorization", f"Basic {encoded}")
    return asked


def _refuse_silent_database(uri: str, name: str) -> None:
    # MLflow would try again for many minutes, whatever the reason.
    ports = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}

    def ask() -> None:
        address = make_url(uri)
        port = address.port or ports[address.get_backend_name()]
        socket.create_connection(
            (address.host or "localhost", port), timeout=timeouts.PATIENCE
        ).close()
        create_engine(uri, poolclass=NullPool).connect().close()

    try:
        bounded(2 * timeouts.PATIENCE, ask)
    except ModuleNotFoundError as error:
        package = {"psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}
        raise TrackingError(
            f"{name}={redact(uri)} needs a driver ({error}); type pip install "
            f"{package.get(error.name or '', error.name)}"
        ) from error
    except (OSError, ValueError, SQLAlchemyError, Overdue) as error:
        raise _silent(uri, name, redact(first_line(error))) from error


def _silent(uri: str, name: str, reason: object) -> TrackingError:
    instead = (
        "start the server, or leave tracking.uri and MLFLOW_TRACKING_URI out to use the store "
    )
    instead += "in this project"
    if name != "tracking.uri":
        instead = f"start the server, or type {name}= and where the runs are"
    return TrackingError(f"{name}={redact(uri)} does not answer ({reason}); {instead}")
