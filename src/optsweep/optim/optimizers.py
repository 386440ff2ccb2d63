"""The optimizer group: parameters and settings -> one torch.optim optimizer.

A small model's parameters lie in one flat buffer, and an optimizer that treats every element alike
is given that buffer as its only parameter: one kernel a step instead of a handful per layer. One
that looks at a parameter's shape (Muon, say) is given the parameters themselves.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from optsweep.config.instantiate import accepts, call, resolve
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from optsweep.optim.flat_buffer import flatten, pays
from optsweep.optim.rmsprop import OnePassRMSprop, takes_one_pass
from optsweep.optim.torch_internals import spare_the_compiler, without_wrappers

# torch's optimizers in which an element's step depends on that element's own history alone.
_ELEMENTWISE = (
    *(optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Adadelta),
    *(optim.Adamax, optim.NAdam, optim.RAdam, optim.ASGD, optim.Rprop),
)


class ScratchSGD(Optimizer):
    """Minibatch stochastic gradient descent, written out: w <- w - lr * gradient.

    A start for an optimizer of your own: copy it, change `step`, and name it in a new file of
    conf/optimizer/. `elementwise` says that a step looks at one element at a time, so that it may
    be given all parameters as one flat tensor.

    Args:
        params: the model's parameters in their shapes, or one flat tensor float32 `[P]` of them.
        lr: the learning rate, which a schedule may change in `param_groups`.
    """

    elementwise = True

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch types the two cases apart
        """Moves every parameter against its gradient; returns the closure's loss, if any."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-group["lr"])
        return loss


spare_the_compiler()


def is_elementwise(target: Callable[..., Any]) -> bool:
    """Whether the optimizer class may be given all parameters as one flat tensor."""
    return target in _ELEMENTWISE or bool(getattr(target, "elementwise", False))


def build_optimizer(settings: Settings, model: nn.Module) -> Optimizer:
    """The settings' optimizer over the model's parameters, in torch's fastest form.

    Raises:
        SettingsError: the optimizer refuses one of its arguments.
    """
    target = resolve("optimizer", settings.optimizer)
    parameters: list[nn.Parameter] = list(model.parameters())
    if not parameters:
        raise SettingsError(f"model={settings.model.name} has no parameters to optimize")
    alike = len({(p.dtype, p.requires_grad) for p in parameters}) == 1
    if alike and is_elementwise(target) and pays(parameters):
        parameters = [flatten(model)]
    return _over(settings, target, parameters)


def build_stacked_optimizer(
    settings: Settings, row: nn.Parameter, parameters: list[nn.Parameter]
) -> Optimizer:
    """The settings' optimizer over the weights of one run of a stack.

    `row` is the run's part of the stack's buffer, float32 `[P]`; `parameters` are its views in the
    model's own shapes, for an optimizer that looks at them.

    Raises:
        SettingsError: the optimizer refuses one of its arguments.
    """
    target = resolve("optimizer", settings.optimizer)
    return _over(settings, target, [row] if is_elementwise(target) else parameters)


def _over(
    settings: Settings, target: Callable[..., Any], parameters: list[nn.Parameter]
) -> Optimizer:
    arguments = settings.optimizer.arguments
    target, forms = _fastest_form(target, parameters[0].device, arguments)
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
    return without_wrappers(optimizer)


def _fastest_form(
    target: Callable[..., Any], device: torch.device, given: Mapping[str, Any]
) -> tuple[Callable[..., Any], dict[str, bool]]:
    """`fused=True` where torch has it, else `foreach=True`, unless the config says otherwise.

    With what is to be called: RMSprop, which torch fuses nowhere, has another form here.
    """
    if any(name in given for name in ("fused", "foreach", "differentiable")):
        return target, {}
    if target is torch.optim.RMSprop and device.type == "cpu" and takes_one_pass(given):
        return OnePassRMSprop, {}
    # torch has no fused Adagrad for MPS.
    on = ("cpu", "cuda") if target is torch.optim.Adagrad else ("cpu", "cuda", "mps")
    graphs = {"capturable": True} if device.type == "cuda" and accepts(target, "capturable") else {}
    if accepts(target, "fused") and device.type in on:
        return target, {"fused": True, **graphs}
    return target, {"foreach": True, **graphs} if accepts(target, "foreach") else {}
