"""Looking into the MLflow store of a project under test."""

import atexit
import functools
import math
import shutil
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from optsweep.tracking.new_store import create_sqlite_store
from optsweep.training.epoch_journal import Entry

QUICK = ("epochs=2", "model.hidden=[16]")  # overrides of a run that takes no time


@functools.cache
def _empty_store() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="optsweep-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    create_sqlite_store(folder / "mlflow.db")
    return folder / "mlflow.db"


def copy_empty_store(path: Path) -> None:
    """Copies an empty store to `path`, where there is no file."""
    if not path.exists():
        shutil.copy(_empty_store(), path)


def client(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project}/mlflow.db")


def runs(project: Path, kind: str = "run") -> list[Run]:
    """The store's runs of a kind, in the order in which they started."""
    store = client(project)
    experiment = store.get_experiment_by_name("optsweep")
    assert experiment is not None
    chosen = f"tags.`optsweep.kind` = '{kind}'"
    found = store.search_runs([experiment.experiment_id], chosen, order_by=["start_time ASC"])
    return list(found)


def by_name(project: Path) -> dict[str, Run]:
    """The store's runs by their names; runs of a sweep start side by side, in no fixed order."""
    return {str(run.info.run_name): run for run in runs(project)}


def history(project: Path, run_id: str, metric: str) -> list[tuple[int, float]]:
    points = client(project).get_metric_history(run_id, metric)
    return [(point.step, point.value) for point in points]


def artifacts(project: Path, run_id: str, folder: str | None = None) -> set[str]:
    return {entry.path for entry in client(project).list_artifacts(run_id, folder)}


def entry(epoch: int, loss: float) -> Entry:
    seen = 1000 * epoch
    return Entry(epoch, seen, {"train/loss": loss, "val/loss": math.nan}, {seen: loss})
