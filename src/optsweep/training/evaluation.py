"""Losses, accuracies and predictions on whole splits, without gradients."""

import math

import torch
from torch import Tensor, nn

from optsweep.data.dataset import Dataset
from optsweep.data.splits import Split
from optsweep.training.convolutions import PLAIN, Convolutions
from optsweep.training.stack import Stack


def evaluate_splits(stack: Stack, dataset: Dataset) -> dict[str, Tensor]:
    """Loss and accuracy, float64 `[K]`, on validation and test, where there are such samples.

    Of an unbalanced dataset the balanced accuracy too.
    """
    metrics = {}
    for name, split in (("val", dataset.val), ("test", dataset.test)):
        if split is not None and len(split.labels):
            loss, right = evaluate(stack, dataset, split)
            metrics[f"{name}/loss"] = loss
            metrics[f"{name}/accuracy"] = right.sum(dim=-1).double() / len(split.labels)
            if dataset.unbalanced:
                metrics[f"{name}/balanced_accuracy"] = balanced_accuracy(right, split.labels.cpu())
    return metrics


def balanced_accuracy(right: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes of the share of a class's samples that is classified right.

    `right` is bool `[K, N]`, `labels` are int64 `[N]`; the result is float64 `[K]`. A class without
    samples does not count (Brodersen and others, 2010, "The balanced accuracy and its posterior
    distribution").
    """
    sizes = torch.bincount(labels)
    hits = torch.zeros(len(right), len(sizes), dtype=torch.float64)
    hits.index_add_(1, labels, right.double())
    return (hits[:, sizes > 0] / sizes[sizes > 0]).mean(dim=-1)


@torch.inference_mode()
def evaluate(stack: Stack, dataset: Dataset, split: Split) -> tuple[Tensor, Tensor]:
    """The mean loss over a split's samples, float64 `[K]`, and which are right, bool `[K, N]`."""
    stack.eval()
    loss_sums, rights = [], []
    size = evaluation_batch(dataset)
    for images, labels in zip(split.pieces(size), split.labels.split(size), strict=True):
        outputs = stack.outputs(dataset.scale(images))
        targets = labels.expand(outputs.shape[:-1])
        loss_sums.append(stack.loss(outputs, targets).sum(dim=-1).view(-1))
        rights.append((outputs.argmax(dim=-1) == targets).view(-1, len(labels)))
    loss = torch.stack(loss_sums).cpu().double().sum(dim=0) / len(split.labels)
    return loss, torch.cat(rights, dim=-1).cpu()


@torch.inference_mode()
def classified_right(stack: Stack, dataset: Dataset, split: Split) -> Tensor:
    """Which samples of a split each run has right, bool `[K, N]` on the CPU."""
    stack.eval()
    labels = split.labels.cpu()
    if not len(labels):  # which not every model takes
        return torch.zeros(len(stack.seeds), 0, dtype=torch.bool)
    predicted = predict(stack.model, dataset, split, stack.convolutions)
    return predicted.view(-1, len(labels)) == labels


@torch.inference_mode()
def predict(
    model: nn.Module, dataset: Dataset, split: Split, computed: Convolutions = PLAIN
) -> Tensor:
    """The class that a model gives each sample of a split, int64 `[N]` on the CPU.

    Of a stack it is `[K, N]`. `computed` is how the model's convolutions are.
    """
    model.eval()
    pieces = (computed.laid_out(dataset.scale(p)) for p in split.pieces(evaluation_batch(dataset)))
    return torch.cat([model(images).argmax(dim=-1).cpu() for images in pieces], dim=-1)


def evaluation_batch(dataset: Dataset) -> int:
    """Samples to evaluate at a time: a thousand small images, fewer of large ones.

    A network's first layer makes some 64 times the numbers that it is given. On a GPU 4 million
    inputs then stay near one gigabyte. On a CPU a quarter of a million keep most activations
    below 32 MB, above which the C library asks the system for every one of them anew: a CNN
    took 1.7 times as long.
    """
    inputs = 2**18 if dataset.device.type == "cpu" else 2**22
    return max(1, min(1000, inputs // math.prod(dataset.input_shape)))
