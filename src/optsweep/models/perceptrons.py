"""K multilayer perceptrons as one: K products at once for each layer, forward and backward.

`torch.vmap` reads a model anew at each step, and autograd clears gradients to add to them. Linear
layers with ReLU between them, which most small models are, need neither: the step of a stack of 12
takes a third to two thirds of the time, by `experiments/benchmark.py stack`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Layer:
    """A linear layer of K models: weights `[K, outputs, inputs]`, biases `[K, outputs]`.

    Their gradients are put in their `grad`. `relu` says whether ReLU follows.
    """

    weights: Tensor
    biases: Tensor
    relu: bool = False


def layers_of(model: nn.Module, leaves: Mapping[str, nn.Parameter]) -> list[Layer] | None:
    """The layers of K models like `model`, whose parameters `[K, ...]` are the `leaves`.

    None where they are anything else than linear layers with biases, on flattened images, each but
    the last with ReLU or nothing behind it.
    """
    if not isinstance(model, nn.Sequential) or type(model).forward is not nn.Sequential.forward:
        return None
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    first, *parts = model
    if type(first) is not nn.Flatten or (first.start_dim, first.end_dim) != (1, -1):
        return None
    layers: list[Layer] = []
    for part in parts:
        if type(part) is nn.Linear and part.bias is not None:
            weights, biases = (leaves[names[id(own)]] for own in (part.weight, part.bias))
            layers.append(Layer(weights, biases))
        elif type(part) is nn.ReLU and layers:
            layers[-1].relu = True
        else:
            return None
    return layers if layers and not layers[-1].relu else None


class Perceptrons(torch.autograd.Function):
    """Inputs `[K, B, inputs]`, through the layers, to outputs `[K, B, classes]`.

    What the layers' gradients were is overwritten, not added to. `flat` is the buffer that all
    weights lie in: it makes autograd ask for them.
    """

    @staticmethod
    def forward(context: Any, flat: Tensor, inputs: Tensor, layers: Sequence[Layer]) -> Tensor:
        """Gives the last layer's outputs.

        Between the layers a sample is a column: ten classes by 64 samples take half the time of 64
        by ten on a CPU.
        """
        kept, columns = [], inputs.mT
        for layer in layers:
            kept.append(columns)
            columns = torch.baddbmm(layer.biases.unsqueeze(2), layer.weights, columns)
            if layer.relu:
                columns.relu_()
        context.layers, context.kept = layers, kept
        return columns.mT.contiguous()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[None, None, None]:
        """Puts the gradients of weights and biases in their place."""
        columns = gradient.mT
        below = [False, *(layer.relu for layer in context.layers)]
        for place in reversed(range(len(context.layers))):
            layer, inputs = context.layers[place], context.kept[place]
            torch.bmm(columns, inputs.mT, out=layer.weights.grad)
            torch.sum(columns, dim=2, out=layer.biases.grad)
            if place:
                columns = torch.bmm(layer.weights.mT, columns)
            if below[place]:
                columns = torch.ops.aten.threshold_backward(columns, inputs, 0)
        return None, None, None
