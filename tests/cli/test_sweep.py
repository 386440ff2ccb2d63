"""The command `python experiments/run.py -m`: a sweep under one parent run."""

import csv
import io
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from support.command import copy_project, run
from support.in_process import sweep_here
from support.store import QUICK, artifacts, by_name, history, runs

GRID = ("-m", "optimizer=sgd,adam", "lr=1e-3,1e-1", *QUICK)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project in which the grid was swept, and what that printed."""
    project = copy_project(tmp_path_factory.mktemp("swept") / "project")
    (project / "mlflow.db").unlink()  # as in a new project: it is created beside the imports
    done = run(project, *GRID)
    assert done.returncode == 0, done.stderr
    return project, done.stdout


def test_the_id_that_a_report_takes_is_printed(swept: tuple[Path, str]) -> None:
    project, printed = swept
    (parent,) = runs(project, "sweep")
    assert f"\nsweep   {parent.info.run_id}\n" in printed


def test_all_combinations_are_nested_under_one_parent(swept: tuple[Path, str]) -> None:
    project, _ = swept
    (parent,) = runs(project, "sweep")
    children = runs(project)
    assert sorted(str(child.info.run_name) for child in children) == [
        "adam lr=0.001 seed=0",
        "adam lr=0.1 seed=0",
        "sgd lr=0.001 seed=0",
        "sgd lr=0.1 seed=0",
    ]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {child.info.status for child in [parent, *children]} == {"FINISHED"}
    assert parent.data.params["overrides"] == shlex.join(GRID[1:])
    assert parent.data.params["grid.optimizer"] == "sgd,adam"
    assert parent.data.params["grid.lr"] == "0.001,0.1"


@pytest.mark.long
def test_the_table_is_ranked_and_the_best_run_named(swept: tuple[Path, str]) -> None:
    project, printed = swept
    (folder,) = (project / "outputs").glob("*/*")
    rows = table(folder)
    ranks = [(-float(row["val/accuracy"]), float(row["val/loss"])) for row in rows]
    assert ranks == sorted(ranks)
    (parent,) = runs(project, "sweep")
    best = parent.data.tags["optsweep.best_run_id"]
    assert best == rows[0]["run_id"]
    assert parent.data.tags["optsweep.best.optimizer"] == rows[0]["optimizer"]
    assert parent.data.metrics["best/test/accuracy"] == float(rows[0]["test/accuracy"])
    assert f"Best of 4 runs: {rows[0]['run']}" in printed
    assert "mlflow ui --backend-store-uri" in printed
    kept = artifacts(project, parent.info.run_id)
    assert {"table.csv", "report.html", "figures"} <= kept
    assert artifacts(project, parent.info.run_id, "figures")


@pytest.mark.long
def test_pictures_are_drawn_for_the_best_run_only(swept: tuple[Path, str]) -> None:
    project, _ = swept
    (parent,) = runs(project, "sweep")
    drawn = {
        child.info.run_id
        for child in runs(project)
        if artifacts(project, child.info.run_id, "figures")
    }
    assert drawn == {parent.data.tags["optsweep.best_run_id"]}


@pytest.mark.long
def test_pictures_are_drawn_for_all_runs_where_that_is_asked(project: Path) -> None:
    sweep_here(project, "lr=1e-2,1e-1", *QUICK, "figures=all", figures="all")
    assert all(artifacts(project, child.info.run_id, "figures") for child in runs(project))


@pytest.mark.long
def test_a_run_in_a_sweep_equals_the_same_run_alone(tmp_path: Path, project: Path) -> None:
    run(project, "optimizer=adam", "lr=1e-1", *QUICK, "figures=none")
    sweep = copy_project(tmp_path / "sweep")
    grid = ("-m", "optimizer=sgd,adam", "lr=1e-1", "hydra.launcher.stack=1")
    run(sweep, *grid, *QUICK, "figures=none")
    in_sweep, (alone,) = by_name(sweep)["adam lr=0.1 seed=0"], runs(project)
    assert in_sweep.data.tags["optsweep.fingerprint"] == alone.data.tags["optsweep.fingerprint"]
    for name in ("train/loss", "val/loss", "test/loss", "test/accuracy", "batch/loss"):
        assert history(sweep, in_sweep.info.run_id, name) == history(
            project, alone.info.run_id, name
        )


@pytest.mark.long
def test_runs_at_one_seed_start_from_the_same_weights_and_batches(project: Path) -> None:
    # With a learning rate of next to nothing the first epoch's losses are those of the start.
    sweep_here(project, "optimizer=sgd,adam", "seed=0,1", "lr=1e-30", *QUICK)
    found = by_name(project)
    losses = {
        name: history(project, one.info.run_id, "batch/loss")[0] for name, one in found.items()
    }
    assert losses["sgd lr=1e-30 seed=0"] == losses["adam lr=1e-30 seed=0"]
    assert losses["sgd lr=1e-30 seed=1"] == losses["adam lr=1e-30 seed=1"]
    assert losses["sgd lr=1e-30 seed=0"] != losses["sgd lr=1e-30 seed=1"]


@pytest.mark.long
def test_diverged_runs_are_ranked_last_and_said(project: Path) -> None:
    sweep_here(project, "lr=1e30,1e-2", *QUICK)
    assert [(row["lr"], row["notes"]) for row in table(project / "outputs")] == [
        ("0.01", ""),
        ("1e+30", "diverged"),
    ]


@pytest.mark.long
def test_without_validation_ranking_by_test_is_said(project: Path) -> None:
    said = io.StringIO()
    console = Console(file=said, width=200)
    sweep_here(project, "lr=1e-2,1e-1", "val_fraction=0", *QUICK, console=console)
    assert "Ranked by test" in said.getvalue()


@pytest.mark.long
def test_hydras_own_name_for_a_launcher_works(project: Path) -> None:
    done = run(project, *GRID, "hydra/launcher=basic", "figures=none")
    assert done.returncode == 0, done.stderr
    assert "Best of 4 runs" in done.stdout
    assert len(runs(project)) == 4
