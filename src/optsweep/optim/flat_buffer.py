"""Parameters as views of one flat buffer: one kernel a step instead of one a layer."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# Floats in 64 bytes: each parameter starts on a cache line, which vector code is fastest on and
# which makes its sums independent of where the allocator put the buffer.
_LINE = 16


def layout(lengths: Iterable[int]) -> tuple[list[slice], int]:
    """Where parameters of so many elements lie in a flat buffer, and how long it is."""
    windows, offset = [], 0
    for length in lengths:
        windows.append(slice(offset, offset + length))
        offset += -(-length // _LINE) * _LINE
    return windows, offset


# Weights up to which a flat buffer paid on a CPU, by `experiments/benchmark.py loop` and `stack`.
_FLAT_ON_CPU = 100_000


def flatten(model: nn.Module) -> nn.Parameter:
    """Moves a model's parameters into one flat buffer, of which they become views.

    Returns the buffer, float32 `[P]`, with its gradient allocated: the parameters' gradients are
    views of that, so that backward fills it and one `zero_()` clears it.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    windows, length = layout(p.numel() for p in parameters)
    first = parameters[0]
    flat = nn.Parameter(torch.zeros(length, dtype=first.dtype, device=first.device))
    flat.grad = torch.zeros_like(flat)
    for parameter, window in zip(parameters, windows, strict=True):
        flat.data[window] = parameter.data.flatten()
        parameter.data = flat.data[window].view(parameter.shape)
        parameter.grad = flat.grad[window].view(parameter.shape)
    return flat


def pays(parameters: Sequence[nn.Parameter]) -> bool:
    """Whether kernels saved are worth more than gradients that have to be cleared and added to."""
    count = sum(parameter.numel() for parameter in parameters)
    return parameters[0].device.type != "cpu" or count <= _FLAT_ON_CPU


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Puts an optimizer into a state of its kind: also that of the flat buffer that a stack has.

    Raises:
        ValueError, KeyError, RuntimeError: it does not fit.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    groups = state.get("param_groups", [])  # one of several parts keeps their states
    if [len(group["params"]) for group in groups] == [1]:
        state = _cut(state, parameters) if len(parameters) > 1 else _copied(state)
    optimizer.load_state_dict(state)


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """A state without what it shares with others: runs of a stack have rows of one, and a count."""
    own = {
        number: {name: v.clone() if isinstance(v, Tensor) else v for name, v in values.items()}
        for number, values in state["state"].items()
    }
    return state | {"state": own}


def _cut(state: dict[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """The state of a flat buffer, cut into those of the parameters that lie in it."""
    whole = state["state"].get(0, {})
    windows, length = layout(parameter.numel() for parameter in parameters)
    cut = {
        number: {
            name: value[window].view(parameter.shape).clone()
            if value.numel() == length
            else value.clone()  # a count of steps: each parameter counts for itself
            for name, value in whole.items()
        }
        for number, (parameter, window) in enumerate(zip(parameters, windows, strict=True))
    }
    (group,) = state["param_groups"]
    numbers = list(range(len(parameters)))
    return {"state": cut if whole else {}, "param_groups": [group | {"params": numbers}]}
