"""Subnormal numbers are zero while an optimizer steps, where that moves no weight otherwise."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from optsweep.models.losses import cross_entropy
from optsweep.optim.optimizers import ScratchSGD
from optsweep.optim.rmsprop import OnePassRMSprop
from optsweep.optim.subnormals import may_be_zero
from optsweep.training.stack import Stack

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHING: list[tuple[Any, dict[str, Any]]] = [
    (optim.SGD, {"momentum": 0.9}),
    (optim.Adam, {"fused": True}),
    (optim.AdamW, {"fused": True}),
    (optim.RMSprop, {"momentum": 0.9, "centered": True}),
    (OnePassRMSprop, {}),
    (optim.Adamax, {}),
    (optim.NAdam, {}),
    (optim.RAdam, {}),
]


class Signs(optim.SGD):
    """Somebody's own, which looks at signs."""


def stack_of(kind: Any, values: dict[str, Any]) -> tuple[Stack, Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(64, 32)
    own = kind(model.parameters(), lr=1e-3, **values)
    return Stack(model, [own], [], cross_entropy, [0]), model.weight


def moved(kind: Any, values: dict[str, Any], together: bool) -> tuple[Tensor, Tensor]:
    """The weights after steps of which all but the first have no gradient, and their state."""
    stack, weights = stack_of(kind, values)
    (optimizer,) = stack.optimizers
    for number in range(1200):  # 0.9 ** 1200 is 1e-55, and float32 ends at 1e-45
        for parameter in stack.model.parameters():
            gradient = torch.full_like(parameter, 1e-3) if number == 0 else 0 * parameter
            parameter.grad = gradient.detach()
        stack.step() if together else optimizer.step()
    kept = [each for each in optimizer.state[weights].values() if each.shape == weights.shape]
    return weights.detach(), torch.stack(kept)


def subnormal(state: Tensor) -> int:
    size = state.abs()
    return int(((size > 0) & (size < torch.finfo(torch.float32).tiny)).sum())


@pytest.mark.parametrize(("kind", "values"), WEIGHING)
def test_weights_are_the_same_bit_for_bit_and_no_state_is_subnormal(
    kind: Any, values: dict[str, Any]
) -> None:
    expected, usual = moved(kind, values, together=False)
    found, state = moved(kind, values, together=True)
    assert found.equal(expected)
    assert subnormal(state) == 0
    if kind in (optim.SGD, optim.Adam, optim.AdamW):  # the others' shrink by less in a step
        assert subnormal(usual) > 0


def test_numbers_are_as_they_were_after_a_step_and_one_that_fails() -> None:
    stack, weights = stack_of(optim.Adam, {})
    weights.grad = torch.ones_like(weights)
    stack.step()
    assert torch.tensor(1e-40) * 1 > 0
    stack.optimizers[0].param_groups[0]["betas"] = None
    with pytest.raises(TypeError):
        stack.step()
    assert torch.tensor(1e-40) * 1 > 0


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (optim.Rprop, {}),
        (optim.Adafactor, {}),
        (ScratchSGD, {}),
        (Signs, {}),
        (optim.Adam, {"eps": 0}),
        (optim.RMSprop, {"eps": 1e-16}),
    ],
)
def test_what_looks_at_signs_or_divides_by_less_steps_as_it_is(
    kind: Any, values: dict[str, Any]
) -> None:
    stack, _ = stack_of(kind, values)
    assert not may_be_zero(stack.optimizers)


def test_several_threads_step_as_they_are() -> None:
    stack, _ = stack_of(optim.Adam, {})
    assert may_be_zero(stack.optimizers)
    torch.set_num_threads(2)
    assert not may_be_zero(stack.optimizers)


def test_a_process_that_takes_them_for_zero_by_itself_keeps_doing_so() -> None:
    stack, weights = stack_of(optim.SGD, {})
    weights.grad = torch.ones_like(weights)
    torch.set_flush_denormal(True)
    try:
        stack.step()
        assert torch.tensor(1e-40) * 1 == 0
    finally:
        torch.set_flush_denormal(False)
