"""Sweeps that programs and notebooks run: real processes, as a user starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from support.command import ROOT, ended
from support.environment import environment
from support.pages import files
from support.store import copy_empty_store, runs

PAGE = ROOT / "docs" / "python.md"
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
REFUSED = """
import optsweep
for overrides in ("lrr=1e-2,1e-1", "lr=1e-2,1e-1 plan=true", "model._target_=__main__.Net"):
    try:
        optsweep.sweep(overrides)
    except optsweep.errors.SettingsError as error:
        print("refused:", error)
"""
LONG = """
import optsweep
try:
    optsweep.sweep("lr=1e-2,1e-1 epochs=100000 figures=none")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Any folder of a user's, with an empty store."""
    copy_empty_store(tmp_path / "mlflow.db")
    return tmp_path


def script(folder: Path, text: str) -> list[str]:
    path = folder / "script.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def python(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """Runs a script without a guard, in a folder."""
    return ended(script(folder, text), folder, timeout=300)


@pytest.mark.long
def test_the_script_of_the_page_runs_without_a_guard(folder: Path) -> None:
    ((_, text),) = files(PAGE)
    done = python(folder, text + "\nprint('once')\n")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.count("once") == 1 and "run 4/4 " in done.stdout
    assert "add confirm=5 resume=true to the command" in done.stdout
    assert len(runs(folder)) == 4 and list(folder.glob("outputs/*/*-sweep/report.html"))


@pytest.mark.long
def test_what_cannot_run_is_an_error_of_one_line(folder: Path) -> None:
    done = python(folder, REFUSED)
    said = [line for line in done.stdout.splitlines() if line.startswith("refused:")]
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "there is no such value or group; type lr=1e-2,1e-1" in said[0]
    assert "runs no sweep" in said[1] and "plan " in done.stdout
    assert "workers cannot import what a notebook's cell or the main script defines" in said[2]
    assert not list(folder.glob("outputs/*/*"))


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_of_the_script_ends_the_sweep_in_order(folder: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        script(folder, LONG), cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True
    ) as started:
        _wait_for(lambda: len(list(folder.glob("outputs/*/*-sweep/*/history.jsonl"))) == 2)
        started.send_signal(number)
        said = started.communicate(timeout=60)[0]
    assert started.returncode == (0 if number == signal.SIGINT else -signal.SIGKILL)
    assert ("interrupted" in said) == (number == signal.SIGINT)
    _wait_for(lambda: [run.info.status for run in runs(folder, "sweep")] == ["KILLED"])
    _wait_for(lambda: {run.info.status for run in runs(folder)} == {"KILLED"})


@pytest.mark.long
def test_the_notebook_runs(folder: Path) -> None:
    cells = notebook()
    kept = {name: os.environ.pop(name, "") for name in ("MLFLOW_TRACKING_URI", "PYTEST_ADDOPTS")}
    try:
        client = NotebookClient(cells, timeout=300, resources={"metadata": {"path": folder}})
        client.execute()
    finally:
        os.environ.update({name: text for name, text in kept.items() if text})
    shown = json.dumps(cells)
    assert "run 8/8" in shown and "leads, not confirmed" in shown
    assert shown.count("image/png") == 1 and "true 0 1 2 3 4" in shown


def test_the_notebook_holds_no_outputs_and_no_paths_of_a_machine() -> None:
    text = NOTEBOOK.read_text()
    cells = notebook().cells
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
    assert not re.search(r"/(?:home|work|tmp|root)/", text)


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # nbformat's own


def _wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)
