"""One run or one stack, whole: build, train, log every epoch, save weights and figures.

`run_jobs` is given checked jobs, one most often, and fills in a `RunRecord` for each. Several are
trained together, as one program; in MLflow each is a run like any other. They resume from the
checkpoint of an earlier attempt, where their folders have one.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from optsweep.config.settings import Settings
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.errors import StackFailed
from optsweep.models.build import build_model
from optsweep.records.correct_samples import CORRECT, packed
from optsweep.records.run import RunRecord
from optsweep.runs.artifacts import describe_run, keep_figures, keep_weights
from optsweep.runs.build import build_run, build_stack
from optsweep.runs.checkpoint_store import journal_of
from optsweep.runs.job import Job
from optsweep.runs.preflight import bytes_needed
from optsweep.runs.progress import Progress
from optsweep.runs.stack_member import StackMember, TrackingContext
from optsweep.system import files, folders
from optsweep.system.disk import refuse_full
from optsweep.system.exceptions import describe
from optsweep.training import checkpoint
from optsweep.training.checkpoint import JOURNAL, UnusableCheckpoint
from optsweep.training.device import computing, ran_out_of_memory
from optsweep.training.evaluation import classified_right, evaluate_splits
from optsweep.training.loop import train
from optsweep.training.stack import Stack
from optsweep.training.stacked_model import StackedModel
from optsweep.verdict.ranking import objective

log = logging.getLogger(__name__)


def run_jobs(
    jobs: Sequence[Job], records: Sequence[RunRecord], context: TrackingContext, progress: Progress
) -> None:
    """Runs jobs, as one stack where there are several, and fills in their records.

    A run that is interrupted or fails is marked so in its record and in the store, and the
    exception is raised again. In a stack, a run that cannot be built is FAILED,
    and the others continue.

    Raises:
        StackFailed: a stack failed; its runs are left open, to continue in smaller stacks.
    """
    together = list(zip(jobs, records, strict=True))
    models: list[torch.nn.Module] = []
    try:
        with _left_open(len(jobs)), computing(jobs[0].settings) as device:
            data = load_dataset(jobs[0].settings).to(device)
            if len(jobs) > 1:
                together, models = _buildable(together, data, context, progress)
            if together:
                _run_together(together, models, data, context, progress)
    except BaseException as error:
        for _, record in together:
            record.status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            record.error = describe(error)
        raise


@contextmanager
def _left_open(count: int) -> Iterator[None]:
    """Turns what goes wrong with several runs into `StackFailed`, which leaves them open."""
    try:
        yield
    except (KeyboardInterrupt, StackFailed):
        raise
    except BaseException as error:
        if count == 1:
            raise
        raise StackFailed(describe(error), out_of_memory=ran_out_of_memory(error)) from error


def _buildable(
    together: Sequence[tuple[Job, RunRecord]],
    data: Dataset,
    context: TrackingContext,
    progress: Progress,
) -> tuple[list[tuple[Job, RunRecord]], list[torch.nn.Module]]:
    """The jobs that can be built, and their models; one that cannot fails and leaves the stack."""
    sound, models = [], []
    for job, record in together:
        # A forward pass in bfloat16 is the whole stack's: a model's own would use its own weights.
        settings = replace(job.settings, precision="fp32")
        try:
            models.append(build_run(settings, data, torch.device("cpu")).model)
        except Exception as error:
            if ran_out_of_memory(error):  # which fewer runs may not do
                raise
            record.status, record.error = "FAILED", describe(error)
            with suppress(type(error)), context.start(job, 1) as tracked:
                record.run_id = tracked.run_id
                progress.started({job.folder: tracked.run_id})
                raise
        else:
            sound.append((job, record))
    return sound, models


def _run_together(
    together: Sequence[tuple[Job, RunRecord]],
    models: Sequence[torch.nn.Module],
    data: Dataset,
    context: TrackingContext,
    progress: Progress,
) -> None:
    jobs = [job for job, _ in together]
    stack = _build(jobs, models, data)
    _prepare_folders(jobs, bytes_needed(stack.model, len(jobs)), durable=not context.parent)
    with ExitStack() as open_runs:
        members = [
            open_runs.enter_context(_opened(job, record, data, context, len(jobs)))
            for job, record in together
        ]
        progress.started({member.job.folder: member.tracked.run_id for member in members})
        with _left_open(len(members)):
            stack = _train(stack, members, data, progress)
            stack.put_back()
            right = classified_right(stack, data, data.test).numpy()
            for place, member in enumerate(members):
                _keep_correct(member, right[place], len(data.classes))
                _keep_results(stack, place, member, data, context.figures)
    for member in members:  # a run that had to wait for MLflow has its id by now
        member.record.run_id = member.tracked.run_id
        member.record.status, member.record.error = "FINISHED", ""
        checkpoint.forget(member.job.folder)
    if len(members) > 1:
        checkpoint.forget_stack(_checkpoint_path(members))


def _build(jobs: Sequence[Job], models: Sequence[torch.nn.Module], data: Dataset) -> Stack:
    """The jobs' stack: of `models`, where there are some, else of new ones."""
    if len(jobs) == 1:
        return build_run(jobs[0].settings, data, data.device)
    runs = [job.settings for job in jobs]
    shape = data.input_shape, len(data.classes)
    return build_stack(
        runs, models or [build_model(one, *shape) for one in runs], data, data.device
    )


def _prepare_folders(jobs: Sequence[Job], needed: int, *, durable: bool) -> None:
    """Makes the runs' folders, with `needed` bytes free, and marks them as theirs."""
    for job in jobs:
        refuse_full(job.folder, needed, "hydra.run.dir")
        # In a sweep's folder a run is found without its mark.
        folders.mark(job.folder, "run", job.fingerprint, durable=durable)
        files.remove_unfinished(job.folder)


@contextmanager
def _opened(
    job: Job, record: RunRecord, data: Dataset, context: TrackingContext, runs: int
) -> Iterator[StackMember]:
    """One of `runs` runs that are trained together, open in the store until the block ends."""
    with context.start(job, runs) as tracked:
        record.run_id, record.stack = tracked.run_id, runs
        describe_run(job, data, tracked)
        yield StackMember(job, record, tracked, journal_of(job, context.store))


def _train(
    stack: Stack, members: Sequence[StackMember], data: Dataset, progress: Progress
) -> Stack:
    """Trains from the start or from where an earlier attempt stopped; returns what was trained."""
    stack, done = _restored(stack, members, data)
    for place, member in enumerate(members):
        member.resume(done)
        member.keep_weights(stack, place, done)
    if members[0].job.settings.evaluate_first and done == 0:
        _log_untrained(stack, members, data)
    checkpoint.save_stack_paths(
        _checkpoint_path(members),
        [member.job.folder for member in members],
        [member.job.fingerprint for member in members],
    )
    if not all(member.is_over for member in members):
        with progress:
            _train_epochs(stack, members, data, progress, done)
    return stack


def _train_epochs(
    stack: Stack, members: Sequence[StackMember], data: Dataset, progress: Progress, done: int
) -> None:
    """Trains the epochs after `done`; each is logged first, then saved, then judged."""
    settings = members[0].job.settings
    fingerprints = [member.job.fingerprint for member in members]
    for epoch in train(
        stack,
        data,
        batch_size=settings.batch_size,
        epochs=range(done + 1, settings.epochs + 1),
        shuffle=settings.dataset.arguments.get("shuffle", True),
        log_every=settings.log_every,
        watch=progress.watch,
    ):
        logged = [
            (member, member.log(epoch.number, epoch.logged(place), epoch.logged_batches(place)))
            for place, member in enumerate(members)
            if not member.is_over
        ]
        for place, member in enumerate(members):
            member.keep_weights(stack, place, epoch.number)
        if _is_due(epoch.number, settings, len(members)):
            checkpoint.save(_checkpoint_path(members), stack, epoch.number, fingerprints)
        log.debug("epoch %d of %s", epoch.number, members[0].job.name)
        progress.finished(epoch.number, max((e.metrics for _, e in logged), key=objective))
        for member, entry in logged:
            member.judge(entry)
        for place, member in enumerate(members):
            member.keep_weights(stack, place, epoch.number)
        if all(member.is_over for member in members):
            return


def _log_untrained(stack: Stack, members: Sequence[StackMember], data: Dataset) -> None:
    """Logs what the models give before they are trained, as epoch 0."""
    values = evaluate_splits(stack, data)
    for place, member in enumerate(members):
        member.log(0, {name: each[place].item() for name, each in values.items()})


def _is_due(epoch: int, settings: Settings, runs: int) -> bool:
    """Whether a checkpoint is saved after an epoch.

    Of a stack after the last one too: its runs are closed one after another, and what is killed
    meanwhile has only its closing to do again.
    """
    if epoch == settings.epochs:
        return runs > 1
    return epoch % settings.checkpoint_every == 0


def _checkpoint_path(members: Sequence[StackMember]) -> Path:
    jobs = [member.job for member in members]
    return checkpoint.path_of([job.folder for job in jobs], [job.fingerprint for job in jobs])


def _restored(stack: Stack, members: Sequence[StackMember], data: Dataset) -> tuple[Stack, int]:
    """The stack as its checkpoint has it, and the epoch it was saved after; or epoch 0."""
    folder = members[0].job.folder
    path = checkpoint.stack_of(folder, members[0].job.fingerprint) or folder / checkpoint.CHECKPOINT
    try:
        done = checkpoint.restore(path, stack, [member.job.fingerprint for member in members])
        for member in members:
            if not member.has_logged(done):
                last = max(member.journal.last, 0)
                raise UnusableCheckpoint(f"{JOURNAL} beside it ends at epoch {last}")
    except FileNotFoundError:
        return stack, 0
    except UnusableCheckpoint as reason:
        aside = checkpoint.set_aside(path)
        log.warning("%s is left aside as %s: %s; starting over", path, aside.name, reason)
        return _build([member.job for member in members], (), data), 0
    return stack, done


def _keep_correct(member: StackMember, correct: NDArray[np.bool_], classes: int) -> None:
    """Which test samples a run had right, bool `[N]`, in its record and in its folder."""
    record = member.record
    record.classes = classes
    if not record.diverged:
        record.correct = correct if len(correct) else None
        files.write(member.job.folder / CORRECT, packed(correct, classes), durable=False)


def _keep_results(
    stack: Stack, place: int, member: StackMember, data: Dataset, figures: bool
) -> None:
    """Saves one run's weights, and its figures where they are asked for."""
    network = stack.model
    if isinstance(network, StackedModel):
        trained = network.state_of(place)
        network = build_model(member.job.settings, data.input_shape, len(data.classes))
        network.load_state_dict(trained, strict=False)
        network.to(data.device)
    keep_weights(member.job, data, network, member.tracked)
    if (epoch := member.record.selected_epoch) is not None:
        member.tracked.tag(selected_epoch=str(epoch))
    if figures:
        keep_figures(member.job, member.record, data, network, member.tracked, stack.convolutions)
