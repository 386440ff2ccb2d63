"""One run or one stack, whole: build, train, log every epoch, save weights and figures.

`run_jobs` is given checked jobs, one most often, and fills in a `RunRecord` for each. Several are
trained together, as one program; in MLflow each is a run like any other. They resume from the
checkpoint of an earlier attempt, where their folders have one.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

from optsweep.data.dataset import Dataset, load_dataset
from optsweep.errors import StackFailed
from optsweep.models.build import build_model
from optsweep.records.run import RunRecord
from optsweep.runs.artifacts import describe_run, keep_figures, keep_weights
from optsweep.runs.build import build_run, build_stack
from optsweep.runs.checkpoint_store import journal_of
from optsweep.runs.job import Job
from optsweep.runs.preflight import bytes_needed
from optsweep.runs.progress import Progress
from optsweep.runs.stack_member import StackMember, TrackingContext, _now
from optsweep.system import files, folders
from optsweep.system.disk import refuse_full
from optsweep.system.exceptions import describe
from optsweep.training import checkpoint
from optsweep.training.checkpoint import JOURNAL, UnusableCheckpoint
from optsweep.training.device import computing, ran_out_of_memory
from optsweep.training.epoch_metrics import Epoch
from optsweep.training.evaluation import evaluate_splits
from optsweep.training.journal import Entry
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
                _run_together(together, models, data, device, context, progress)
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
        try:
            models.append(build_run(job.settings, data, torch.device("cpu")).model)
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
    device: torch.device,
    context: TrackingContext,
    progress: Progress,
) -> None:
    jobs = [job for job, _ in together]
    stack = _build(jobs, models, data, device)
    needed = bytes_needed(stack.model, len(together))
    with ExitStack() as open_runs:
        members = []
        for job, record in together:
            refuse_full(job.folder, needed, "hydra.run.dir")
            # In a sweep's folder a run is found without its mark.
            folders.mark(job.folder, "run", job.fingerprint, durable=not context.parent)
            files.remove_unfinished(job.folder)
            tracked = open_runs.enter_context(context.start(job, len(together)))
            record.run_id, record.stack = tracked.run_id, len(together)
            describe_run(job, data, tracked)
            journal = journal_of(job, context.store)
            members.append(StackMember(job, record, tracked, journal))
        progress.started({member.job.folder: member.tracked.run_id for member in members})
        path = checkpoint.path_of([job.folder for job in jobs], [job.fingerprint for job in jobs])
        with _left_open(len(members)):
            stack = _train(stack, members, data, device, path, progress)
            for place, member in enumerate(members):
                network = _alone(stack, place, member.job, data, device)
                keep_weights(member.job, network, member.tracked)
                if context.figures:
                    keep_figures(member.job, member.record, data, network, member.tracked)
    for member in members:  # a run that had to wait for MLflow has its id by now
        member.record.run_id = member.tracked.run_id
        member.record.status, member.record.error = "FINISHED", ""
        checkpoint.forget(member.job.folder)
    if len(jobs) > 1:
        checkpoint.forget_stack(path)


def _build(
    jobs: Sequence[Job], models: Sequence[torch.nn.Module], data: Dataset, device: torch.device
) -> Stack:
    """The jobs' stack: of `models`, where there are some, else of new ones."""
    if len(jobs) == 1:
        return build_run(jobs[0].settings, data, device)
    runs = [job.settings for job in jobs]
    shape = data.input_shape, len(data.classes)
    return build_stack(runs, models or [build_model(one, *shape) for one in runs], data, device)


def _alone(
    stack: Stack, place: int, job: Job, data: Dataset, device: torch.device
) -> torch.nn.Module:
    """One run's model, by itself."""
    if not isinstance(stack.model, StackedModel):
        return stack.model
    network = build_model(job.settings, data.input_shape, len(data.classes))
    network.load_state_dict(stack.model.state_of(place), strict=False)
    return network.to(device)


def _train(
    stack: Stack,
    members: Sequence[StackMember],
    data: Dataset,
    device: torch.device,
    path: Path,
    progress: Progress,
) -> Stack:
    """Trains from the start or from where an earlier attempt stopped; returns what was trained."""
    settings = members[0].job.settings
    fingerprints = [member.job.fingerprint for member in members]
    stack, done = _restored(stack, members, data, device)
    for member in members:
        for entry in member.journal.entries:  # the store may have missed the last one, and
            member.tracked.log_epoch(entry)  # keeps each point once
        logged = [entry for entry in member.journal.entries if entry.epoch <= done]
        for entry in logged:
            member.record_epoch(entry)
        if logged and not _is_finite(logged[-1]):
            member.mark_diverged()
    if settings.evaluate_first and done == 0:
        first = evaluate_splits(stack, data)
        for place, member in enumerate(members):
            member.log(
                Entry(0, _now(), {name: values[place].item() for name, values in first.items()})
            )
    checkpoint.save_stack_paths(path, [member.job.folder for member in members])
    if all(member.record.diverged for member in members):
        return stack
    if logged and members[-1].prune(logged[-1]):  # it was stopped while it was being ended
        return stack
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
            learning = [(place, m) for place, m in enumerate(members) if not m.record.diverged]
            entries = [member.log(_entry(epoch, place)) for place, member in learning]
            # Of a stack the last epoch too: its runs are closed one after another, and what is
            # killed meanwhile has only its closing to do again.
            due = epoch.number % settings.checkpoint_every == 0 and epoch.number < settings.epochs
            if due or (len(members) > 1 and epoch.number == settings.epochs):
                checkpoint.save(path, stack, epoch.number, fingerprints)
            progress.finished(epoch.number, max((e.metrics for e in entries), key=objective))
            for place, member in learning:
                if epoch.diverged[place]:
                    member.mark_diverged()
            if all(member.record.diverged for member in members):
                break
            if any(member.prune(entries[-1]) for member in members):  # it is the only one
                break
    return stack


def _restored(
    stack: Stack, members: Sequence[StackMember], data: Dataset, device: torch.device
) -> tuple[Stack, int]:
    """The stack as its checkpoint has it, and the epoch it was saved after; or epoch 0."""
    folder = members[0].job.folder
    path = checkpoint.stack_of(folder, members[0].job.fingerprint) or folder / checkpoint.CHECKPOINT
    try:
        done = checkpoint.restore(path, stack, [member.job.fingerprint for member in members])
        for member in members:
            logged = [entry for entry in member.journal.entries if entry.epoch <= done]
            diverged = bool(logged) and not _is_finite(logged[-1])
            if member.journal.last < done and not diverged:
                raise UnusableCheckpoint(
                    f"{JOURNAL} beside it ends at epoch {max(member.journal.last, 0)}"
                )
    except FileNotFoundError:
        return stack, 0
    except UnusableCheckpoint as reason:
        aside = checkpoint.set_aside(path)
        log.warning("%s is left aside as %s: %s; starting over", path, aside.name, reason)
        return _build([member.job for member in members], (), data, device), 0
    return stack, done


def _entry(epoch: Epoch, place: int) -> Entry:
    """What is logged of one run's epoch, at this moment."""
    return Entry(epoch.number, _now(), epoch.logged(place), epoch.logged_batches(place))


def _is_finite(entry: Entry) -> bool:
    """Whether the epoch's losses are numbers; where one is not, the run has diverged."""
    return all(math.isfinite(value) for name, value in entry.metrics.items() if "/loss" in name)
