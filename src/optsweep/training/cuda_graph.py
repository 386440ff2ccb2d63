"""A stack's step as one CUDA graph: captured once, replayed for every batch.

A step of K small runs is some hundreds of kernels of a few microseconds each, which the host
starts one by one, slower than the device runs them. A graph starts them all at once.
"""

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from optsweep.data.dataset import Dataset
from optsweep.optim.torch_internals import may_step_uncaptured
from optsweep.training.loop import train_step
from optsweep.training.stack import Stack

# Steps before the capture: they allocate what the optimizers keep and let libraries settle.
_WARM_UP = 3


def capturable(optimizer: Optimizer) -> bool:
    """Whether torch can capture this optimizer's step; its learning rate has to be a tensor then.

    SGD keeps no step count, and its fused form reads the learning rate from the device.
    """
    groups = optimizer.param_groups
    if type(optimizer) is SGD:
        return all(bool(group["fused"]) for group in groups)
    return all(group.get("capturable", False) for group in groups)


def prepare(optimizer: Optimizer) -> None:
    """Puts the learning rate on the device, where a schedule changes it between two replays."""
    for group in optimizer.param_groups:
        weights = group["params"][0]
        group["lr"] = torch.tensor(float(group["lr"]), device=weights.device)
    may_step_uncaptured(optimizer)


class CapturedStep:
    """`train_step`, captured at its fourth full batch; the first three are real steps too."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._stream = torch.cuda.Stream()
        self._steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self, stack: Stack, dataset: Dataset, chosen: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `train_step`; an epoch's last, smaller batch is computed without the graph."""
        if chosen.shape[-1] != self._batch_size:
            return train_step(stack, dataset, chosen, labels)
        self._steps += 1
        if self._steps <= _WARM_UP:
            return self._aside(stack, dataset, chosen, labels)
        if self._graph is None:
            self._capture(stack, dataset, chosen, labels)
        assert self._graph is not None
        self._chosen.copy_(chosen)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._losses.clone(), self._predicted.clone()

    def _aside(
        self, stack: Stack, dataset: Dataset, chosen: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A step on the stream that the capture will use: what it allocates belongs there."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = train_step(stack, dataset, chosen, labels)
        current.wait_stream(self._stream)
        return result

    def _capture(self, stack: Stack, dataset: Dataset, chosen: Tensor, labels: Tensor) -> None:
        self._chosen, self._labels = chosen.clone(), labels.clone()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            self._losses, self._predicted = train_step(stack, dataset, self._chosen, self._labels)
        self._graph = graph
