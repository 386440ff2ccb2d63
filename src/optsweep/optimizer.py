"""The optimizer group: parameters and settings -> one torch.optim optimizer.

The model's parameters lie in one flat buffer, and an optimizer that treats every element alike is
given that buffer as its only parameter: one kernel a step instead of a handful per layer. One
that looks at a parameter's shape (Muon, say) is given the parameters themselves.
"""

import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optsweep.building import accepts, call, resolve
from optsweep.errors import SettingsError
from optsweep.settings import Settings
from optsweep.stacking import Stacked, padded

# torch's optimizers in which an element's step depends on that element's own history alone.
_ELEMENTWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.ASGD,
    torch.optim.Rprop,
)


class ScratchSGD(Optimizer):
    """Minibatch stochastic gradient descent, written out: w <- w - lr * gradient.

    A start for an optimizer of your own: copy it, change `step`, and name it in a new file of
    conf/optimizer/. `elementwise` says that a step looks at one element at a time, so that it may
    be given all parameters as one flat tensor.
    """

    elementwise = True

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch types the two cases apart
        """Moves every parameter against its gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-group["lr"])
        return loss


def is_elementwise(target: Callable[..., Any]) -> bool:
    """Whether the optimizer class may be given all parameters as one flat tensor."""
    return target in _ELEMENTWISE or bool(getattr(target, "elementwise", False))


def flatten(model: nn.Module) -> nn.Parameter:
    """Moves a model's parameters into one flat buffer, of which they become views.

    Returns the buffer, float32 `[P]`, with its gradient allocated: the parameters' gradients are
    views of that, so that backward fills it and one `zero_()` clears it.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    lengths = [padded(p.numel()) for p in parameters]
    first = parameters[0]
    flat = nn.Parameter(torch.zeros(sum(lengths), dtype=first.dtype, device=first.device))
    flat.grad = torch.zeros_like(flat)
    offset = 0
    for parameter, length in zip(parameters, lengths, strict=True):
        window = slice(offset, offset + parameter.numel())
        flat.data[window] = parameter.data.flatten()
        parameter.data = flat.data[window].view(parameter.shape)
        parameter.grad = flat.grad[window].view(parameter.shape)
        offset += length
    return flat


def build(settings: Settings, model: nn.Module) -> Optimizer:
    """The settings' optimizer over the model's parameters, in torch's fastest form.

    Raises:
        SettingsError: the optimizer refuses one of its arguments.
    """
    target = resolve("optimizer", settings.optimizer)
    parameters: list[nn.Parameter] = list(model.parameters())
    if not parameters:
        raise SettingsError(f"model={settings.model.name} has no parameters to optimize")
    if is_elementwise(target) and len({(p.dtype, p.requires_grad) for p in parameters}) == 1:
        parameters = [flatten(model)]
    return _over(settings, target, parameters)


def build_in_stack(settings: Settings, stacked: Stacked, run: int) -> Optimizer:
    """The settings' optimizer over the weights of one run of a stack.

    Raises:
        SettingsError: the optimizer refuses one of its arguments.
    """
    target = resolve("optimizer", settings.optimizer)
    own = [stacked.row(run)] if is_elementwise(target) else stacked.parameters_of(run)
    return _lightened(_over(settings, target, own))


def _lightened(optimizer: Optimizer) -> Optimizer:
    """torch's optimizer without what torch wraps around each step of it.

    Profiler records and hooks cost some 40 us a step, which a stack pays once for every run; a
    step of 3,000 weights takes 15.
    """
    is_torchs = type(optimizer).__module__.startswith("torch.optim.")
    if is_torchs and not optimizer.defaults.get("differentiable"):
        bare = torch.no_grad()(inspect.unwrap(type(optimizer).step))
        optimizer.step = types.MethodType(bare, optimizer)  # type: ignore[method-assign]
    return optimizer


def _over(
    settings: Settings, target: Callable[..., Any], parameters: list[nn.Parameter]
) -> Optimizer:
    forms = _fastest_form(target, parameters[0].device, settings.optimizer.arguments)
    optimizer = call("optimizer", settings.optimizer, target, parameters, **forms)
    if not isinstance(optimizer, Optimizer):
        raise SettingsError(
            f"optimizer={settings.optimizer.name}: {settings.optimizer.target} must be a "
            "torch.optim.Optimizer"
        )
    if any(p.default is p.empty for p in inspect.signature(optimizer.step).parameters.values()):
        raise SettingsError(
            f"optimizer={settings.optimizer.name}: {settings.optimizer.target} evaluates the loss "
            "by itself, several times a step; one that takes a step from a gradient is needed"
        )
    return optimizer


def _fastest_form(target: Callable[..., Any], device: torch.device, given: Any) -> dict[str, bool]:
    """`fused=True` where torch has it, else `foreach=True`, unless the config says otherwise."""
    if any(name in given for name in ("fused", "foreach", "differentiable")):
        return {}
    # torch has no fused Adagrad for MPS.
    on = ("cpu", "cuda") if target is torch.optim.Adagrad else ("cpu", "cuda", "mps")
    graphs = {"capturable": True} if device.type == "cuda" and accepts(target, "capturable") else {}
    if accepts(target, "fused") and device.type in on:
        return {"fused": True, **graphs}
    return {"foreach": True, **graphs} if accepts(target, "foreach") else {}
