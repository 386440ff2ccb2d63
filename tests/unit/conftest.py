"""Unit tests start no process: what needs one belongs to tests/cli or tests/cluster."""

import math
import multiprocessing.util
import os
import subprocess
from typing import NoReturn

import pytest

from support.store import copy_empty_store


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise AssertionError("a unit test starts no process; put this one in tests/cli")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr("optsweep.system.environment.git_commit", lambda folder: None)
    # However slow the machine is, no programs are started that decode pictures.
    monkeypatch.setattr("optsweep.data.decoding.programs._ALONE", math.inf)


@pytest.fixture(autouse=True)
def stores_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the second that it takes to create a store, which tests/cli/test_store.py does."""
    monkeypatch.setattr("optsweep.tracking.store.create_sqlite_store", copy_empty_store)
