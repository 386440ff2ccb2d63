"""What a run logs beside its metrics: its description, its weights and its figures.

In MLflow these are tags, an input and artifacts; the run's folder holds the same files.
"""

import functools
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from optsweep.data.dataset import Dataset, load_dataset
from optsweep.models import trained_model
from optsweep.models.build import build_model
from optsweep.models.trained_model import WEIGHTS, ModelSpec
from optsweep.records.run import RunRecord
from optsweep.runs.job import Job
from optsweep.system import environment
from optsweep.system.project_folder import command
from optsweep.system.redaction import redacted
from optsweep.tracking.sending.calls import DatasetInfo
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun
from optsweep.training.convolutions import Convolutions, convolutions_of
from optsweep.training.evaluation import predict


class UnusableWeights(Exception):
    """The file is empty, torn, foreign or of another model."""


def run_tags(job: Job, owner: str, stack: int) -> dict[str, str]:
    """What MLflow shows as a run's tags: kind, fingerprint, folder, data, versions, source.

    A run that is trained together with others says how many they are.
    """
    tags = {
        "optsweep.kind": "run",
        "optsweep.fingerprint": job.fingerprint,
        "optsweep.folder": str(job.folder),
        "optsweep.owner": owner,
        "optsweep.samples": job.data,
        **source_tags(),
    }
    if job.settings.preset:
        tags["optsweep.preset"] = job.settings.preset
    if stack > 1:
        tags["optsweep.stack"] = str(stack)
    return tags


@functools.cache
def source_tags() -> dict[str, str]:
    """Versions, hardware, user and commit, under MLflow's own names where it has one."""
    tags = {f"optsweep.env.{name}": value for name, value in environment.describe().items()}
    tags |= {
        "mlflow.user": environment.user(),
        "mlflow.source.name": command().removeprefix("python "),
        "mlflow.source.type": "LOCAL",
    }
    commit = environment.git_commit(Path(__file__).parent)
    return tags if commit is None else {**tags, "mlflow.source.git.commit": commit}


def describe_run(job: Job, data: Dataset, tracked: TrackedRun) -> None:
    """The dataset, config, overrides and environment, kept in MLflow."""
    splits = {"train": data.train, "val": data.val, "test": data.test}
    sizes = {name: 0 if split is None else len(split.labels) for name, split in splits.items()}
    samples = {name: size for name, size in sizes.items() if size}
    target = job.settings.dataset.target
    tracked.log_dataset(DatasetInfo(data.name, data.digest, target, data.input_shape, samples))
    tracked.log_texts(
        {
            "config.yaml": job.config,
            "overrides.txt": "\n".join(redacted(list(job.overrides))),
            "environment.json": json.dumps(environment.describe(), indent=1),
        }
    )


def keep_weights(job: Job, data: Dataset, network: torch.nn.Module, tracked: TrackedRun) -> None:
    """A run's weights and buffers as a safetensors file, in its folder and in MLflow."""
    path = job.folder / WEIGHTS
    trained_model.save(network.state_dict(), ModelSpec.of(job.settings, data), path)
    tracked.log_file(path)


def keep_best_figures(job: Job, record: RunRecord, store: Store) -> None:
    """Draws the figures of a finished run from its weights.

    Raises:
        UnusableWeights: they cannot be read; the message says why.
    """
    data = load_dataset(job.settings)
    network = build_model(job.settings, data.input_shape, len(data.classes))
    path = job.folder / WEIGHTS
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UnusableWeights(f"{path} cannot be read ({error})") from error
    tracked = TrackedRun(store, record.run_id, job.folder)
    computed = convolutions_of(job.settings, network, data.input_shape)
    keep_figures(job, record, data, network, tracked, computed)


def keep_figures(
    job: Job,
    record: RunRecord,
    data: Dataset,
    network: torch.nn.Module,
    tracked: TrackedRun,
    computed: Convolutions,
) -> None:
    """Draws a run's figures into its folder and logs them: samples, curves, confusion, guesses."""
    from optsweep.report.figures import picture_grids
    from optsweep.report.figures import run as figures

    judging = data.judging
    predicted = predict(network, data, judging, computed).numpy()
    images, true = judging.images.cpu().numpy(), judging.labels.cpu().numpy()
    labels = data.train.labels[:24]
    shown = data.train.take(torch.arange(len(labels), device=labels.device))
    classes, peak = data.classes, data.peak
    drawn = {
        "samples": picture_grids.sample_grid(
            shown.cpu().numpy(), labels.cpu().numpy(), classes, peak=peak
        ),
        "learning_curves": figures.learning_curves(record.history, title=job.name),
        "confusion_matrix": figures.confusion_matrix(true, predicted, classes),
        "predictions": picture_grids.prediction_grid(images, true, predicted, classes, peak=peak),
    }
    folder = job.folder / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        path = folder / f"{name}.png"
        figures.save(figure, path)
        tracked.log_file(path, "figures")
