"""The optimizer group: parameters and settings -> one torch.optim optimizer.

A small model's parameters lie in one flat buffer, and an optimizer that treats every element alike
is given that buffer as its only parameter: one kernel a step instead of a handful per layer. One
that looks at a parameter's shape (Muon, say) is given the parameters themselves.
"""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optsweep.config.instantiate import accepts, call, resolve
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from optsweep.optim.rmsprop import OnePassRMSprop, takes_one_pass
from optsweep.training.stacked import Stacked, layout

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


# Weights up to which a flat buffer paid on a CPU, by `experiments/benchmark.py loop` and `stack`.
_FLAT_ON_CPU = 100_000


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


def _spare_the_compiler() -> None:
    """Lets optimizers be made without torch's compiler, whose import takes a second.

    torch keeps these methods out of compiled code with wrappers that import it once they are
    called, and keep here what it says. Nothing is compiled; where a torch wraps them otherwise,
    this does nothing.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    for method in (getattr(Optimizer, name) for name in names):
        if plain := getattr(method, "__wrapped__", None):
            setattr(plain, "__dynamo_disable", plain)  # no name of this file's


_spare_the_compiler()


def is_elementwise(target: Callable[..., Any]) -> bool:
    """Whether the optimizer class may be given all parameters as one flat tensor."""
    return target in _ELEMENTWISE or bool(getattr(target, "elementwise", False))


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


def build(settings: Settings, model: nn.Module) -> Optimizer:
    """The settings' optimizer over the model's parameters, in torch's fastest form.

    Raises:
        SettingsError: the optimizer refuses one of its arguments.
    """
    target = resolve("optimizer", settings.optimizer)
    parameters: list[nn.Parameter] = list(model.parameters())
    if not parameters:
        raise SettingsError(f"model={settings.model.name} has no parameters to optimize")
    alike = len({(p.dtype, p.requires_grad) for p in parameters}) == 1
    if alike and is_elementwise(target) and _pays_flat(parameters):
        parameters = [flatten(model)]
    return _over(settings, target, parameters)


def _pays_flat(parameters: Sequence[nn.Parameter]) -> bool:
    """Whether kernels saved are worth more than gradients that have to be cleared and added to."""
    count = sum(parameter.numel() for parameter in parameters)
    return parameters[0].device.type != "cpu" or count <= _FLAT_ON_CPU


def build_in_stack(settings: Settings, stacked: Stacked, run: int) -> Optimizer:
    """The settings' optimizer over the weights of one run of a stack.

    Raises:
        SettingsError: the optimizer refuses one of its arguments.
    """
    target = resolve("optimizer", settings.optimizer)
    own = [stacked.row(run)] if is_elementwise(target) else stacked.parameters_of(run)
    return _over(settings, target, own)


def _lightened(optimizer: Optimizer) -> Optimizer:
    """torch's optimizer without what torch wraps around each step of it.

    Profiler records and hooks cost some 40 us a step, which a stack pays once for every run; a
    step of 3,000 weights takes 15. They import torch's compiler too, which takes a second.
    """
    is_torchs = type(optimizer).__module__.startswith("torch.optim.")
    if (is_torchs or type(optimizer) is OnePassRMSprop) and not optimizer.defaults.get(
        "differentiable"
    ):
        bare = torch.no_grad()(inspect.unwrap(type(optimizer).step))
        optimizer.step = types.MethodType(bare, optimizer)  # type: ignore[method-assign]
    return optimizer


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
    return _lightened(optimizer)


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


def load_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Puts an optimizer into a state of its kind: also that of the flat buffer that a stack has.

    Raises:
        ValueError, KeyError, RuntimeError: it does not fit.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    groups = state["param_groups"]
    if len(parameters) > 1 and [len(group["params"]) for group in groups] == [1]:
        state = _cut(state, parameters)
    optimizer.load_state_dict(state)


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
