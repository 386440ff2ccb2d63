"""The best model of a sweep: what is kept of it, where, and how it is found again."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console

import optsweep
from optsweep.data.dataset import load_dataset
from optsweep.errors import ModelError, OptsweepError, SettingsError
from optsweep.models.trained_model import WEIGHTS
from optsweep.sweep.best.finding import find_model
from optsweep.sweep.best.keeping import refuse_run_folder
from optsweep.sweep.best.samples import own_samples
from optsweep.tracking.store import Store
from support.command import copy_project
from support.in_process import new, sweep_here, train_here
from support.store import artifacts, runs

SMALL = ("model.hidden=[16]", "epochs=1")
RATES = ("lr=1e-4,1e-1", *SMALL)


def said(project: Path, *overrides: str, **options: Any) -> str:
    """What a sweep prints."""
    out = io.StringIO()
    sweep_here(project, *overrides, console=Console(file=out, width=200), **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project in which two rates were swept, and what that printed; tests read it alone."""
    made = copy_project(tmp_path_factory.mktemp("swept") / "project")
    return made, said(made, *RATES)


def store(project: Path) -> Store:
    return Store.open(f"sqlite:///{project}/mlflow.db", "optsweep")


def no_store() -> Store:
    raise AssertionError("a path needs no store")


@pytest.mark.long
def test_a_sweep_keeps_its_best_model_in_its_folder_and_in_mlflow(
    swept: tuple[Path, str],
) -> None:
    project, text = swept
    folder = project / "outputs" / "best"
    assert f"best    {folder}\n" in text
    names = {"README.md", "config.yaml", "model.json", WEIGHTS}
    assert {path.name for path in folder.iterdir()} == names
    (sweep,) = runs(project, "sweep")
    assert artifacts(project, sweep.info.run_id, "best") == {f"best/{name}" for name in names}
    assert yaml.safe_load((folder / "config.yaml").read_text())["lr"] == 0.1
    about = json.loads((folder / "model.json").read_text())
    assert about["classes"] == [str(number) for number in range(10)]
    assert about["input_shape"] == [1, 8, 8] and about["peak"] == 16
    page = (folder / "README.md").read_text()
    for words in (f'load_model("{folder}")', sweep.info.run_id, "divides uint8 by 16", "lr=0.1"):
        assert words in page


@pytest.mark.long
def test_what_others_have_put_into_best_stays_there(project: Path) -> None:
    folder = project / "outputs" / "best"
    said(project, *RATES)
    (folder / "model.onnx").write_text("exported")
    (folder / "0").mkdir()
    (folder / "0" / WEIGHTS).write_text("a run's own")
    text = said(project, *RATES)
    assert f"best    {folder}\n" in text
    assert (folder / "model.onnx").read_text() == "exported"
    assert (folder / "0" / WEIGHTS).read_text() == "a run's own"
    assert (folder / WEIGHTS).exists()


@pytest.mark.long
def test_a_run_keeps_its_folder_where_that_is_called_best(project: Path) -> None:
    job = new(project, *SMALL, folder="best")
    with pytest.raises(ModelError, match="is the folder of a run; type another"):
        refuse_run_folder(project / "outputs" / "best", [job])
    refuse_run_folder(project / "outputs" / "best", [new(project, *SMALL, folder="best/0")])


def test_a_model_is_found_by_each_of_its_names(swept: tuple[Path, str]) -> None:
    project, _ = swept
    folder = project / "outputs"
    (sweep,) = runs(project, "sweep")
    best = sweep.data.tags["optsweep.best_run_id"]
    (number,) = [n for n, run in enumerate(runs(project)) if run.info.run_id == best]
    paths = [folder, folder / "best", folder / "best" / WEIGHTS, folder / str(number)]
    models = [find_model(str(path), no_store) for path in paths]
    names = ["latest", sweep.info.run_id, best]
    models += [find_model(name, lambda: store(project)) for name in names]
    images = load_dataset(new(project, *SMALL).settings).test.images
    (first, *others) = [model(images) for model in models]
    assert all(torch.equal(first, other) for other in others)


def test_python_loads_it_by_each_of_its_names(
    swept: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = swept
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    models = [
        optsweep.load_model(),
        optsweep.load_model(project / "outputs"),
        optsweep.load_model("latest", project=project, tracking_uri=store(project).uri),
        optsweep.load_sweep().best_model(),
    ]
    images = torch.zeros(1, 8, 8, dtype=torch.uint8)
    (first, *others) = [model(images) for model in models]
    assert all(torch.equal(first, other) for other in others)
    with pytest.raises(SettingsError, match="holds no experiment nothing"):
        optsweep.load_model(experiment="nothing")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nothing", "no such run in sqlite"),
        ("0" * 32, "no such run in sqlite"),
        ("no/where", "there is no such folder or file"),
        ("conf", "holds no weights.safetensors"),
        ("latest", "model=latest: the experiment holds no sweep yet"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, given: str, words: str
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(OptsweepError, match=words) as raised:
        find_model(given, lambda: store(project))
    assert "\n" not in str(raised.value)


@pytest.mark.long
def test_each_workload_has_a_best_model_of_its_own(project: Path) -> None:
    said(project, "model=mlp,softmax", "epochs=1,2", "lr=0.1")
    best = project / "outputs" / "best"
    assert sorted(path.name for path in best.iterdir()) == [
        "epochs=1",
        "epochs=2",
    ]
    (sweep,) = runs(project, "sweep")
    assert f"best/epochs=1/{WEIGHTS}" in artifacts(project, sweep.info.run_id, "best/epochs=1")
    assert find_model(str(best / "epochs=1"), no_store).classes
    for given in (str(project / "outputs"), sweep.info.run_id):
        with pytest.raises(ModelError, match=r"holds 2 models|for each workload") as raised:
            find_model(given, lambda: store(project))
        assert "epochs=1" in str(raised.value)


@pytest.mark.long
def test_weights_of_an_earlier_sweep_come_from_mlflow_where_its_folder_is_gone(
    project: Path,
) -> None:
    first, second = project / "outputs/first", project / "outputs/second"
    said(project, *RATES, folder=first)
    shutil.rmtree(first)
    text = said(project, "lr=1e-4,1e-3,1e-1", *SMALL, "resume=true", folder=second)
    assert f"best    {second / 'best'}\n" in text
    (earlier,) = [run for run in runs(project, "sweep") if str(first) in str(run.data.tags)]
    fetched = find_model(earlier.info.run_id, lambda: store(project))
    images = torch.zeros(1, 1, 8, 8)
    assert torch.equal(find_model(str(second), no_store)(images), fetched(images))


@pytest.mark.long
def test_weights_that_are_gone_are_one_line_and_no_folder(project: Path) -> None:
    said(project, *RATES)
    for file in [*project.glob(f"outputs/*/{WEIGHTS}"), *project.glob(f"mlartifacts/**/{WEIGHTS}")]:
        file.unlink()
    text = said(project, *RATES, "resume=true")
    (line,) = [line for line in text.splitlines() if line.startswith("no best model of")]
    assert "lr=0.1" in line and "nor in MLflow" in line
    assert not (project / "outputs/best").exists()


@pytest.mark.long
def test_a_sweep_without_a_sound_run_keeps_no_model(project: Path) -> None:
    text = said(project, "lr=1e30,1e32", *SMALL)
    assert "best    " not in text and not (project / "outputs/best").exists()
    (sweep,) = runs(project, "sweep")
    with pytest.raises(ModelError, match="the sweep has no best model"):
        find_model(sweep.info.run_id, lambda: store(project))


def test_a_single_run_is_found_by_its_folder_and_its_id(project: Path) -> None:
    record = train_here(project, *SMALL, "lr=0.1")
    own = find_model(str(project / "outputs"), no_store)
    stored = find_model(record.run_id, lambda: store(project))
    samples = own_samples(stored)
    predicted, _ = own.predict(samples.scaled())
    right = [own.classes[n] == true for n, true in zip(predicted, samples.true, strict=True)]
    assert sum(right) / len(right) == record.metrics["test/accuracy"]
    assert samples.first.shape == (24, 1, 8, 8)
