"""Hydra's own settings do here what people know of them."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from optsweep.cli.compat.hydra import replace_basic
from support.config import config_of
from support.in_process import run_here
from support.store import QUICK, runs

GRID = ("-m", "optimizer=sgd,adam", "lr=1e-2,1e-1", "epochs=1", "model.hidden=[4]", "figures=none")


@pytest.mark.long
def test_parts_and_folders_of_a_sweeps_own_make_one_sweep(project: Path) -> None:
    """In three parts, in folders by a value, one after another, with what is logged."""
    done = run_here(
        project,
        *GRID,
        "hydra/launcher=basic",
        "hydra.sweeper.max_batch_size=3",
        "hydra.sweep.subdir=${hydra.runtime.choices.optimizer}-${optimizer.lr}-${batch_size}",
        "hydra.verbose=optsweep",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Best of 4 runs") == done.stdout.count("folder  ") == 1
    (folder,) = (project / "outputs").glob("*/*-sweep")
    expected = {f"{name}-{lr}-64" for name in ("sgd", "adam") for lr in (0.01, 0.1)}
    assert expected == {path.parent.name for path in folder.glob("*/.hydra")}
    assert len(json.loads((folder / "verdict.json").read_text())["workloads"]) == 1
    parents = {one.data.tags["mlflow.parentRunId"] for one in runs(project)}
    assert len(runs(project)) == 4
    assert f"sweep   {parents.pop()}\n" in done.stdout and not parents
    assert "[optsweep.sweep.scheduler][DEBUG] submitted sgd lr=0.01 seed=0" in done.stderr
    assert "alembic" not in done.stderr


@pytest.mark.long
def test_runs_that_are_named_alike_have_folders_of_their_own(project: Path) -> None:
    done = run_here(project, *GRID[:2], *GRID[3:], "hydra/launcher=basic", "hydra.sweep.subdir=a/b")
    assert done.returncode == 0, done.stderr
    (folder,) = (project / "outputs").glob("*/*-sweep")
    assert {path.name for path in (folder / "a").iterdir()} == {"b", "b-1"}


def test_a_folder_outside_the_sweeps_is_refused(project: Path) -> None:
    for name in ("..", ".", "/tmp/elsewhere"):
        done = run_here(project, *GRID, f"hydra.sweep.subdir={name}")
        assert done.returncode == 2
        assert "type for example 'hydra.sweep.subdir=${hydra.job.num}'" in done.stderr


def test_a_single_run_shows_what_is_logged_for_debugging(project: Path) -> None:
    done = run_here(project, *QUICK, "figures=none", "hydra.verbose=optsweep")
    assert done.returncode == 0, done.stderr
    assert "epoch 2 of sgd lr=0.001 seed=0" in done.stderr


def test_hydras_names_stand_for_what_keeps_secrets_and_judges() -> None:
    replace_basic()
    hydra = config_of("hydra/launcher=basic", "hydra/sweeper=basic").hydra
    assert hydra.launcher._target_ == "hydra_plugins.optsweep.local.LocalLauncher"
    assert (hydra.launcher.workers, hydra.launcher.stack) == (0, 1)
    assert hydra.sweeper._target_ == "hydra_plugins.optsweep.grid.GridSweeper"


def two_classes(folder: Path) -> Path:
    for name, value in (("cat", 0), ("dog", 255)):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            picture = Image.new("RGB", (32, 32), (value, number, os.getpid() % 256))
            picture.save(folder / name / f"{number}.png")
    return folder


@pytest.mark.long
def test_a_presets_value_that_another_option_lacks_is_named_with_what_to_type(
    project: Path,
) -> None:
    pictures = f"dataset.path={two_classes(project / 'pictures')}"
    typed = ("preset=cifar_cnn", "dataset=image_folder", pictures, "plan=true")
    for arguments in (typed, ("-m", "lr=1e-3,1e-2", *typed)):
        done = run_here(project, *arguments)
        assert done.returncode == 2
        assert done.stderr == (
            "error: preset=cifar_cnn sets dataset.train_on, which dataset=image_folder does not "
            "have; type ~dataset.train_on\n"
        )
    done = run_here(project, *typed, "~dataset.train_on")
    assert done.returncode == 0
    assert done.stderr.startswith("dataset.shuffle=false trains class by class")
    assert done.stderr.endswith("type dataset.shuffle=true\n")
    shuffled = (*typed, "~dataset.train_on", "dataset.shuffle=true")
    for silent in (shuffled, ("preset=fashion_mlp", "dataset=digits", "plan=true")):
        done = run_here(project, *silent)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
