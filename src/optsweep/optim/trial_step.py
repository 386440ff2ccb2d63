"""Whether an optimizer can do what a run asks of it: tried on weights that nobody needs.

An optimizer of somebody else's may refuse a step without its loss, keep what it needs outside of
its `state_dict`, or draw random numbers. Here that is seen before anything is trained.
"""

import io
import pickle
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from optsweep.config.instantiate import resolve
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from optsweep.optim.flat_buffer import load_state
from optsweep.optim.optimizers import build_optimizer
from optsweep.optim.routing import Routed, parts_of, set_mode
from optsweep.optim.torch_internals import is_torchs
from optsweep.system.cores import few_threads
from optsweep.system.exceptions import reason

# Steps before and after a state is saved: what is done every tenth step comes in both.
_STEPS = 12
# By how much weights may differ, as a share of their movement, where only rounding differs.
_TOLERANCE = 1e-3


def check_steps(settings: Settings, model: nn.Module) -> None:
    """Takes two steps with the settings' optimizer, on gradients that are made up.

    The model is spent: its weights move.

    Raises:
        SettingsError: the optimizer cannot take a step from a gradient.
    """
    optimizer = build_optimizer(settings, model)
    try:
        with few_threads():
            _take_steps(optimizer, model, range(2))
    except Exception as error:  # whatever an optimizer of somebody else's raises
        raise _refused(settings, "cannot take a step", error) from error


def why_not_stackable(settings: Settings) -> str:
    """Why the settings' optimizer cannot share a stack, in words; empty where it can.

    Raises:
        SettingsError: it does not continue from its own state, so that no run could resume.
    """
    if all(map(is_torchs, _targets(settings))):
        return ""
    with torch.random.fork_rng(devices=[]), few_threads():
        torch.manual_seed(0)
        model = _Small()
        try:
            optimizer = build_optimizer(settings, model)
            before, random = _places(model), torch.get_rng_state()
            _take_steps(optimizer, model, range(_STEPS))
        except Exception:  # it is for models of another kind, on which it was tried by itself
            return ""
        is_random = not torch.equal(random, torch.get_rng_state())
        _check_resuming(settings, optimizer, model)
    if is_random:
        return "it draws random numbers, which runs of a stack would share"
    if _places(model) != before:
        return "it puts new tensors in the place of weights or gradients"
    return ""


def _check_resuming(settings: Settings, optimizer: Optimizer, model: nn.Module) -> None:
    """Continues twice: with the optimizer itself, and with a new one in its saved state."""
    start = [own.detach().clone() for own in model.parameters()]
    other = _Small()
    try:
        again = build_optimizer(settings, other)
        saved = io.BytesIO()
        torch.save((model.state_dict(), optimizer.state_dict()), saved)
        saved.seek(0)
        try:
            weights, state = torch.load(saved, weights_only=True)
        except pickle.UnpicklingError as error:
            raise TypeError("it holds more than tensors, numbers, texts and lists") from error
        other.load_state_dict(weights)
        load_state(again, state)
        for each, own in ((optimizer, model), (again, other)):
            torch.manual_seed(1)
            _take_steps(each, own, range(_STEPS, 2 * _STEPS))
    except Exception as error:  # whatever an optimizer of somebody else's raises
        raise _refused(settings, "cannot resume from its own state", error) from error
    for one, two, old in zip(model.parameters(), other.parameters(), start, strict=True):
        allowed = _TOLERANCE * (one - old).detach().abs().max().nan_to_num().item()
        if not torch.allclose(one, two, rtol=0, atol=allowed, equal_nan=True):
            raise SettingsError(
                f"optimizer={settings.optimizer.name} cannot resume from its own state: "
                f"{settings.optimizer.target} keeps what a step needs outside of its state_dict"
            )


def _refused(settings: Settings, what: str, error: Exception) -> SettingsError:
    return SettingsError(f"optimizer={settings.optimizer.name} {what}: {reason(error)}")


def _targets(settings: Settings) -> list[Any]:
    target = resolve("optimizer", settings.optimizer)
    if target is not Routed:
        return [target]
    return [resolve(part.group, part.option) for part in parts_of(settings.optimizer)]


class _Small(nn.Module):
    """A parameter of each kind: convolutions, matrices, biases, a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(16, 6)),
            *(nn.LayerNorm(6), nn.Linear(6, 5), nn.Linear(5, 3)),
        )


def _places(model: nn.Module) -> list[int]:
    """Where weights and gradients lie."""
    places = []
    for own in model.parameters():
        own.grad = torch.zeros_like(own) if own.grad is None else own.grad
        places += [own.data_ptr(), own.grad.data_ptr()]
    return places


def _take_steps(optimizer: Optimizer, model: nn.Module, steps: range) -> None:
    """Some steps between `train()` and `eval()`; each has a gradient of its own."""
    set_mode(optimizer, training=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    for step in steps:
        random = torch.Generator().manual_seed(step)
        for own in parameters:
            gradient = 0.1 * torch.randn(own.shape, generator=random).to(own)
            if own.grad is None:
                own.grad = gradient
            else:
                own.grad.copy_(gradient)
        optimizer.step()
    set_mode(optimizer, training=False)
