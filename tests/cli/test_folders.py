"""A folder is used, or cleared, only where this project made it for the same run or sweep."""

import shutil
from pathlib import Path

import pytest

from optsweep.errors import FolderError
from optsweep.system import folders
from support.command import run
from support.in_process import sweep_here, train_here
from support.store import QUICK, client, runs

GRID = ("lr=1e-3,1e-2", *QUICK)


def content(folder: Path) -> dict[str, bytes]:
    """What lies in a folder, at any depth, but for what every start writes anew."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path): path.read_bytes() for path in files if path.suffix in (".txt", ".safetensors")
    }


OTHERS = [
    pytest.param(name, marks=pytest.mark.long)
    for name in ("other", "outputs/sub/..", "linked", ".")
]


@pytest.mark.long
@pytest.mark.parametrize("typed", ["outputs", *OTHERS])
def test_a_sweep_that_is_resumed_deletes_nothing_in_the_folder_that_was_typed(
    project: Path, typed: str
) -> None:
    done = sweep_here(project, *GRID, folder=project / "outputs/sweep")
    (project / "other").mkdir()
    (project / "other/x.txt").write_text("mine")
    (project / "outputs/sub").mkdir()
    (project / "linked").symlink_to(project / "outputs/sweep")
    before = content(project)
    again = sweep_here(project, *GRID, "resume=true", folder=project / typed)
    assert [run.run_id for run in again.runs] == [run.run_id for run in done.runs]
    assert before.items() <= content(project).items()


def test_a_path_from_the_store_is_used_only_where_a_run_of_ours_made_it(project: Path) -> None:
    """Its outbox would be sent, its checkpoint removed, its files written over."""
    first = train_here(project, *QUICK)
    victim = project / "victim"
    victim.mkdir()
    (victim / "history.jsonl").write_text("mine")
    (victim / "checkpoint.bin").write_text("mine")
    (victim / "unsent.jsonl").write_text("mine")
    store = client(project)
    store.set_tag(first.run_id, "optsweep.folder", str(victim))
    store.set_terminated(first.run_id, "KILLED")
    before = {path: path.read_bytes() for path in victim.iterdir()}
    again = train_here(project, *QUICK, "resume=true")
    assert (again.run_id, again.status) == (first.run_id, "FINISHED")
    assert {path: path.read_bytes() for path in victim.iterdir()} == before
    assert runs(project)[0].data.tags["optsweep.folder"] == str(project / "outputs")


def test_the_outboxes_below_a_path_from_the_store_are_left_alone(project: Path) -> None:
    first = train_here(project, *QUICK)
    victim = project / "victim/deep"
    victim.mkdir(parents=True)
    (victim / "unsent.jsonl").write_text("mine")
    store = client(project)
    store.set_tag(first.run_id, "optsweep.folder", str(project / "victim"))
    store.update_run(first.run_id, "RUNNING")
    train_here(project, *QUICK, "lr=0.5")
    assert (victim / "unsent.jsonl").read_text() == "mine"
    assert [path.name for path in victim.iterdir()] == ["unsent.jsonl"]


@pytest.mark.long
def test_a_sweep_whose_folder_was_moved_is_resumed_in_a_new_one(project: Path) -> None:
    """A run that is begun again there gives MLflow no point twice."""
    done = sweep_here(project, *GRID, folder=project / "outputs/old")
    store = client(project)
    store.set_terminated(done.runs[0].run_id, "KILLED")
    before = store.get_metric_history(done.runs[0].run_id, "val/loss")
    shutil.move(project / "outputs", project / "elsewhere")
    again = sweep_here(project, *GRID, "resume=true", folder=project / "outputs/new")
    assert [run.run_id for run in again.runs] == [run.run_id for run in done.runs]
    assert [run.metrics for run in again.runs] == [run.metrics for run in done.runs]
    assert (project / "outputs/new/0/weights.safetensors").exists()
    assert store.get_metric_history(done.runs[0].run_id, "val/loss") == before


@pytest.mark.parametrize("mark", ["", "run abc", "run abcdef\0", "sweep abcd", "\xff\xfe"])
def test_only_a_whole_mark_of_the_same_run_counts(tmp_path: Path, mark: str) -> None:
    (tmp_path / ".optsweep").write_bytes(mark.encode("latin-1"))
    assert not folders.is_marked(tmp_path, "run", "abcd")
    folders.mark(tmp_path, "run", "abcd")
    assert folders.is_marked(tmp_path, "run", "abcd")


def test_a_folder_that_holds_anything_is_refused_with_what_to_type(tmp_path: Path) -> None:
    folders.refuse_used(tmp_path / "missing", "hydra.sweep.dir")
    folders.refuse_used(tmp_path, "hydra.sweep.dir")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FolderError, match=r"notes\.txt.*hydra\.sweep\.dir=\S+/NAME"):
        folders.refuse_used(tmp_path, "hydra.sweep.dir")
    folders.mark(tmp_path, "sweep", "abcd")
    with pytest.raises(FolderError, match="resume=true"):
        folders.refuse_used(tmp_path, "hydra.sweep.dir")


@pytest.mark.long
@pytest.mark.parametrize(("many", "key"), [(("-m",), "sweep"), ((), "run")], ids=["sweep", "run"])
def test_a_typed_folder_that_holds_results_or_files_is_refused_untouched(
    project: Path, many: tuple[str, ...], key: str
) -> None:
    typed = f"hydra.{key}.dir=mine"
    (project / "mine").mkdir()
    (project / "mine/table.csv").write_text("mine")
    refused = run(project, *many, *QUICK, typed)
    assert refused.returncode == 2 and "table.csv" in refused.stderr
    assert [path.name for path in (project / "mine").iterdir()] == ["table.csv"]
    (project / "mine/table.csv").unlink()
    assert run(project, *many, *QUICK, typed).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (project / "mine").rglob("*")}
    refused = run(project, *many, *QUICK, "lr=0.5", typed)
    assert refused.returncode == 2 and "resume=true" in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in (project / "mine").rglob("*")} == before
    assert run(project, *many, *QUICK, typed, "resume=true").returncode == 0
