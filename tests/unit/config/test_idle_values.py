"""Swept values that change nothing are refused or warned of before anything is trained."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optsweep.config.idle_values import Typed, idle_values
from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from support.settings import changed

FIXED = Option("mine", "torch.optim.SGD", {"lr": 0.01})  # of a file without lr: ${lr}
FREE = Option("free", "mine.Free", {})


def run(own: Option | None = None, *overrides: str, **swept: Any) -> Typed:
    """A run with these swept values; an optimizer of its own does not use the learning rate."""
    values = {key: value for key, value in swept.items() if key != "optimizer"}
    given = _of(own, **values)
    return Typed(overrides, given, swept)


def _of(optimizer: Option | None, **values: Any) -> Settings:
    if optimizer:
        return replace(changed(**values), optimizer=optimizer)
    settings = changed(**values)
    arguments = dict(settings.optimizer.arguments) | {"lr": settings.lr}
    return replace(settings, optimizer=replace(settings.optimizer, arguments=arguments))


def test_a_rate_that_the_optimizer_does_not_use_is_refused() -> None:
    runs = [run(FIXED, lr=lr) for lr in (1e-3, 0.1)]
    with pytest.raises(SettingsError) as refused:
        idle_values(["lr"], runs)
    assert str(refused.value) == (
        "lr=0.001,0.1: optimizer=mine does not use it; type optimizer.lr=0.001,0.1, or write "
        "lr: ${lr} into conf/optimizer/mine.yaml"
    )
    with pytest.raises(SettingsError, match="optimizer=free does not use it; write lr:"):
        idle_values(["lr"], [run(FREE, lr=lr) for lr in (1e-3, 0.1)])


def test_a_rate_beside_the_optimizers_own_is_refused() -> None:
    runs = [run(FIXED, f"lr={lr}", "optimizer.lr=0.01", lr=lr) for lr in (1e-3, 0.1)]
    with pytest.raises(SettingsError, match=r"optimizer.lr=0.01 replaces it; leave optimizer.lr"):
        idle_values(["lr"], runs)


def test_one_optimizer_of_several_that_does_not_use_the_rate_is_warned_of() -> None:
    rates = (1e-3, 0.1)
    runs = [run(lr=lr, optimizer="sgd") for lr in rates]
    runs += [run(FIXED, lr=lr, optimizer="mine") for lr in rates]
    (warning,) = idle_values(["optimizer", "lr"], runs)
    assert warning.startswith("lr=0.001,0.1: optimizer=mine does not use it; type optimizer.lr=")


def test_what_changes_how_runs_are_run_alone_is_warned_of() -> None:
    runs = [run(threads=threads, seed=seed) for threads in (1, 2) for seed in (0, 1)]
    (warning,) = idle_values(["threads", "seed"], runs)
    assert warning.startswith("threads=1,2: changes no result; type one value")


@pytest.mark.long
@settings(deadline=None)
@given(
    st.lists(st.floats(1e-6, 10), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
)
def test_what_changes_a_result_is_never_warned_of(rates: list[float], epochs: list[int]) -> None:
    runs = [run(lr=lr, epochs=number) for lr in rates for number in epochs]
    assert idle_values(["lr", "epochs"], runs) == []
