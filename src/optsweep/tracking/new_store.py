"""Makes an sqlite store that is not there yet: MLflow's tables, without any runs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

from optsweep.system import files
from optsweep.tracking.sending import calls


def create_sqlite_store(path: Path) -> None:
    """Makes an sqlite store at `path` where there is no file; the caller holds the store's lock."""
    if path.exists():
        return
    files.remove_unfinished(path.parent)
    with suppress(FileExistsError), files.replacing(path) as unfinished:
        with _unforced():
            store = calls.connected(f"sqlite:///{unfinished}")._tracking_client.store
        store.engine.dispose()
        with closing(sqlite3.connect(unfinished)) as database:
            database.execute("PRAGMA journal_mode=wal")  # it stays so
        if path.exists():  # made by a program that knows no lock of ours
            raise FileExistsError(path)


@contextmanager
def _unforced() -> Iterator[None]:
    """Lets sqlite force nothing to the disk, in connections of the block.

    MLflow changes the tables step by step, some sixty times, and half of the second that this takes
    is spent on the disk. Nobody needs the file before it is whole, when it is forced there at once.
    """

    def ease(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")

    event.listen(Engine, "connect", ease)
    try:
        yield
    finally:
        event.remove(Engine, "connect", ease)
