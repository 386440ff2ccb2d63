"""Keeps the best model of each workload in the sweep's folder, under `best/`, and in MLflow.

A folder holds the weights with all that is needed to use them, the resolved config, and what people
and other programs read: `model.json` and `README.md`.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from optsweep.data.dataset import load_dataset
from optsweep.errors import ModelError, OptsweepError
from optsweep.models import trained_model
from optsweep.models.trained_model import WEIGHTS, ModelSpec
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.runs.job import Job
from optsweep.sweep.best.readme import readme
from optsweep.sweep.display.lines import say
from optsweep.system import files
from optsweep.system.exceptions import first_line
from optsweep.tracking.tracked_run import TrackedRun
from optsweep.verdict.candidates import best_runs

BEST = "best"
CONFIG, ABOUT, README = "config.yaml", "model.json", "README.md"


@dataclass(frozen=True)
class _Best:
    """A workload's best run, its job, and where its model is kept: `best`, or `best/WORKLOAD`."""

    run: RunRecord
    job: Job
    place: Path


def keep_best(
    record: SweepRecord, jobs: Sequence[Job], folder: Path, parent: TrackedRun, console: Console
) -> None:
    """Keeps the best models of a sweep whose jobs gave its runs, in order, and says where.

    Where one cannot be kept, a line says why, and there is no folder for it.
    """
    for earlier in (*folder.glob(f"{BEST}/*/"), folder / BEST):  # of a start that had others
        _remove(earlier)
    for best in _found(record, jobs):
        try:
            refuse_run_folder(folder / best.place, jobs)
            _keep(best, folder / best.place, parent)
        except (OptsweepError, OSError) as error:
            _remove(folder / best.place)
            say(console, f"no best model of {best.run.name}: {' '.join(str(error).split())}")
        else:
            say(console, f"best    {folder / best.place}")
            if best.job.settings.log_model:
                name = re.sub(r"[^\w-]+", "-", "-".join(best.place.parts))
                log_for_serving(best.job, folder / best.place / WEIGHTS, name, parent, console)


def _found(record: SweepRecord, jobs: Sequence[Job]) -> Iterator[_Best]:
    """The best run of each workload; `record`'s runs are in the order of the jobs."""
    best = best_runs(record)
    job_of = {id(run): job for job, run in zip(jobs, record.runs, strict=True)}
    for place, run in zip(_places(list(best)), best.values(), strict=True):
        yield _Best(run, job_of[id(run)], place)


def _places(workloads: Sequence[str]) -> list[Path]:
    """A folder for each workload; names that are alike as folders get numbers."""
    if len(workloads) == 1:
        return [Path(BEST)]
    names = [re.sub(r"[^\w.=-]+", "-", name).strip(".-")[:80] for name in workloads]
    return [
        Path(BEST, f"{name}-{number}" if names.count(name) > 1 else name)
        for number, name in enumerate(names)
    ]


def _keep(best: _Best, folder: Path, parent: TrackedRun) -> None:
    job, data = best.job, load_dataset(best.job.settings)
    spec = ModelSpec.of(job.settings, data)
    weights = _weights(best, parent)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        CONFIG: job.config,
        ABOUT: spec.to_json(indent=1) + "\n",
        README: readme(best.run, spec, folder, parent.run_id),
    }
    for name, text in texts.items():
        files.write(folder / name, text, durable=False)
    trained_model.save(weights, spec, folder / WEIGHTS, durable=False)
    trained_model.load(folder / WEIGHTS)  # lest weights of another model be kept
    for name in (WEIGHTS, *texts):
        parent.log_file(folder / name, str(best.place))


def refuse_run_folder(folder: Path, jobs: Sequence[Job]) -> None:
    """Makes sure that no run has its own files there.

    Raises:
        ModelError: it is the folder of a run, as `hydra.sweep.subdir` has named it.
    """
    if any(job.folder == folder for job in jobs):
        raise ModelError(f"{folder} is the folder of a run; type another hydra.sweep.subdir=")


def _remove(folder: Path) -> None:
    """Removes a model that was kept here, and the folder where nothing else lies in it.

    A run's own folder may have the same name: it holds no `model.json`.
    """
    with suppress(OSError):
        if (folder / ABOUT).exists():
            for name in (WEIGHTS, CONFIG, README, ABOUT):  # what says that it is ours comes last
                (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _weights(best: _Best, parent: TrackedRun) -> Mapping[str, Tensor]:
    """A run's weights: those in its folder, else those in MLflow.

    Raises:
        ModelError: they are in neither.
    """
    own = best.job.folder / WEIGHTS
    try:
        return load_file(own)
    except (OSError, SafetensorError) as error:
        here = first_line(error)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return load_file(parent.store.download(best.run.run_id, "", WEIGHTS, Path(folder)))
    except (OptsweepError, OSError, SafetensorError) as error:
        raise ModelError(
            f"its weights are neither in {own.parent} ({here}) nor in MLflow ({first_line(error)})"
        ) from error


def log_for_serving(
    job: Job, weights: Path, name: str, tracked: TrackedRun, console: Console
) -> None:
    """Logs a model as one of MLflow's too, and says how it is served, or why it is not there."""
    from optsweep.tracking.logged_model import log_model  # a second of imports

    data = load_dataset(job.settings)
    example = data.judging.images[:2].numpy()
    tags = {"optsweep.fingerprint": job.fingerprint}
    try:
        address = log_model(
            tracked.store, tracked.run_id, name, weights, example, tags, data.classes
        )
    except (OptsweepError, OSError) as error:
        say(console, f"no MLflow model of {job.name}: {' '.join(str(error).split())}")
    else:
        say(console, f"serve   mlflow models serve -m {address} --env-manager local")
