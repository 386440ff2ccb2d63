"""One run, whole: build it, train it, track every epoch, keep its weights and pictures.

`check` is given settings and builds everything that a run needs, without training: what cannot
work is refused before anything starts. `run` trains and hands on a `Result`.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from optsweep import dataset as datasets
from optsweep import environment, loss, model, optimizer, schedule
from optsweep.dataset import Dataset
from optsweep.device import check_precision, computing, resolve, run_in_bfloat16
from optsweep.errors import FolderError
from optsweep.progress import RunProgress
from optsweep.settings import Settings
from optsweep.tracking import DatasetNote, Store, TrackedRun, ui_command
from optsweep.training import Epoch, Stack, evaluate_splits, predict, train

History = dict[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Job:
    """A run that is to be carried out: its settings, its folder, and how it was asked for.

    `swept` maps the values that the sweep varies to this run's choice; `config` is the resolved
    config as YAML; `overrides` are as typed.
    """

    settings: Settings
    folder: Path
    overrides: Sequence[str] = ()
    swept: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""

    @property
    def name(self) -> str:
        """What tells this run from others: `adam lr=0.001 seed=0`, and what else is swept."""
        settings = self.settings
        named = {"optimizer", "lr", "seed", "preset"}
        others = [f"{key}={value}" for key, value in self.swept.items() if key not in named]
        words = [settings.optimizer.name, f"lr={settings.lr:g}", *others, f"seed={settings.seed}"]
        return " ".join(words)


@dataclass
class Result:
    """What became of a run. `metrics` are the last epoch's, `history` is by epoch from 1."""

    job: Job
    run_id: str
    status: str = "FINISHED"
    diverged: bool = False
    metrics: dict[str, float] = field(default_factory=dict)
    history: History = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


def objective(metrics: Mapping[str, float]) -> float:
    """The accuracy that runs are ranked by: validation where there is one, else test."""
    return metrics.get("val/accuracy", metrics.get("test/accuracy", 0.0))


def ready(settings: Settings) -> Settings:
    """The same settings with `device=auto` decided, after everything in them was tried.

    Raises:
        SettingsError, DatasetError: a run with these settings cannot be carried out.
    """
    settings = replace(settings, device=resolve(settings.device))
    check_precision(settings)
    data = load_dataset(settings)
    loss.build(settings)
    _try_model(settings, data)
    _try_optimizer(settings)
    return settings


def load_dataset(settings: Settings) -> Dataset:
    """The settings' dataset; the runs of a process that agree in it share it."""
    key = repr((settings.dataset, settings.data_dir, settings.val_fraction))
    if key not in _loaded:
        _loaded.clear()  # one at a time: a sweep over datasets would fill the memory
        _loaded[key] = datasets.load(settings)
    return _loaded[key]


_loaded: dict[str, Dataset] = {}
_tried: set[str] = set()


def _try_model(settings: Settings, data: Dataset) -> None:
    key = repr((settings.model, data.name, data.input_shape, len(data.classes)))
    if key not in _tried:
        model.build(settings, data.input_shape, len(data.classes))
        _tried.add(key)


def _try_optimizer(settings: Settings) -> None:
    probe = torch.nn.Linear(2, 2)  # two dimensions: some optimizers take nothing else
    schedule.build(settings, optimizer.build(settings, probe), steps_per_epoch=1)


def build(settings: Settings, data: Dataset, device: torch.device) -> Stack:
    """Model, loss, optimizer and schedule of one run, on the device."""
    network = model.build(settings, data.input_shape, len(data.classes)).to(device)
    if settings.precision == "bf16":
        run_in_bfloat16(network, device)
    moves = optimizer.build(settings, network)
    steps = math.ceil(len(data.train.labels) / settings.batch_size)
    return Stack(
        model=network,
        optimizers=[moves],
        schedules=[schedule.build(settings, moves, steps)],
        loss=loss.build(settings),
        seeds=[settings.seed],
    )


def run(
    job: Job, store: Store, *, console: Console, parent: str | None = None, figures: bool = True
) -> Result:
    """Carries out one run, whose settings `ready` gave; its MLflow run is under `parent`.

    With `figures`, its pictures are drawn and kept. What is interrupted or fails is marked so in
    the store, and the exception goes on.
    """
    settings = job.settings
    with computing(settings) as device:
        data = load_dataset(settings).to(device)
        stack = build(settings, data, device)
        refuse_full(job.folder, model.weigh(stack.model))
        tags = run_tags(job, data)
        with store.start(
            job.name, params=run_params(settings, data), tags=tags, parent=parent
        ) as tracked:
            _describe(job, data, tracked)
            result = Result(job, tracked.run_id)
            _train(stack, data, settings, tracked, result, console)
            _keep_weights(job, stack.model, tracked)
            if figures:
                keep_figures(result, data, stack.model, tracked)
    return result


def _train(
    stack: Stack,
    data: Dataset,
    settings: Settings,
    tracked: TrackedRun,
    result: Result,
    console: Console,
) -> None:
    if settings.evaluate_first:
        first = {name: value.item() for name, value in evaluate_splits(stack, data).items()}
        _record(result, 0, first)
        tracked.log_epoch(0, first, {})
    with RunProgress(console, result.job.name, settings.epochs) as progress:
        for epoch in train(
            stack,
            data,
            batch_size=settings.batch_size,
            epochs=range(1, settings.epochs + 1),
            shuffle=settings.dataset.arguments.get("shuffle", True),
            log_every=settings.log_every,
            watch=progress.watch,
        ):
            metrics = {name: value.item() for name, value in epoch.metrics.items()}
            tracked.log_epoch(epoch.number, {**metrics, **_speed(epoch)}, _batches(epoch))
            _record(result, epoch.number, metrics)
            result.seconds += epoch.seconds
            progress.finished(epoch.number, metrics, epoch.samples_per_second)
            if epoch.diverged.item():
                result.diverged = True
                tracked.tag(diverged="true")


def _speed(epoch: Epoch) -> dict[str, float]:
    return {"epoch_seconds": epoch.seconds, "samples_per_second": epoch.samples_per_second}


def _batches(epoch: Epoch) -> dict[int, float]:
    return dict(zip(epoch.samples_seen, epoch.batch_losses[:, 0].tolist(), strict=True))


def _record(result: Result, epoch: int, metrics: dict[str, float]) -> None:
    result.metrics = metrics
    for name, value in metrics.items():
        result.history.setdefault(name, []).append((epoch, value))


def run_params(settings: Settings, data: Dataset) -> dict[str, Any]:
    """What MLflow shows as a run's parameters."""
    return {**settings.params(), "threads": settings.threads or torch.get_num_threads()}


def run_tags(job: Job, data: Dataset) -> dict[str, str]:
    """What MLflow shows as a run's tags: kind, fingerprint, versions, hardware, source."""
    tags = {
        "optsweep.kind": "run",
        "optsweep.fingerprint": job.settings.fingerprint(data.digest),
        "optsweep.folder": str(job.folder),
        **source_tags(),
    }
    if job.settings.preset:
        tags["optsweep.preset"] = job.settings.preset
    return tags


@functools.cache
def source_tags() -> dict[str, str]:
    """Versions, hardware, user and commit, under MLflow's own names where it has one."""
    tags = {f"optsweep.env.{name}": value for name, value in environment.describe().items()}
    tags |= {
        "mlflow.user": environment.user(),
        "mlflow.source.name": "experiments/run.py",
        "mlflow.source.type": "LOCAL",
    }
    commit = environment.git_commit(Path(__file__).parent)
    return tags if commit is None else {**tags, "mlflow.source.git.commit": commit}


def _describe(job: Job, data: Dataset, tracked: TrackedRun) -> None:
    """The dataset, config, overrides and environment, kept in the folder and in MLflow."""
    splits = {"train": data.train, "val": data.val, "test": data.test}
    samples = {name: len(split.labels) for name, split in splits.items() if split is not None}
    target = job.settings.dataset.target
    tracked.log_dataset(DatasetNote(data.name, data.digest, target, data.input_shape, samples))
    tracked.log_text("config.yaml", job.config)
    tracked.log_text("overrides.txt", "\n".join(job.overrides))
    tracked.log_text("environment.json", json.dumps(environment.describe(), indent=1))


def refuse_full(folder: Path, needed: int) -> None:
    """Tries the run's folder with a file of the size that its weights will have.

    Raises:
        FolderError: the folder cannot be written or has no room.
    """
    probe = folder / ".room"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(b"\0" * (needed + 2**16))
    except OSError as error:
        raise FolderError(
            f"{folder} cannot take this run's {needed / 2**20:.1f} MB ({error.strerror}); free "
            "or open it, or give another with hydra.run.dir=/path/to/folder"
        ) from error
    finally:
        probe.unlink(missing_ok=True)


def _keep_weights(job: Job, network: torch.nn.Module, tracked: TrackedRun) -> None:
    path = job.folder / "weights.safetensors"
    # The parameters are views of one buffer, and safetensors keeps no views.
    weights = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})
    tracked.log_file(path)


def load_weights(job: Job, data: Dataset) -> torch.nn.Module:
    """The trained model of a run that was carried out, on the CPU."""
    network = model.build(job.settings, data.input_shape, len(data.classes))
    network.load_state_dict(load_file(job.folder / "weights.safetensors"))
    return network


def keep_figures(
    result: Result, data: Dataset, network: torch.nn.Module, tracked: TrackedRun
) -> None:
    """Draws a run's pictures into its folder and logs them: samples, curves, confusion, guesses."""
    from optsweep import figures

    predicted = predict(network, data, data.test).numpy()
    images, true = data.test.images.cpu().numpy(), data.test.labels.cpu().numpy()
    first = data.train.choose(torch.arange(min(24, len(data.train.labels))))
    drawn = {
        "samples": figures.sample_grid(
            first.images.cpu().numpy(), first.labels.cpu().numpy(), data.classes, peak=data.peak
        ),
        "learning_curves": figures.learning_curves(result.history, title=result.job.name),
        "confusion_matrix": figures.confusion_matrix(true, predicted, data.classes),
        "predictions": figures.prediction_grid(
            images, true, predicted, data.classes, peak=data.peak
        ),
    }
    folder = result.job.folder / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        path = folder / f"{name}.png"
        figures.save(figure, path)
        tracked.log_file(path, "figures")


def show(result: Result, store: Store, console: Console) -> None:
    """The end of a single run: its final scores, its folder, and how to browse it."""
    scores = ", ".join(
        f"{split} loss {result.metrics[f'{split}/loss']:.4f}, "
        f"accuracy {result.metrics[f'{split}/accuracy']:.4f}"
        for split in ("val", "test")
        if f"{split}/loss" in result.metrics
    )
    if result.diverged:
        epoch = len(result.history["train/loss"])
        scores = f"diverged in epoch {epoch}: the loss became NaN or infinite; try a smaller lr"
    console.print(f"[bold]{scores}[/]", highlight=False, soft_wrap=True)
    console.print(f"folder  {result.job.folder}", highlight=False, soft_wrap=True)
    console.print(f"MLflow  {ui_command(store.uri)}", highlight=False, soft_wrap=True)
