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
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from optsweep.config.instantiate import accepts, call, contract, resolve
from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.optim.flat_buffer import flatten, pays
from optsweep.optim.rmsprop import OnePassRMSprop, takes_one_pass
from optsweep.optim.routing import Routed, Traits, as_matrix, parts_of, route, traits_of
from optsweep.optim.torch_internals import is_torchs, spare_the_compiler, without_wrappers

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


def takes_flat(settings: Settings) -> bool:
    """Whether the settings' optimizer may be given all parameters as one flat tensor."""
    target = resolve("optimizer", settings.optimizer)
    return is_elementwise(target) and not _spares(settings, settings.optimizer, target)


def _spares(settings: Settings, option: Option, target: Callable[..., Any]) -> bool:
    """Whether the option decays weights, and biases and norms are to be spared from that."""
    if not settings.no_decay or not accepts(target, "weight_decay"):
        return False
    default = inspect.signature(target).parameters["weight_decay"].default
    return bool(option.arguments.get("weight_decay", default))


def build_optimizer(settings: Settings, model: nn.Module) -> Optimizer:
    """The settings' optimizer over the model's parameters, in torch's fastest form.

    Raises:
        SettingsError: the optimizer refuses one of its arguments, or the model's parameters.
    """
    parameters: list[nn.Parameter] = list(model.parameters())
    if not parameters:
        raise SettingsError(f"model={settings.model.name} has no parameters to optimize")
    alike = len({(p.dtype, p.requires_grad) for p in parameters}) == 1
    if alike and takes_flat(settings) and pays(parameters):
        return _over_one(settings, flatten(model))
    return _over_many(settings, parameters, traits_of(model))


def build_stacked_optimizer(
    settings: Settings,
    row: nn.Parameter,
    parameters: list[nn.Parameter],
    traits: Sequence[Traits],
) -> Optimizer:
    """The settings' optimizer over the weights of one run of a stack.

    `row` is the run's part of the stack's buffer, float32 `[P]`; `parameters` are its views in the
    model's own shapes, for an optimizer that looks at them; `traits` are theirs.

    Raises:
        SettingsError: the optimizer refuses one of its arguments, or the model's parameters.
    """
    if takes_flat(settings):
        return _over_one(settings, row)
    return _over_many(settings, parameters, traits)


def _over_one(settings: Settings, flat: nn.Parameter) -> Optimizer:
    optimizer = _over("optimizer", settings.optimizer, flat.device, [flat])
    return clipped(optimizer, settings.clip_norm)


def _over_many(
    settings: Settings, parameters: Sequence[nn.Parameter], traits: Sequence[Traits]
) -> Optimizer:
    """One optimizer, or one for each part, over parameters in their own shapes."""
    together = list(zip(parameters, traits, strict=True))
    device = parameters[0].device
    if resolve("optimizer", settings.optimizer) is not Routed:
        groups = _groups(settings, settings.optimizer, together)
        optimizer = _over("optimizer", settings.optimizer, device, groups)
        return clipped(optimizer, settings.clip_norm)
    trained = [(own, what) for own, what in together if own.requires_grad]
    built = []
    for part, numbers in route(settings, parts_of(settings.optimizer), [t for _, t in trained]):
        taken = [trained[number] for number in numbers]
        if part.flatten:
            taken = [(as_matrix(own), what) for own, what in taken]
        groups = _groups(settings, part.option, taken)
        built.append(_over(part.group, part.option, device, groups))
    return clipped(Routed(*built), settings.clip_norm)


def _groups(
    settings: Settings, option: Option, together: Sequence[tuple[nn.Parameter, Traits]]
) -> list[Any]:
    """The parameters, or where some are spared from weight decay, torch's groups of them."""
    everything = [own for own, _ in together]
    if not _spares(settings, option, resolve("optimizer", option)):
        return everything
    decaying = [own for own, traits in together if traits.decays]
    spared = [own for own, traits in together if not traits.decays]
    groups: list[dict[str, Any]] = [{"params": decaying}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _over(group: str, option: Option, device: torch.device, parameters: list[Any]) -> Optimizer:
    target, forms = _fastest_form(resolve(group, option), device, option.arguments)
    optimizer = call(group, option, target, parameters, **forms)
    if not isinstance(optimizer, Optimizer):
        raise SettingsError(
            f"{group}={option.name}: {option.target} must be a torch.optim.Optimizer, not a "
            f"{type(optimizer).__name__}; needed is {contract(group)}"
        )
    if any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in inspect.signature(optimizer.step).parameters.values()
    ):
        raise SettingsError(
            f"{group}={option.name}: {option.target} evaluates the loss by itself, several times a "
            "step; one that takes a step from a gradient is needed"
        )
    return without_wrappers(optimizer)


def clipped(optimizer: Optimizer, norm: float | None) -> Optimizer:
    """The optimizer, which scales its gradients down to this global norm before each step."""
    if norm is None:
        return optimizer
    weights = [own for group in optimizer.param_groups for own in group["params"]]
    step = optimizer.step

    def clip_and_step(self: Optimizer, closure: None = None) -> None:
        nn.utils.clip_grad_norm_(weights, norm)
        step()

    # A method, as torch's schedules wrap it as one.
    optimizer.step = types.MethodType(clip_and_step, optimizer)  # type: ignore[method-assign]
    return optimizer


def _fastest_form(
    target: Callable[..., Any], device: torch.device, given: Mapping[str, Any]
) -> tuple[Callable[..., Any], dict[str, bool]]:
    """`fused=True` where torch has it, else `foreach=True`, unless the config says otherwise.

    With what is to be called: RMSprop, which torch fuses nowhere, has another form here. A class of
    somebody else's is called as it is.
    """
    if any(name in given for name in ("fused", "foreach", "differentiable")):
        return target, {}
    if not is_torchs(target):
        return target, {}  # its author knows best
    if target is torch.optim.RMSprop and device.type == "cpu" and takes_one_pass(given):
        return OnePassRMSprop, {}
    # torch has no fused Adagrad for MPS.
    on = ("cpu", "cuda") if target is torch.optim.Adagrad else ("cpu", "cuda", "mps")
    graphs = {"capturable": True} if device.type == "cuda" and accepts(target, "capturable") else {}
    if accepts(target, "fused") and device.type in on:
        return target, {"fused": True, **graphs}
    return target, {"foreach": True, **graphs} if accepts(target, "foreach") else {}
