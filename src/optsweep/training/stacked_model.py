"""K models of one kind as one module, behind the interface that the core loop knows.

All weights lie in one buffer, float32 `[K, P]`: a row is a run, laid out as `optimizer.flatten`
lays a model out. The forward pass is one `vmap` of the model over the rows, or where the model is
known, products that are written out. Each run's own optimizer works on its row, so that any mix of
optimizers shares a stack, each with torch's arithmetic.
"""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from optsweep.models.perceptrons import Perceptrons, layers_of
from optsweep.optim.flat_buffer import layout

# A run's row has to be one piece, so that its optimizer takes it in one; a parameter of all runs
# then lies P floats apart. torch warns of that where it adds to the gradient, which costs no more.
warnings.filterwarnings("ignore", "grad and param do not obey the gradient layout contract")


class StackedModel(nn.Module):
    """K models as one: images `[B, C, H, W]`, or `[K, B, C, H, W]` -> outputs `[K, B, classes]`."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """Takes the weights and buffers of `models`, which are built alike, over."""
        super().__init__()
        first = next(models[0].parameters())
        shapes = {name: p.shape for name, p in models[0].named_parameters()}
        windows, length = layout(shape.numel() for shape in shapes.values())
        size = len(models), length
        self.flat = nn.Parameter(torch.zeros(size, dtype=first.dtype, device=first.device))
        self.flat.grad = torch.zeros_like(self.flat)
        self._leaves: dict[str, nn.Parameter] = {}
        for (name, shape), window in zip(shapes.items(), windows, strict=True):
            leaf = nn.Parameter(_window(self.flat.data, window, shape))
            leaf.grad = _window(self.flat.grad, window, shape)
            self._leaves[name] = leaf
        self._buffers_of_all = {
            name: torch.stack([dict(model.named_buffers())[name] for model in models])
            for name, _ in models[0].named_buffers()
        }
        # What the model alone keeps: not the buffers that it declares to be temporary.
        self._kept = models[0].state_dict().keys() & {*self._leaves, *self._buffers_of_all}
        for run, model in enumerate(models):
            self.load_run(run, model.state_dict())
        # In a tuple, so that it is no submodule: it lends its forward pass, not its weights.
        self._kind = (copy.deepcopy(models[0]).to("meta"),)
        self._layers = layers_of(self._kind[0], self._leaves)

    def __len__(self) -> int:
        """How many runs the stack holds."""
        return len(self.flat)

    @property
    def kind(self) -> nn.Module:
        """One model of the kind that is stacked, without weights."""
        return self._kind[0]

    def train(self, mode: bool = True) -> "StackedModel":
        """Sets training or evaluation, which layers such as batch normalisation ask for."""
        self._kind[0].train(mode)
        super().train(mode)
        return self

    @property
    def overwrites_gradients(self) -> bool:
        """Whether backward puts gradients in the place of those before, where it else adds them."""
        return self._layers is not None and not self._autocasts

    def forward(self, images: Tensor) -> Tensor:
        """One pass of all runs: over the same images, or over each run's own."""
        self._autocasts = torch.is_autocast_enabled(images.device.type)
        if self._layers is not None and not self._autocasts:
            inputs = images.flatten(-3).expand(len(self), -1, -1)
            passed: Tensor = Perceptrons.apply(self.flat, inputs, self._layers)
            return passed
        one_each = torch.vmap(self._one, in_dims=(0, 0, 0 if images.ndim == 5 else None))
        outputs: Tensor = one_each(self._leaves, self._buffers_of_all, images)
        return outputs

    def _one(self, parameters: Any, buffers: Any, images: Tensor) -> Any:
        return functional_call(self._kind[0], (parameters, buffers), (images,))

    def row(self, run: int) -> nn.Parameter:
        """A run's weights, float32 `[P]`, a view of the buffer, its gradient a view likewise."""
        assert self.flat.grad is not None
        row = nn.Parameter(self.flat.data[run])
        row.grad = self.flat.grad[run]
        return row

    def parameters_of(self, run: int) -> list[nn.Parameter]:
        """A run's weights in their own shapes, for an optimizer that looks at them."""
        parameters = []
        for leaf in self._leaves.values():
            assert leaf.grad is not None
            own = nn.Parameter(leaf.data[run])
            own.grad = leaf.grad[run]
            parameters.append(own)
        return parameters

    def state_of(self, run: int) -> dict[str, Tensor]:
        """A run's weights and buffers under the names that its model has alone; views."""
        everything: dict[str, Tensor] = {**self._leaves, **self._buffers_of_all}
        return {name: everything[name].detach()[run] for name in everything if name in self._kept}

    def load_run(self, run: int, state: dict[str, Tensor]) -> None:
        """Puts a run's weights and buffers in place, as `state_of` or its model alone gives them.

        Raises:
            RuntimeError: the state is of another model.
        """
        own = self.state_of(run)
        if not own.keys() <= state.keys():
            raise RuntimeError(f"missing are {', '.join(own.keys() - state.keys())}")
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise RuntimeError(f"{name} is {list(state[name].shape)}")
            tensor.copy_(state[name])


def _window(rows: Tensor, window: slice, shape: Sequence[int]) -> Tensor:
    """A parameter's part of the buffer, `[K, *shape]`: a view, whose runs lie P floats apart."""
    return rows[:, window].view(len(rows), *shape)
