"""Losses, accuracies and predictions on whole splits, without gradients."""

import math

import torch
from torch import Tensor, nn

from optsweep.data.dataset import Dataset
from optsweep.data.splits import Split
from optsweep.training.stack import Stack


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
    stack.eval()
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
def classified_right(stack: Stack, dataset: Dataset, split: Split) -> Tensor:
    """Which samples of a split each run has right, bool `[K, N]` on the CPU."""
    stack.eval()
    labels = split.labels.cpu()
    return predict(stack.model, dataset, split).view(-1, len(labels)) == labels


@torch.inference_mode()
def predict(model: nn.Module, dataset: Dataset, split: Split) -> Tensor:
    """The class that a model gives each sample of a split, int64 `[N]` on the CPU.

    Of a stack it is `[K, N]`.
    """
    model.eval()
    pieces = split.images.split(evaluation_batch(dataset))
    classes = [model(dataset.scale(images)).argmax(dim=-1).cpu() for images in pieces]
    return torch.cat(classes, dim=-1)


def evaluation_batch(dataset: Dataset) -> int:
    """Samples to evaluate at a time: a thousand small images, fewer of large ones.

    A network's first layer makes some 64 times the numbers that it is given. On a GPU 4 million
    inputs then stay near one gigabyte. On a CPU a quarter of a million keep most activations
    below 32 MB, above which the C library asks the system for every one of them anew: a CNN
    took 1.7 times as long.
    """
    inputs = 2**18 if dataset.device.type == "cpu" else 2**22
    return max(1, min(1000, inputs // math.prod(dataset.input_shape)))
