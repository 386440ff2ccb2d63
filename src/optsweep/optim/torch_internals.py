"""What reaches into torch's optimizers for speed: each gain is named, each has a canary test."""

import inspect
import types
from typing import Any

import torch
from torch.optim import Optimizer

from optsweep.optim.rmsprop import OnePassRMSprop


def spare_the_compiler() -> None:
    """Lets optimizers be made without torch's compiler, whose import takes a second.

    torch keeps these methods out of compiled code with wrappers that import it once they are
    called, and keep here what it says. Nothing is compiled; where a torch wraps them otherwise,
    this does nothing.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    for method in (getattr(Optimizer, name) for name in names):
        if plain := getattr(method, "__wrapped__", None):
            setattr(plain, "__dynamo_disable", plain)  # no name of this file's


def is_torchs(target: Any) -> bool:
    """Whether an optimizer's class is torch's own."""
    return f"{getattr(target, '__module__', '')}.".startswith("torch.optim.")


def without_wrappers(optimizer: Optimizer) -> Optimizer:
    """torch's optimizer without what torch wraps around each step of it.

    Profiler records and hooks cost some 40 us a step, which a stack pays once for every run; a
    step of 3,000 weights takes 15. They import torch's compiler too, which takes a second.
    """
    kind = type(optimizer)
    if (is_torchs(kind) or kind is OnePassRMSprop) and not optimizer.defaults.get("differentiable"):
        bare = torch.no_grad()(inspect.unwrap(type(optimizer).step))
        optimizer.step = types.MethodType(bare, optimizer)  # type: ignore[method-assign]
    return optimizer


def steps_by_another(optimizer: Optimizer) -> None:
    """Says that another optimizer takes this one's steps, where torch's schedules ask for them.

    torch warns where a schedule is stepped before its optimizer. A canary test sees to the mark.
    """
    optimizer._opt_called = True  # type: ignore[attr-defined]  # torch's own mark


def may_step_uncaptured(optimizer: Optimizer) -> None:
    """Says that an optimizer whose step can be captured may step outside a capture, to warm up.

    torch warns of that. A canary test sees to the mark.
    """
    optimizer._warned_capturable_if_run_uncaptured = True
