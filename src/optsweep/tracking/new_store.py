"""A new sqlite store, which is there whole or not at all.

MLflow makes a database by many changes of its tables, one after another. A process that is killed
in the middle leaves one that MLflow refuses from then on. So it is made beside its place.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from optsweep.system import files
from optsweep.tracking import calls as sending


def create(path: Path) -> None:
    """Makes an sqlite store at `path` where there is no file; the caller holds the store's lock."""
    if path.exists():
        return
    files.remove_unfinished(path.parent)
    with suppress(FileExistsError), files.replacing(path) as unfinished:
        store = sending.connected(f"sqlite:///{unfinished}")._tracking_client.store
        store.engine.dispose()
        with closing(sqlite3.connect(unfinished)) as database:
            database.execute("PRAGMA journal_mode=wal")  # it stays so
        if path.exists():  # made by a program that knows no lock of ours
            raise FileExistsError(path)
