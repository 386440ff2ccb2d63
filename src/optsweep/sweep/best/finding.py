"""Loads a trained model by its file, its folder, or the id of its run or sweep in MLflow."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from optsweep.errors import ModelError
from optsweep.models.trained_model import WEIGHTS, TrainedModel, load
from optsweep.sweep.best.keeping import BEST
from optsweep.system.redaction import redact
from optsweep.tracking.reading import latest_sweep
from optsweep.tracking.store import Run, Store

LATEST = "latest"


def find_model(given: str, store: Callable[[], Store]) -> TrainedModel:
    """The model that is named.

    Args:
        given: the folder of a run or a sweep, its `best/`, a file of weights; the id of a run or a
            sweep; or "latest", the best model of the sweep that was started last.
        store: opens the tracking store, where it is needed.

    Raises:
        ModelError: there is no such model, its file is damaged, or there are several.
        OptsweepError: the store cannot be used, or code of the user's own cannot be imported.
    """
    path = Path(given).expanduser()
    if given != LATEST and path.exists():
        return load(_file_in(path))
    if given != LATEST and not given.replace("-", "").isalnum():
        raise ModelError(f"model={given}: there is no such folder or file")
    opened = store()
    run_id = latest_sweep(opened, "model") if given == LATEST else given
    with tempfile.TemporaryDirectory() as folder:
        return load(_fetched(opened, run_id, Path(folder)))


def _file_in(path: Path) -> Path:
    """The file of weights that a path means."""
    if path.is_file():
        return path
    for file in (path / WEIGHTS, path / BEST / WEIGHTS):
        if file.exists():
            return file
    best = path if path.name == BEST else path / BEST
    several = sorted(file.parent for file in best.glob(f"*/{WEIGHTS}"))
    if several:
        raise ModelError(
            f"model={path}: it holds {len(several)} models, one for each workload; type "
            f"{' or '.join(f'model={each}' for each in several)}"
        )
    raise ModelError(
        f"model={path}: it holds no {WEIGHTS}; type the folder of a run that finished, or of a "
        "sweep that has best/"
    )


def _fetched(store: Store, run_id: str, into: Path) -> Path:
    """The file of weights of a run, or of a sweep's best, from MLflow."""
    run = store.run(run_id)
    if run is None:
        raise ModelError(
            f"model={run_id}: there is no such folder, and no such run in {redact(store.uri)}; "
            "type model=latest, or the id that a sweep prints at its end"
        )
    is_sweep = run.data.tags.get("optsweep.kind") == "sweep"
    try:
        return store.download(run_id, BEST if is_sweep else "", WEIGHTS, into)
    except FileNotFoundError:
        raise ModelError(f"model={run_id}: {_lacking(run, is_sweep)}") from None


def _lacking(run: Run, is_sweep: bool) -> str:
    """Why MLflow has no weights of a run or a sweep, and what to type instead."""
    if not is_sweep:
        return "this run kept no weights, as one that did not finish or that diverged"
    ids = run.data.tags.get("optsweep.best_run_id", "")
    if " | " in ids:
        return f"the sweep has a best model for each workload; type the id of one: {ids}"
    return (
        "the sweep has no best model: none of its runs finished, or an earlier version ran it; "
        "type its line again with resume=true"
    )
