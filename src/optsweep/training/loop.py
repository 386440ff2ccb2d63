"""The core loop: trains K runs at once, epoch by epoch, and says what each epoch gave.

`train` is given a `Stack` (K models as one module, each run's own optimizer and schedule) and a
dataset whose tensors lie on the device, and yields an `Epoch` at a time. It logs nothing, prints
nothing and knows neither Hydra nor MLflow. With K = 1 outputs are `[B, classes]` and losses are
scalars; with more they are `[K, B, classes]` and `[K]`. The code is the same.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from optsweep.data.batch_order import batch_order, batches_of, epoch_seed
from optsweep.data.dataset import Dataset
from optsweep.training.divergence import diverged
from optsweep.training.epoch_metrics import Epoch
from optsweep.training.evaluation import evaluate_splits
from optsweep.training.stack import Slices, Stack


def train(
    stack: Stack,
    dataset: Dataset,
    *,
    batch_size: int,
    epochs: range,
    shuffle: bool,
    log_every: int,
    watch: Callable[[Sequence[slice]], Slices] = iter,
) -> Iterator[Epoch]:
    """Trains for `epochs` (counted from 1), yielding each when it is done.

    Ends early when every run has diverged; until then one that has stays, and harms no other.
    `watch` is given an epoch's batches and passes them on: a progress bar sees how far it is. The
    losses stay on the device until an epoch ends: one synchronisation an epoch, not one a batch.
    """
    count = len(dataset.train.labels)
    batches = batches_of(count, batch_size, joined=stack.has_batch_norm)
    gone = torch.zeros(len(stack.seeds), dtype=torch.bool)
    for number in epochs:
        began = time.perf_counter()
        torch.manual_seed(epoch_seed(stack.seeds[0], number))
        order = batch_order(stack.seeds, number, count, shuffle, dataset.views)
        losses, correct = train_epoch(stack, dataset, order.to(dataset.device), watch(batches))
        batch_losses = losses.cpu()
        training_seconds = time.perf_counter() - began
        metrics = _training_metrics(batches, batch_losses, correct)
        evaluated = ~(gone | diverged(metrics))
        if evaluated.any():
            metrics |= evaluate_splits(stack, dataset)
        gone = gone | diverged(metrics)
        points = _logged(number, len(batches), log_every)
        yield Epoch(
            number=number,
            metrics=metrics,
            batch_losses=batch_losses[points],
            samples_seen=[(number - 1) * count + batches[i].stop for i in points],
            diverged=gone,
            evaluated=evaluated,
            seconds=(time.perf_counter() - began) / len(gone),
            samples_per_second=count * len(gone) / training_seconds,
        )
        if gone.all():
            return


def train_epoch(
    stack: Stack, dataset: Dataset, order: Tensor, batches: Slices
) -> tuple[Tensor, Tensor]:
    """One pass over the training data in `order`, int64 `[N]`, or `[K, N]` for an order a run.

    Returns each batch's mean loss, float32 `[steps, K]`, and the samples that were classified
    right as they came, int64 `[K]`, both on the device.
    """
    labels = dataset.targets(order)
    take_step = stack.captured or train_step
    batch_losses, predictions = [], []
    stack.train()
    with stack.convolutions.training():
        for batch in batches:
            losses, predicted = take_step(stack, dataset, order[..., batch], labels[..., batch])
            for schedule in stack.schedules:
                if schedule.by_batch:
                    schedule.scheduler.step()
            batch_losses.append(losses)
            predictions.append(predicted)
    for schedule in stack.schedules:
        if not schedule.by_batch:
            schedule.scheduler.step()
    correct = (torch.cat(predictions, dim=-1) == labels).sum(dim=-1)
    return torch.stack(batch_losses).view(-1, len(stack.optimizers)), correct.view(-1)


def train_step(
    stack: Stack, dataset: Dataset, chosen: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """One step of every run's optimizer, on the training images at `chosen`, int64 `[..., B]`.

    Returns each run's mean loss, float32 `[K]` (a scalar for a run alone), and the classes that
    it gave before the step, int64 `[K, B]` (`[B]`).
    """
    outputs = stack.outputs(dataset.inputs(chosen))
    losses = stack.loss(outputs, labels.expand(outputs.shape[:-1]))
    stack.clear_gradients()
    means = losses.mean(dim=-1)
    if means.ndim:  # as means.sum().backward(), 16 us quicker
        losses.backward(torch.full_like(losses, 1 / losses.shape[-1]))
    else:  # to which a gradient is not given, with which torch imports sympy, for 0.3 s
        means.backward()
    stack.step()
    return means.detach(), outputs.detach().argmax(dim=-1)


def _training_metrics(
    batches: Sequence[slice], losses: Tensor, correct: Tensor
) -> dict[str, Tensor]:
    """Loss and accuracy over an epoch's samples, float64 `[K]`, of losses `[steps, K]`."""
    sizes = torch.tensor([batch.stop - batch.start for batch in batches], dtype=torch.float64)
    count = batches[-1].stop
    return {
        "train/loss": sizes @ losses.double() / count,
        "train/accuracy": correct.cpu().double() / count,
    }


def _logged(epoch: int, steps: int, log_every: int) -> list[int]:
    """Which of an epoch's batches give a point: every `log_every`-th of the run, from its first."""
    before = (epoch - 1) * steps
    return [step for step in range(steps) if (before + step) % log_every == 0]
