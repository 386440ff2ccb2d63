"""Learning rates follow torch's own schedules, epoch by epoch or batch by batch."""

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import Optimizer, lr_scheduler

from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.optim import optimizers as optimizer
from optsweep.optim import schedules as schedule
from optsweep.optim.routing import set_mode
from support.config import NAMES, composed


def chosen(*overrides: str, **arguments: Any) -> Settings:
    settings = composed(*overrides)
    option = settings.schedule
    changed = replace(option, arguments={**option.arguments, **arguments})
    return replace(settings, schedule=changed)


def rates(settings: Settings, steps: int) -> list[float]:
    """The learning rate that each batch of the run is trained with."""
    moves = optimizer.build_optimizer(settings, torch.nn.Linear(2, 2))
    built = schedule.build_schedule(settings, moves, steps)
    used = []
    for _ in range(settings.epochs):
        for _ in range(steps):
            used.append(float(moves.param_groups[0]["lr"]))
            moves.step()
            if built.by_batch:
                built.scheduler.step()
        if not built.by_batch:
            built.scheduler.step()
    return used


def plain(lr: float) -> Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)


@settings(max_examples=20, deadline=None)
@given(lr=st.floats(1e-6, 10), epochs=st.integers(1, 12), steps=st.integers(1, 5))
def test_a_constant_rate_stays(lr: float, epochs: int, steps: int) -> None:
    run = replace(composed(), epochs=epochs, lr=lr)
    run = replace(run, optimizer=replace(run.optimizer, arguments={"lr": lr}))
    assert rates(run, steps) == [lr] * epochs * steps


def test_a_step_schedule_multiplies_by_gamma_every_step_size_epochs() -> None:
    run = chosen("schedule=step", "lr=1.0", "epochs=12")
    by_epoch = [1.0] * 5 + [0.1] * 5 + [0.01] * 2
    assert rates(run, 3) == pytest.approx([rate for rate in by_epoch for _ in range(3)])


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(name=st.sampled_from(["step", "cosine"]), epochs=st.integers(1, 20), steps=st.integers(1, 4))
def test_schedules_by_epoch_equal_torch_s(name: str, epochs: int, steps: int) -> None:
    run = replace(chosen(f"schedule={name}", "lr=0.5"), epochs=epochs)
    moves = plain(0.5)
    if name == "cosine":
        run = chosen(f"schedule={name}", "lr=0.5", f"epochs={epochs}")
        theirs: Any = lr_scheduler.CosineAnnealingLR(moves, T_max=epochs)
    else:
        theirs = lr_scheduler.StepLR(moves, step_size=5, gamma=0.1)
    expected = []
    for _ in range(epochs):
        expected += [moves.param_groups[0]["lr"]] * steps
        moves.step()
        theirs.step()
    assert rates(run, steps) == expected


def test_a_cosine_falls_to_nothing_at_the_end_of_the_run() -> None:
    used = rates(chosen("schedule=cosine", "lr=0.5", "epochs=50"), 1)
    assert used[0] == 0.5 and used == sorted(used, reverse=True) and used[-1] < 0.001


@settings(max_examples=20, deadline=None)
@given(epochs=st.integers(1, 8), steps=st.integers(1, 9))
def test_one_cycle_equals_torch_s_batch_by_batch(epochs: int, steps: int) -> None:
    moves = plain(0.5)
    theirs = lr_scheduler.OneCycleLR(
        moves, max_lr=0.5, epochs=epochs, steps_per_epoch=steps, cycle_momentum=False
    )
    expected = []
    for _ in range(epochs * steps):
        expected.append(moves.param_groups[0]["lr"])
        moves.step()
        theirs.step()
    assert rates(chosen("schedule=one_cycle", "lr=0.5", f"epochs={epochs}"), steps) == expected


def test_one_cycle_rises_to_lr_and_falls_over_the_whole_run() -> None:
    used = rates(chosen("schedule=one_cycle", "lr=0.5", "epochs=10"), 10)
    peak = used.index(max(used))
    assert used[peak] == pytest.approx(0.5) and peak == 29
    assert used[: peak + 1] == sorted(used[: peak + 1])
    assert used[peak:] == sorted(used[peak:], reverse=True)
    assert used[0] == pytest.approx(0.02) and used[-1] == pytest.approx(2e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES["optimizer"])
def test_one_cycle_goes_with_every_optimizer_and_gives_none_a_momentum(name: str) -> None:
    run = composed("schedule=one_cycle", f"optimizer={name}", "epochs=2")
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(3)))
    moves = optimizer.build_optimizer(run, model)
    set_mode(moves, training=True)
    keys = ("momentum", "betas")
    before = {key: moves.param_groups[0].get(key) for key in keys}
    built = schedule.build_schedule(run, moves, steps_per_epoch=5)
    for _ in range(10):
        moves.step()
        built.scheduler.step()
        assert {key: moves.param_groups[0].get(key) for key in keys} == before


@pytest.mark.parametrize("name", NAMES["schedule"])
def test_a_schedule_is_stepped_without_a_warning(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rates(composed(f"schedule={name}", "epochs=7"), 2)


class Halving(lr_scheduler.ExponentialLR):
    """A person's own schedule."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer, gamma=0.5)


def nothing(optimizer: Optimizer) -> None:
    """Builds no schedule."""


def own(target: str, **arguments: Any) -> Settings:
    return replace(composed("lr=1.0", "epochs=4"), schedule=Option("own", target, arguments))


def test_any_other_schedule_is_a_new_file() -> None:
    assert rates(own("test_schedules.Halving"), 2) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    exponential = own("torch.optim.lr_scheduler.ExponentialLR", gamma=0.5)
    assert rates(exponential, 1) == [1, 0.5, 0.25, 0.125]
    cyclic = own(
        "torch.optim.lr_scheduler.CyclicLR",
        base_lr=0.0,
        max_lr=1.0,
        step_size_up=2,
        cycle_momentum=False,
    )
    assert rates(cyclic, 2) == pytest.approx([0, 0.5, 1, 0.5, 0, 0.5, 1, 0.5])


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("torch.optim.lr_scheduler.StepLR", {"stepsize": 2}, "did you mean schedule.step_size?"),
        ("torch.optim.lr_scheduler.StepLR", {}, "step_size"),
        ("torch.optim.lr_scheduler.OneCycleLR", {"max_lr": 1, "epochs": -1}, "epochs"),
        ("torch.optim.lr_scheduler.OneCycleLR", {"max_lr": 1, "epochs": 4}, "momentum"),
        ("torch.optim.lr_scheduler.ReduceLROnPlateau", {}, "stepped without a metric"),
        ("test_schedules.nothing", {}, "must be one of torch.optim.lr_scheduler's classes"),
        ("torch.optim.lr_scheduler.Stepp", {}, "cannot be imported"),
    ],
)
def test_a_schedule_that_cannot_be_built_is_refused(
    target: str, arguments: dict[str, Any], message: str
) -> None:
    run = own(target, **arguments)
    moves = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)])
    with pytest.raises(SettingsError, match=message):
        schedule.build_schedule(run, moves, 3)


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        pytest.param("StepLR", {"step_size": 0}, id="division-by-zero"),
        pytest.param("StepLR", {"step_size": 1, "gamma": "small"}, id="text-for-a-number"),
        pytest.param(
            "OneCycleLR",
            {"max_lr": 1.0, "epochs": 3, "cycle_momentum": False},
            id="shorter-than-the-run",
        ),
    ],
)
def test_a_schedule_that_would_fail_in_the_middle_is_refused_before_the_start(
    target: str, arguments: dict[str, Any]
) -> None:
    run = own(f"torch.optim.lr_scheduler.{target}", **arguments)
    with pytest.raises(SettingsError, match="schedule=own cannot be stepped over 4 epochs: "):
        schedule.check_schedule(run, plain(1.0))
