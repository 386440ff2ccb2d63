"""The core loop: trains K runs at once, epoch by epoch, and says what each epoch gave.

`train` is given a `Stack` (K models as one module, each run's own optimizer and schedule) and a
dataset whose tensors lie on the device, and yields an `Epoch` at a time. It logs nothing, prints
nothing and knows neither Hydra nor MLflow. With K = 1 outputs are `[B, classes]` and losses are
scalars; with more they are `[K, B, classes]` and `[K]`. The code is the same.
"""

import functools
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optsweep.data.dataset import Dataset
from optsweep.data.splits import Split
from optsweep.models.losses import Loss
from optsweep.optim.schedules import Schedule
from optsweep.training.stacked import Stacked

Slices = Iterable[slice]  # of the samples in their order: a batch each


@dataclass(frozen=True)
class Stack:
    """K runs that are trained together: one module, one loss, an optimizer and schedule each.

    `captured`, where there is one, does what `step` does, quicker.
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    schedules: Sequence[Schedule]
    loss: Loss
    seeds: Sequence[int]
    captured: "Step | None" = None

    @functools.cached_property
    def weights(self) -> Sequence[Tensor]:
        """What gradients are kept for: one buffer where all weights lie in it."""
        if isinstance(self.model, Stacked):
            return [self.model.flat]
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        return [parameter for group in groups for parameter in group["params"]]

    @functools.cached_property
    def _are_the_models(self) -> bool:
        """Whether `weights` are the model's own parameters, not a buffer that they are views of."""
        own = set(map(id, self.model.parameters()))
        return not isinstance(self.model, Stacked) and all(id(each) in own for each in self.weights)

    def clear_gradients(self) -> None:
        """Forgets the gradients of the last step.

        Those of a buffer stay in place, as views point there: as `zero_grad(set_to_none=False)`,
        30 us faster. Others are made anew, which spares large ones from being added to zeros.
        """
        anew = self._are_the_models
        for weights in self.weights:
            if anew:
                weights.grad = None
            elif weights.grad is not None:
                weights.grad.zero_()


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave. Tensors lie on the CPU; `[K]` holds a value for each run.

    `metrics` maps names such as "train/loss" to float64 `[K]`: training values are means over
    the epoch's samples while the weights moved, validation and test values are taken after it.
    `batch_losses` float32 `[points, K]` are single batches' losses, each after as many samples
    as `samples_seen` says. `diverged` bool `[K]` marks runs with a NaN or infinite loss, now or
    in an earlier epoch; `evaluated` those whose weights were worth evaluating.
    `seconds` is a run's share of the time of training and evaluation, `samples_per_second` what
    all runs saw in a second of training.
    """

    number: int
    metrics: dict[str, Tensor]
    batch_losses: Tensor
    samples_seen: list[int]
    diverged: Tensor
    evaluated: Tensor
    seconds: float
    samples_per_second: float

    def scores(self, run: int) -> dict[str, float]:
        """One run's metrics: those of training alone where it diverged while it trained."""
        return {
            name: values[run].item()
            for name, values in self.metrics.items()
            if self.evaluated[run] or name.startswith("train/")
        }


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
    `watch` is handed an epoch's batches and must hand
    them on; it sees how far an epoch is (a progress bar). The losses stay on the device until
    an epoch ends: one synchronisation an epoch, not one a batch.
    """
    count = len(dataset.train.labels)
    batches = [slice(start, start + batch_size) for start in range(0, count, batch_size)]
    sizes = torch.tensor([len(range(count)[batch]) for batch in batches], dtype=torch.float64)
    gone = torch.zeros(len(stack.seeds), dtype=torch.bool)
    for number in epochs:
        began = time.perf_counter()
        torch.manual_seed(epoch_seed(stack.seeds[0], number))
        order = batch_order(stack.seeds, number, count, shuffle).to(dataset.train.labels.device)
        losses, correct = train_epoch(stack, dataset, order, watch(batches))
        batch_losses = losses.cpu()
        training_seconds = time.perf_counter() - began
        metrics = {
            "train/loss": sizes @ batch_losses.double() / count,
            "train/accuracy": correct.cpu().double() / count,
        }
        evaluated = batch_losses.isfinite().all(dim=0) & ~gone
        if evaluated.any():
            metrics |= evaluate_splits(stack, dataset)
        judged = torch.stack([value for name, value in metrics.items() if "/loss" in name])
        gone = gone | ~evaluated | ~judged.isfinite().all(dim=0)
        points = _logged(number, len(batches), log_every)
        yield Epoch(
            number=number,
            metrics=metrics,
            batch_losses=batch_losses[points],
            samples_seen=[(number - 1) * count + min((i + 1) * batch_size, count) for i in points],
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
    labels = dataset.train.labels[order]
    take_step = stack.captured or step
    batch_losses, predictions = [], []
    stack.model.train()
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


def step(stack: Stack, dataset: Dataset, chosen: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One step of every run's optimizer, on the training images at `chosen`, int64 `[..., B]`.

    Returns each run's mean loss, float32 `[K]` (a scalar for a run alone), and the classes that
    it gave before the step, int64 `[K, B]` (`[B]`).
    """
    outputs = stack.model(dataset.inputs(chosen))
    losses = stack.loss(outputs, labels.expand(outputs.shape[:-1]))
    stack.clear_gradients()
    # As losses.mean(dim=-1).sum().backward(), with four kernels fewer.
    losses.backward(torch.full_like(losses, 1 / losses.shape[-1]))
    for optimizer in stack.optimizers:
        optimizer.step()
    return losses.detach().mean(dim=-1), outputs.detach().argmax(dim=-1)


Step = Callable[[Stack, Dataset, Tensor, Tensor], tuple[Tensor, Tensor]]


def evaluate_splits(stack: Stack, dataset: Dataset) -> dict[str, Tensor]:
    """Loss and accuracy, float64 `[K]`, on validation (where there is one) and test."""
    metrics = {}
    for name, split in (("val", dataset.val), ("test", dataset.test)):
        if split is not None:
            metrics[f"{name}/loss"], metrics[f"{name}/accuracy"] = evaluate(stack, dataset, split)
    return metrics


@torch.inference_mode()
def evaluate(stack: Stack, dataset: Dataset, split: Split) -> tuple[Tensor, Tensor]:
    """The mean loss over a split's samples and the share classified right, float64 `[K]` each."""
    stack.model.eval()
    loss_sums, corrects = [], []
    size = evaluation_batch(dataset)
    for images, labels in zip(split.images.split(size), split.labels.split(size), strict=True):
        outputs = stack.model(dataset.scale(images))
        targets = labels.expand(outputs.shape[:-1])
        loss_sums.append(stack.loss(outputs, targets).sum(dim=-1).view(-1))
        corrects.append((outputs.argmax(dim=-1) == targets).sum(dim=-1).view(-1))
    count = len(split.labels)
    loss = torch.stack(loss_sums).cpu().double().sum(dim=0) / count
    return loss, torch.stack(corrects).cpu().double().sum(dim=0) / count


@torch.inference_mode()
def predict(model: nn.Module, dataset: Dataset, split: Split) -> Tensor:
    """The class that one model gives each sample of a split, int64 `[N]` on the CPU."""
    model.eval()
    pieces = split.images.split(evaluation_batch(dataset))
    return torch.cat([model(dataset.scale(images)).argmax(dim=-1).cpu() for images in pieces])


def evaluation_batch(dataset: Dataset) -> int:
    """Samples to evaluate at a time: a thousand small images, fewer of large ones.

    A network's first layer makes some 64 times the numbers that it is given. On a GPU 4 million
    inputs then stay near one gigabyte. On a CPU a quarter of a million keep most activations
    below 32 MB, above which the C library asks the system for every one of them anew: a CNN
    took 1.7 times as long.
    """
    inputs = 2**18 if dataset.test.images.device.type == "cpu" else 2**22
    return max(1, min(1000, inputs // math.prod(dataset.input_shape)))


def batch_order(seeds: Sequence[int], epoch: int, count: int, shuffle: bool) -> Tensor:
    """The order of an epoch's samples: int64 `[N]` where all runs share it, else `[K, N]`.

    It depends on a run's seed and the epoch alone, so that runs which differ in their optimizer
    see the same batches, and a run that was interrupted goes on with those it would have seen.
    """
    if not shuffle:
        return torch.arange(count)
    orders = {
        seed: torch.randperm(
            count, generator=torch.Generator().manual_seed(epoch_seed(seed, epoch))
        )
        for seed in seeds
    }
    if len(orders) == 1:
        return orders[seeds[0]]
    return torch.stack([orders[seed] for seed in seeds])


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of 63 bits for one epoch of one run; neighbouring seeds and epochs share nothing."""
    hashed = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") >> 1


def _logged(epoch: int, steps: int, log_every: int) -> list[int]:
    """Which of an epoch's batches give a point: every `log_every`-th of the run, from its first."""
    before = (epoch - 1) * steps
    return [step for step in range(steps) if (before + step) % log_every == 0]
