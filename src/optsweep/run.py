"""One run, whole: build it, train it, track every epoch, keep its weights and pictures.

`run` is given a job that was checked and fills a `RunRecord` in. It goes on from the job's folder
where an earlier attempt left a checkpoint there.
"""

import functools
import json
import logging
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from optsweep import checkpoint, environment, model
from optsweep.checkpoint import Journal, UnusableCheckpoint
from optsweep.checks import redact
from optsweep.dataset import Dataset
from optsweep.device import computing
from optsweep.jobs import Job, build, load_dataset, refuse_full, room
from optsweep.progress import Progress
from optsweep.results import Entry, RunRecord
from optsweep.tracking import DatasetNote, Store, TrackedRun
from optsweep.training import Epoch, Stack, evaluate_splits, predict, train

log = logging.getLogger(__name__)

CHECKPOINT, JOURNAL, WEIGHTS = "checkpoint.bin", "history.jsonl", "weights.safetensors"


def new_record(job: Job) -> RunRecord:
    """The record of a job that was not carried out yet."""
    return RunRecord(
        name=job.name,
        run_id=job.run_id or "",
        status="SCHEDULED",
        params=job.settings.params(),
        swept=dict(job.swept),
    )


def run(
    job: Job,
    record: RunRecord,
    store: Store,
    progress: Progress,
    *,
    parent: str | None = None,
    owner: str = "",
    figures: bool = True,
) -> None:
    """Carries out one job and fills its record in; its MLflow run is nested under `parent`.

    With `figures`, its pictures are drawn and kept. What is interrupted or fails is marked so in
    the record and in the store, and the exception goes on.
    """
    settings = job.settings
    with computing(settings) as device:
        data = load_dataset(settings).to(device)
        stack = build(settings, data, device)
        refuse_full(job.folder, room(stack.model), "hydra.run.dir")
        params = settings.params() | {"threads": settings.threads or torch.get_num_threads()}
        tags = run_tags(job, owner)
        try:
            with store.start(
                job.name, params=params, tags=tags, parent=parent, run_id=job.run_id
            ) as tracked:
                record.run_id = tracked.run_id
                progress.started(tracked.run_id)
                _describe(job, data, tracked)
                stack = _train(job, stack, data, device, tracked, record, progress)
                _keep_weights(job, stack.model, tracked)
                if figures:
                    keep_figures(job, record, data, stack.model, tracked)
        except BaseException as error:
            record.status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            record.error = describe(error)
            raise
    record.status = "FINISHED"
    (job.folder / CHECKPOINT).unlink(missing_ok=True)


def describe(error: BaseException) -> str:
    """An exception as one line: its kind and what it says first."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _train(
    job: Job,
    stack: Stack,
    data: Dataset,
    device: torch.device,
    tracked: TrackedRun,
    record: RunRecord,
    progress: Progress,
) -> Stack:
    """Trains from the start or from where an earlier attempt stopped; returns what was trained."""
    settings = job.settings
    if job.run_id is None:  # a folder that was used before holds what another run left
        for name in (CHECKPOINT, JOURNAL):
            (job.folder / name).unlink(missing_ok=True)
    journal = Journal(job.folder / JOURNAL)
    stack, done = _restored(job, stack, data, device, journal.last)
    for entry in journal.entries:  # the store may have missed the last; it keeps each point once
        tracked.log_epoch(entry)
        if entry.epoch <= done:
            _note(record, entry)
    if settings.evaluate_first and done == 0:
        first = {name: value.item() for name, value in evaluate_splits(stack, data).items()}
        _log(Entry(0, _now(), first), journal, tracked, record)
    with progress:
        for epoch in train(
            stack,
            data,
            batch_size=settings.batch_size,
            epochs=range(done + 1, settings.epochs + 1),
            shuffle=settings.dataset.arguments.get("shuffle", True),
            log_every=settings.log_every,
            watch=progress.watch,
        ):
            diverged = bool(epoch.diverged.item())
            entry = _log(_entry(epoch), journal, tracked, record)
            if epoch.number % settings.checkpoint_every == 0 and epoch.number < settings.epochs:
                checkpoint.save(job.folder / CHECKPOINT, stack, epoch.number, job.fingerprint)
            progress.finished(epoch.number, entry.metrics)
            if diverged:
                record.diverged = True
                tracked.tag(diverged="true")
    return stack


def _restored(
    job: Job, stack: Stack, data: Dataset, device: torch.device, logged: int
) -> tuple[Stack, int]:
    """The stack as the folder's checkpoint has it, and the epoch it was saved after; or epoch 0."""
    path = job.folder / CHECKPOINT
    try:
        done = checkpoint.restore(path, stack, job.fingerprint)
        if done > logged:
            raise UnusableCheckpoint(f"{JOURNAL} beside it ends at epoch {max(logged, 0)}")
    except FileNotFoundError:
        return stack, 0
    except UnusableCheckpoint as reason:
        aside = checkpoint.set_aside(path)
        log.warning("%s is left aside as %s: %s; starting over", path, aside.name, reason)
        return build(job.settings, data, device), 0
    return stack, done


def _log(entry: Entry, journal: Journal, tracked: TrackedRun, record: RunRecord) -> Entry:
    kept, new = journal.keep(entry)
    if new:
        tracked.log_epoch(kept)
    _note(record, kept)
    return kept


def _entry(epoch: Epoch) -> Entry:
    metrics = {name: value.item() for name, value in epoch.metrics.items()}
    speed = {"epoch_seconds": epoch.seconds, "samples_per_second": epoch.samples_per_second}
    batches = dict(zip(epoch.samples_seen, epoch.batch_losses[:, 0].tolist(), strict=True))
    return Entry(epoch.number, _now(), metrics | speed, batches)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _note(record: RunRecord, entry: Entry) -> None:
    record.metrics = {name: value for name, value in entry.metrics.items() if "/" in name}
    record.seconds += entry.metrics.get("epoch_seconds", 0.0)
    for name, value in record.metrics.items():
        record.history.setdefault(name, []).append((entry.epoch, value))


def run_tags(job: Job, owner: str) -> dict[str, str]:
    """What MLflow shows as a run's tags: kind, fingerprint, folder, versions, hardware, source."""
    tags = {
        "optsweep.kind": "run",
        "optsweep.fingerprint": job.fingerprint,
        "optsweep.folder": str(job.folder),
        "optsweep.owner": owner,
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
    """The dataset, config, overrides and environment, kept in MLflow."""
    splits = {"train": data.train, "val": data.val, "test": data.test}
    samples = {name: len(split.labels) for name, split in splits.items() if split is not None}
    target = job.settings.dataset.target
    tracked.log_dataset(DatasetNote(data.name, data.digest, target, data.input_shape, samples))
    tracked.log_text("config.yaml", job.config)
    tracked.log_text("overrides.txt", redact("\n".join(job.overrides)))
    tracked.log_text("environment.json", json.dumps(environment.describe(), indent=1))


def _keep_weights(job: Job, network: torch.nn.Module, tracked: TrackedRun) -> None:
    path = job.folder / WEIGHTS
    # The parameters are views of one buffer, and safetensors keeps no views.
    weights = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})
    tracked.log_file(path)


def keep_best_figures(job: Job, record: RunRecord, store: Store) -> None:
    """Draws the pictures of a run that was carried out before, from its weights."""
    data = load_dataset(job.settings)
    network = model.build(job.settings, data.input_shape, len(data.classes))
    network.load_state_dict(load_file(job.folder / WEIGHTS))
    keep_figures(job, record, data, network, TrackedRun(store, record.run_id))


def keep_figures(
    job: Job, record: RunRecord, data: Dataset, network: torch.nn.Module, tracked: TrackedRun
) -> None:
    """Draws a run's pictures into its folder and logs them: samples, curves, confusion, guesses."""
    from optsweep import figures

    predicted = predict(network, data, data.test).numpy()
    images, true = data.test.images.cpu().numpy(), data.test.labels.cpu().numpy()
    shown = data.train.images[:24].cpu().numpy(), data.train.labels[:24].cpu().numpy()
    classes, peak = data.classes, data.peak
    drawn = {
        "samples": figures.sample_grid(*shown, classes, peak=peak),
        "learning_curves": figures.learning_curves(record.history, title=job.name),
        "confusion_matrix": figures.confusion_matrix(true, predicted, classes),
        "predictions": figures.prediction_grid(images, true, predicted, classes, peak=peak),
    }
    folder = job.folder / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in drawn.items():
        path = folder / f"{name}.png"
        figures.save(figure, path)
        tracked.log_file(path, "figures")
