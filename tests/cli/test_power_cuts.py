"""A file that a power cut left empty, torn or filled with zeros costs no sweep its result.

Every kind of file that a run or a sweep writes is damaged in turn; the sweep is then resumed.
"""

import re
import shutil
import sqlite3
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from optsweep.config.launchers import Launch
from optsweep.runs.status_file import StatusFileProgress
from optsweep.tracking.sending.outbox import Outbox
from optsweep.training import checkpoint
from support.command import copy_project
from support.damages import DAMAGES
from support.in_process import sweep_here
from support.interrupted import points
from support.store import runs

SWEEP = ("optimizer=adam", "lr=1e-2,1e-5", "epochs=3", "model.hidden=[8]", "figures=all")
ALONE, TOGETHER = Launch(workers=0, stack=1), Launch(workers=0, stack=2)
# Files of one line are damaged together: what one costs cannot be made up for by another, as they
# belong to different runs, or are only written.
KINDS = [
    (
        "multirun.yaml",
        "table.csv",
        "verdict.json",
        "report.html",
        "0/figures/samples.png",
        "0/optsweep.log",
    ),
    (".optsweep",),
    ("0/.optsweep", "1/.optsweep"),
    ("0/history.jsonl", "1/history.jsonl"),
    ("0/weights.safetensors", "1/checkpoint.bin"),
    ("0/correct.safetensors", "1/.progress.json"),
    ("unsent.jsonl", "1/unsent.jsonl"),
]
STACKS = ["0/stack.txt", "1/stack.txt", "0/history.jsonl", "stacks/*.bin"]


class Stopped(NamedTuple):
    """A sweep that was stopped, and the points of one that was not."""

    project: Path
    expected: Any

    def copied(self, project: Path) -> Path:
        """A copy of the project, whose store knows its new place."""
        shutil.copytree(self.project, project)
        with sqlite3.connect(project / "mlflow.db") as database:
            for table, column in (
                ("tags", "value"),
                ("runs", "artifact_uri"),
                ("experiments", "artifact_location"),
            ):
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                database.execute(change, (str(self.project), str(project)))
        return project


def _stopped(folder: Path, launch: Launch, runs_before: int) -> Stopped:
    whole = copy_project(folder / "whole")
    sweep_here(whole, *SWEEP, launch=launch)
    project = copy_project(folder / "project")
    save, calls = checkpoint.save, []

    def stop(path: Path, *others: Any) -> None:
        save(path, *others)
        calls.append(path)
        if len(calls) == 2 * runs_before + 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep_here(project, *SWEEP, launch=launch, figures="all")
    _more_files(project)
    return Stopped(project, points(whole))


def _more_files(project: Path) -> None:
    """What a worker process and a store that is away leave: in real formats, of real runs."""
    for run in (*runs(project), *runs(project, "sweep")):
        folder = Path(run.data.tags["optsweep.folder"])
        call = {"call": "tags", "run_id": run.info.run_id, "time": 1, "tags": {"left": "yes"}}
        address = {"store": f"sqlite:///{project}/mlflow.db", "experiment_id": "1"}
        if run.info.status == "KILLED":
            Outbox(folder).add(address | call)
        if folder.name == "1":
            StatusFileProgress().started({folder: run.info.run_id})


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """One run is finished; another was stopped after its second epoch of three."""
    return _stopped(tmp_path_factory.mktemp("alone"), ALONE, 1)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Two runs in one stack were stopped after their second epoch of three."""
    return _stopped(tmp_path_factory.mktemp("together"), TOGETHER, 0)


def damage(project: Path, pattern: str, how: str) -> None:
    path = min((project / "outputs").glob(pattern))
    path.write_bytes(DAMAGES[how](path.read_bytes()))


def resumed(project: Path, launch: Launch, expected: Any) -> str:
    """Resumes the sweep, checks that it is whole, and returns what was printed."""
    said = StringIO()
    console = Console(file=said, width=200)
    record = sweep_here(
        project, *SWEEP, "resume=true", launch=launch, console=console, figures="best"
    )
    assert [run.status for run in record.runs] == ["FINISHED", "FINISHED"]
    found = points(project)
    assert found == expected
    assert [run.info.status for run in runs(project)] == ["FINISHED", "FINISHED"]
    return said.getvalue()


@pytest.mark.long
@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kinds", KINDS, ids=" ".join)
def test_a_sweep_is_whole_whatever_file_was_damaged(
    alone: Stopped, tmp_path: Path, kinds: tuple[str, ...], how: str
) -> None:
    project = alone.copied(tmp_path / "project")
    for kind in kinds:
        damage(project, kind, how)
    said = resumed(project, ALONE, alone.expected)
    if "0/weights.safetensors" in kinds and how != "zeros at the end":  # those are weights too
        assert "weights.safetensors" in said


@pytest.mark.long
@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", STACKS)
def test_a_stack_is_whole_whatever_file_was_damaged(
    together: Stopped, tmp_path: Path, kind: str, how: str
) -> None:
    project = together.copied(tmp_path / "project")
    damage(project, kind, how)
    resumed(project, TOGETHER, together.expected)


@pytest.mark.long
@pytest.mark.parametrize("how", DAMAGES)
def test_a_sweep_is_whole_though_all_files_were_damaged(
    alone: Stopped, tmp_path: Path, how: str
) -> None:
    project = alone.copied(tmp_path / "project")
    for path in _files(project):
        path.write_bytes(DAMAGES[how](path.read_bytes()))
    resumed(project, ALONE, alone.expected)


@pytest.mark.long
@pytest.mark.parametrize("how", DAMAGES)
def test_a_stack_is_whole_though_all_files_were_damaged(
    together: Stopped, tmp_path: Path, how: str
) -> None:
    project = together.copied(tmp_path / "project")
    for path in _files(project):
        path.write_bytes(DAMAGES[how](path.read_bytes()))
    resumed(project, TOGETHER, together.expected)


@pytest.mark.long
def test_there_is_no_other_kind_of_file_and_none_of_these_is_lacking(
    alone: Stopped, together: Stopped
) -> None:
    """Whoever adds a kind of file adds it to the lists above."""
    known = {_kind(Path(kind)) for kinds in (*KINDS, STACKS) for kind in kinds}
    left = [_kind(path) for stopped in (alone, together) for path in _files(stopped.project)]
    assert set(left) == known


def _files(project: Path) -> list[Path]:
    locks = (".lock", ".owner")  # whose content nobody needs
    files = (path for path in (project / "outputs").rglob("*") if path.is_file())
    # A sweep reads nothing in best/, which it writes anew whenever it ends.
    return [path for path in files if not path.name.endswith(locks) and path.parent.name != "best"]


def _kind(path: Path) -> str:
    """A file's name without its number; pictures are one kind."""
    name = "*.png" if path.suffix == ".png" else path.name
    return re.sub(r"[0-9a-f]{16}|\*(?=\.bin)", "N", name)
