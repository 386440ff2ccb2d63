"""The command `python experiments/run.py`, as a person types it, for one run."""

import io
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console
from safetensors.torch import load_file

from optsweep.sweep.single_run import run_single
from optsweep.tracking.reading import finished_records
from optsweep.tracking.store import Store
from support.command import ROOT, copy_project, run, start
from support.in_process import new, train_here
from support.store import QUICK, artifacts, client, history, runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project in which one run was trained, and what that printed."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    done = run(project, *QUICK, "optimizer=adam", "lr=1e-2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return project, done.stdout


def test_a_run_is_tracked_whole(finished: tuple[Path, str]) -> None:
    project, _ = finished
    (found,) = runs(project)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "adam lr=0.01 seed=0"
    expected = {
        "dataset": "digits",
        "model": "mlp",
        "model.hidden": "[16]",
        "optimizer": "adam",
        "optimizer.betas": "[0.9, 0.999]",
        "loss": "cross_entropy",
        "schedule": "constant",
        "lr": "0.01",
        "batch_size": "64",
        "epochs": "2",
        "seed": "0",
        "device": "cpu",
        "val_fraction": "0.1",
    }
    assert expected.items() <= found.data.params.items()
    assert "optimizer.lr" not in found.data.params
    for split in ("train", "val", "test"):
        for score in ("loss", "accuracy"):
            points = history(project, found.info.run_id, f"{split}/{score}")
            assert [step for step, _ in points] == [1, 2]
            assert score == "loss" or all(0 <= value <= 1 for _, value in points)
    assert history(project, found.info.run_id, "batch/loss")[0][0] == 64
    assert {"epoch_seconds", "samples_per_second"} <= set(found.data.metrics)
    tags = found.data.tags
    assert len(tags["optsweep.fingerprint"]) == 32
    assert {"optsweep.env.torch", "optsweep.env.cpu", "mlflow.user"} <= set(tags)
    assert tags["optsweep.samples"].startswith("digits: 10 classes, ")
    assert found.inputs is not None
    (dataset,) = found.inputs.dataset_inputs
    assert dataset.dataset.name == "digits"
    assert dataset.dataset.digest
    files = artifacts(project, found.info.run_id)
    assert {"config.yaml", "overrides.txt", "environment.json", "weights.safetensors"} <= files
    assert artifacts(project, found.info.run_id, "figures") == {
        f"figures/{name}.png"
        for name in ("samples", "learning_curves", "confusion_matrix", "predictions")
    }


def test_the_terminal_shows_what_happened_and_where_it_lies(finished: tuple[Path, str]) -> None:
    project, printed = finished
    first, *lines = printed.splitlines()
    assert first == "digits: 10 classes, 1,294 train, 144 val, 359 test, 8x8 grey"
    assert lines[0].startswith("epoch 1/2  val loss ")
    assert "samples/s" in lines[0]
    assert "test loss" in lines[2]
    (folder,) = (project / "outputs").glob("*/*")
    assert lines[3] == f"folder  {folder}"
    assert lines[4] == f"MLflow  mlflow ui --backend-store-uri 'sqlite:///{project}/mlflow.db'"
    assert (folder / ".hydra" / "overrides.yaml").is_file()
    assert (folder / "optsweep.log").is_file()


@pytest.mark.long
def test_figures_none_draws_none(project: Path) -> None:
    train_here(project, *QUICK, "figures=none")
    (found,) = runs(project)
    assert artifacts(project, found.info.run_id, "figures") == set()


@pytest.mark.long
def test_the_same_command_gives_the_same_metrics_bit_for_bit(project: Path) -> None:
    for _ in range(2):
        assert run(project, *QUICK, "optimizer=rmsprop", "figures=none").returncode == 0
    first, second = runs(project)
    names = set(first.data.metrics) - {"epoch_seconds", "samples_per_second"}
    for name in names:
        assert history(project, first.info.run_id, name) == history(
            project, second.info.run_id, name
        )


@pytest.mark.long
def test_divergence_is_recorded_and_is_no_failure(project: Path) -> None:
    said = io.StringIO()
    console = Console(file=said, width=200)
    train_here(project, "lr=1e30", "epochs=50", "model.hidden=[16]", console=console)
    assert "diverged in epoch" in said.getvalue()
    (found,) = runs(project)
    assert found.info.status == "FINISHED"
    assert found.data.tags["optsweep.diverged"] == "true"
    assert len(history(project, found.info.run_id, "train/accuracy")) < 50


@pytest.mark.long
def test_evaluate_first_gives_step_zero(project: Path) -> None:
    train_here(project, *QUICK, "evaluate_first=true")
    (found,) = runs(project)
    steps = [step for step, _ in history(project, found.info.run_id, "test/accuracy")]
    assert steps == [0, 1, 2]
    assert [step for step, _ in history(project, found.info.run_id, "train/loss")] == [1, 2]


def test_weights_are_kept_under_the_models_own_names(finished: tuple[Path, str]) -> None:
    (folder,) = (finished[0] / "outputs").glob("*/*")
    weights = load_file(folder / "weights.safetensors")
    assert {name: list(value.shape) for name, value in weights.items()} == {
        "1.weight": [16, 64],
        "1.bias": [16],
        "3.weight": [10, 16],
        "3.bias": [10],
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("overrides", "least"),
    [
        ("model=softmax lr=0.5", 0.85),
        ("model=scratch_softmax loss=scratch_cross_entropy optimizer=scratch_sgd lr=0.5", 0.85),
        ("model=cnn dataset.resize=16 optimizer=adam lr=3e-3", 0.8),
        ("loss=mse optimizer=adam", 0.8),
        ("loss=nll optimizer=adamw", 0.8),
        ("optimizer=momentum schedule=cosine lr=0.05", 0.8),
        ("optimizer=adagrad schedule=one_cycle lr=0.05", 0.8),
        ("optimizer=rmsprop schedule=step dataset.normalize=true", 0.8),
        ("optimizer=adam precision=bf16", 0.8),
        ("optimizer=adam dataset.shuffle=false dataset.limit=1000", 0.8),
    ],
)
def test_every_part_learns_the_digits(project: Path, overrides: str, least: float) -> None:
    result = train_here(project, "epochs=5", "figures=none", *overrides.split())
    assert result.metrics["test/accuracy"] >= least


@pytest.mark.long
def test_resnet18_takes_a_training_step(project: Path) -> None:
    result = train_here(project, "model=resnet18", "dataset.limit=64", "epochs=1")
    assert result.status == "FINISHED"


@pytest.mark.long
def test_quickstart_reaches_its_figure(project: Path) -> None:
    train_here(project, "preset=quickstart")
    (found,) = runs(project)
    assert found.data.metrics["test/accuracy"] >= 0.95
    assert found.data.tags["optsweep.preset"] == "quickstart"


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_is_killed_and_says_so_by_its_exit_code(
    project: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, str(project / "experiments/run.py"), "epochs=100000"]
    process = start(command, project)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("digits: ")
    assert process.stdout.readline().startswith("epoch 1/")
    os.kill(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode == code
    (found,) = runs(project)
    assert found.info.status == "KILLED"


@pytest.mark.long
def test_it_works_from_any_working_directory(project: Path, tmp_path: Path) -> None:
    (project / "mlflow.db").unlink()  # it is created where there is none
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run(project, *QUICK, "figures=none", cwd=elsewhere).returncode == 0
    assert len(runs(project)) == 1
    assert list(elsewhere.iterdir()) == []


@pytest.mark.long
def test_a_store_can_be_given_by_the_environment(project: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/other.db"
    done = run(project, *QUICK, "figures=none", env={"MLFLOW_TRACKING_URI": uri})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other.db").is_file()
    assert client(project).get_experiment_by_name("optsweep") is None


@pytest.mark.long
def test_a_users_own_optimizer_is_a_yaml_file_and_no_new_code(project: Path) -> None:
    (project / "conf/optimizer/asgd.yaml").write_text(
        "_target_: torch.optim.ASGD\nlr: ${lr}\nlambd: 4e-3\n"
    )
    train_here(project, *QUICK, "optimizer=asgd")
    (found,) = runs(project)
    assert found.data.params["optimizer"] == "asgd"
    assert found.data.params["optimizer.lambd"] == "0.004"


def test_config_and_environment_are_kept_as_artifacts(finished: tuple[Path, str]) -> None:
    project, _ = finished
    (found,) = runs(project)
    path = project / "mlartifacts" / found.info.run_id / "artifacts"
    assert json.loads((path / "environment.json").read_text())["torch"]
    assert OmegaConf.load(path / "config.yaml").optimizer.lr == 0.01
    assert "optimizer=adam" in (path / "overrides.txt").read_text()


@pytest.mark.long
@pytest.mark.parametrize("arguments", [("--help",), ("--cfg", "job"), ("--info", "defaults")])
def test_hydras_own_flags_work_and_are_quick(project: Path, arguments: tuple[str, ...]) -> None:
    began = time.monotonic()
    done = run(project, *arguments)
    assert done.returncode == 0, done.stderr
    assert "optimizer" in done.stdout
    assert time.monotonic() - began < 30
    assert client(project).get_experiment_by_name("optsweep") is None


def test_help_lists_groups_options_values_and_examples(project: Path) -> None:
    text = run(project, "--help").stdout
    options = sorted(file.stem for file in (ROOT / "conf" / "optimizer").glob("*.yaml"))
    assert f"optimizer: {', '.join(options)}" in text
    assert "lr: 0.001" in text
    assert "python experiments/run.py -m optimizer=sgd,adam lr=1e-3,1e-1" in text


def test_a_run_that_is_found_hopeless_ends_there_and_is_marked(project: Path) -> None:
    asked: list[int] = []

    def hopeless(epoch: int, accuracy: float) -> bool:
        asked.append(epoch)
        assert 0 <= accuracy <= 1
        return epoch == 2

    job = replace(new(project, "epochs=4", "model.hidden=[16]"), hopeless=hopeless)
    store = Store.open(job.settings.tracking_uri, job.settings.experiment)
    record = run_single(job, store, Console(quiet=True))
    assert asked == [1, 2]
    assert (record.pruned, record.sound, record.epochs) == (True, False, 2)
    assert record.notes == "pruned after 2 epochs"
    (found,) = runs(project)
    assert found.info.status == "FINISHED"
    assert found.data.tags["optsweep.pruned"] == "true"
    (read,) = finished_records(store, [found])
    assert (read.pruned, read.epochs) == (True, 2)
    whole = train_here(project, "epochs=4", "model.hidden=[16]", "resume=true")
    assert (whole.sound, whole.epochs, whole.reused) == (True, 4, False)


def test_the_last_epoch_is_asked_no_more(project: Path) -> None:
    job = new(project, "epochs=2", "model.hidden=[16]")
    job = replace(job, hopeless=lambda epoch, accuracy: epoch == 2)
    store = Store.open(job.settings.tracking_uri, job.settings.experiment)
    assert run_single(job, store, Console(quiet=True)).sound
