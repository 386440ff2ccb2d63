"""What the command refuses: the line that says so, and how many runs there are."""

import shlex
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest


def refusal(
    command: Callable[..., "subprocess.CompletedProcess[str]"],
    project: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
) -> str:
    """The line by which the command refuses these arguments, when it does so as it should."""
    done = command(project, *arguments, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert done.stdout == ""
    assert runs_in(project / "mlflow.db") == 0
    return lines[0]


def runs_in(store: Path) -> int:
    """How many runs a store holds, which may not exist."""
    if not store.exists():
        return 0
    with closing(sqlite3.connect(store)) as database:
        (table,) = database.execute(
            "select count(*) from sqlite_master where name = 'runs'"
        ).fetchone()
        return int(database.execute("select count(*) from runs").fetchone()[0]) if table else 0


def case(command: str, *words: str) -> object:
    """A command line and words that the message about it has to hold."""
    return pytest.param(shlex.split(command), words, id=command)
