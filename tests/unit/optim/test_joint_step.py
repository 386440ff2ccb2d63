"""Runs of one kind step together as each does by itself, by torch's own optimizer."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from optsweep.optim import joint_step
from optsweep.optim.flat_buffer import load_state
from optsweep.optim.joint_step import JointStep, joined
from optsweep.optim.optimizers import ScratchSGD, build_stacked_optimizer, clipped
from optsweep.optim.rmsprop import OnePassRMSprop
from support.canary import canary
from support.capture import ReadingNothing
from support.config import NAMES, composed

SHAPED = {"muon", "adafactor", "lion", "soap", "schedule_free_sgd", "schedule_free_adamw"}
FLAT = sorted({*NAMES["optimizer"]} - SHAPED)
Made = Callable[..., Optimizer]


def buffer(runs: int, length: int, dtype: torch.dtype = torch.float64) -> nn.Parameter:
    random = torch.Generator().manual_seed(3)
    flat = nn.Parameter(torch.randn(runs, length, generator=random, dtype=dtype))
    flat.grad = torch.zeros_like(flat)
    return flat


def optimizers(flat: nn.Parameter, made: Made, own: Sequence[dict[str, Any]]) -> list[Optimizer]:
    """An optimizer over each row."""
    assert flat.grad is not None
    built = []
    for row, gradient, arguments in zip(flat.detach(), flat.grad, own, strict=True):
        weights = nn.Parameter(row)
        weights.grad = gradient
        built.append(made([weights], **arguments))
    return built


def advance(flat: nn.Parameter, steps: Sequence[Any], count: int, first: int = 0) -> None:
    """Some steps, each on gradients of its own."""
    assert flat.grad is not None
    for number in range(first, first + count):
        random = torch.Generator().manual_seed(number)
        flat.grad.copy_(torch.randn(flat.shape, generator=random, dtype=torch.float64))
        for each in steps:
            each.step()


def assert_equal(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9, equal_nan=True)


Decays = st.sampled_from([0.0, 1e-3, 0.1])
Betas = st.lists(st.floats(0.1, 0.99), min_size=2, max_size=2)
Eps = st.floats(1e-6, 1e-2)
Flag = st.booleans()
Kinds = st.one_of(
    st.tuples(st.just(optim.SGD), st.fixed_dictionaries({"maximize": Flag, "fused": Flag})),
    st.tuples(
        st.just(optim.SGD),
        st.fixed_dictionaries(
            {"momentum": st.floats(0.1, 0.99), "nesterov": Flag, "maximize": Flag, "fused": Flag}
        ),
    ),
    st.tuples(
        st.sampled_from([optim.Adam, optim.AdamW]),
        st.fixed_dictionaries(
            {"betas": Betas, "eps": Eps, "amsgrad": Flag, "maximize": Flag, "fused": Flag}
        ),
    ),
    st.tuples(
        st.just(optim.RMSprop),
        st.fixed_dictionaries(
            {
                "alpha": st.floats(0.5, 0.999),
                "momentum": st.sampled_from([0, 0.9]),
                "centered": Flag,
                "eps": Eps,
                "maximize": Flag,
            }
        ),
    ),
    st.tuples(st.just(OnePassRMSprop), st.fixed_dictionaries({"eps": Eps, "maximize": Flag})),
    st.tuples(
        st.just(optim.Adagrad),
        st.fixed_dictionaries({"lr_decay": st.floats(0, 0.1), "fused": Flag, "maximize": Flag}),
    ),
    st.tuples(st.just(optim.Adadelta), st.fixed_dictionaries({"rho": st.floats(0.1, 0.99)})),
    st.tuples(st.just(optim.Adamax), st.fixed_dictionaries({"betas": Betas})),
    st.tuples(
        st.sampled_from([optim.NAdam, optim.RAdam]),
        st.fixed_dictionaries({"betas": Betas, "decoupled_weight_decay": Flag}),
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    kind=Kinds,
    own=st.lists(st.tuples(st.floats(0, 0.1), Decays, st.floats(0, 2)), min_size=2, max_size=4),
    length=st.integers(1, 40),
    clip=st.sampled_from([None, 0.5]),
)
def test_rows_move_as_by_torch_s_own_optimizers(
    kind: tuple[Any, dict[str, Any]],
    own: list[tuple[float, float, float]],
    length: int,
    clip: float | None,
) -> None:
    made, arguments = kind
    single = [{"lr": lr, "weight_decay": decay} | arguments for lr, decay, _ in own]
    ours, theirs = buffer(len(own), length), buffer(len(own), length)
    runs = [clipped(one, clip) for one in optimizers(ours, made, single)]
    steps = joined(runs, [clip] * len(own), ours)
    assert [type(each) for each in steps] == [JointStep]
    plain = [clipped(one, clip) for one in optimizers(theirs, made, single)]
    advance(ours, steps, 4)
    advance(theirs, plain, 4)
    for group in (runs, plain):  # as a schedule does
        for each, (_, _, factor) in zip(group, own, strict=True):
            each.param_groups[0]["lr"] *= factor
    advance(ours, steps, 3, first=4)
    advance(theirs, plain, 3, first=4)
    assert_equal(ours, theirs)
    for one, other in zip(runs, plain, strict=True):
        kept, wanted = one.state_dict()["state"].get(0, {}), other.state_dict()["state"].get(0, {})
        assert {*wanted} - {*kept} <= {"momentum_buffer"}
        for name, value in kept.items():
            assert_equal(value, wanted[name])


@pytest.mark.parametrize("name", FLAT)
def test_every_optimizer_of_conf_joins(name: str) -> None:
    flat = buffer(2, 32, torch.float32)
    runs = [composed(f"optimizer={name}", f"lr={lr}") for lr in ("1e-2", "1e-3")]
    assert flat.grad is not None
    built = []
    for settings_, row, gradient in zip(runs, flat.detach(), flat.grad, strict=True):
        weights = nn.Parameter(row)
        weights.grad = gradient
        built.append(build_stacked_optimizer(settings_, weights, [], []))
    assert [type(each) for each in joined(built, [None] * 2, flat)] == [JointStep]


def adam(parameters: Any, **arguments: Any) -> Optimizer:
    return optim.Adam(parameters, fused=True, **arguments)


def stack_of(rates: Sequence[float]) -> tuple[nn.Parameter, list[Optimizer], Sequence[Any]]:
    flat = buffer(len(rates), 24)
    runs = optimizers(flat, adam, [{"lr": rate} for rate in rates])
    return flat, runs, joined(runs, [None] * len(rates), flat)


def test_runs_of_one_kind_join_and_others_step_by_themselves() -> None:
    flat = buffer(11, 8)
    own: Iterator[Made] = iter(
        [
            *(lambda p: optim.SGD(p, lr=0.1), lambda p: optim.SGD(p, lr=0.2, weight_decay=0.1)),
            *(lambda p: optim.Rprop(p, lr=0.1), lambda p: optim.Rprop(p, lr=0.1)),
            *(lambda p: adam(p, betas=(0.8, 0.9)), lambda p: adam(p), lambda p: optim.RAdam(p)),
            *(lambda p: adam(p), lambda p: ScratchSGD(p, lr=0.1), lambda p: ScratchSGD(p, lr=0.2)),
            lambda p: adam(p),
        ]
    )
    runs = optimizers(flat, lambda p: next(own)(p), [{}] * 11)
    steps = joined(runs, [None] * 11, flat)
    assert [each._runs if isinstance(each, JointStep) else each for each in steps] == [
        *(runs[0:2], runs[2], runs[3], runs[4], runs[5:8:2], runs[10], runs[6], runs[8:10])
    ]
    assert joined(runs[5:8:2], [None, 1.0], flat) == runs[5:8:2]


def test_rows_that_lie_apart_join_too() -> None:
    flat, other = buffer(6, 24), buffer(6, 24)
    runs, plain = (optimizers(each, adam, [{"lr": 0.1}, {"lr": 0.2}] * 3) for each in (flat, other))
    for group in (runs, plain):
        for each in group[::2]:
            each.param_groups[0]["weight_decay"] = 0.1
            each.param_groups[0]["betas"] = (0.8, 0.9)
    steps = joined(runs, [1.0] * 6, flat)
    assert [type(each) for each in steps] == [JointStep, JointStep]
    advance(flat, steps, 3)
    advance(other, [clipped(each, 1.0) for each in plain], 3)
    assert_equal(flat, other)


def test_long_rows_step_by_themselves_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_step, "_PAYS_ON_CPU", 23)
    _, runs, steps = stack_of([0.1, 0.2])
    assert steps == runs


def test_a_run_that_overflows_moves_no_other() -> None:
    moved = []
    for wild in (0.0, float("nan"), float("inf")):
        flat, _, steps = stack_of([0.1, 0.2, 0.3])
        advance(flat, steps, 2)
        with torch.no_grad():
            flat[1] += wild
        assert flat.grad is not None
        flat.grad[1] += wild
        for each in steps:
            each.step()
        advance(flat, steps, 2, first=2)
        moved.append(flat.detach()[[0, 2]])
    assert torch.equal(moved[0], moved[1]) and torch.equal(moved[0], moved[2])


def test_a_stack_resumes_bit_for_bit_and_a_run_of_it_alone() -> None:
    flat, runs, steps = stack_of([0.1, 0.2, 0.3])
    advance(flat, steps, 3)
    saved = deepcopy([run.state_dict() for run in runs])
    again, anew, others = stack_of([1.0, 1.0, 1.0])
    with torch.no_grad():
        again.copy_(flat)
    row = buffer(3, 24)
    with torch.no_grad():
        row.copy_(flat)
    alone = optimizers(row, adam, [{"lr": 1.0}] * 3)
    for one, other, state in zip(anew, alone, saved, strict=True):
        load_state(one, state)
        load_state(other, state)
    counts = [one.state_dict()["state"][0]["step"].data_ptr() for one in alone]
    assert len({*counts}) == 3, "each counts its steps for itself"
    advance(flat, steps, 3, first=3)
    advance(again, others, 3, first=3)
    advance(row, alone, 3, first=3)
    assert torch.equal(flat, again)
    assert_equal(flat, row)
    for one, other in zip(runs, alone, strict=True):
        assert_equal(
            one.state_dict()["state"][0]["exp_avg"], other.state_dict()["state"][0]["exp_avg"]
        )


def test_runs_that_were_trained_alone_join_with_their_states() -> None:
    flat = buffer(2, 24)
    runs = optimizers(flat, adam, [{"lr": 0.1}, {"lr": 0.2}])
    other = buffer(2, 24)
    plain = optimizers(other, adam, [{"lr": 0.1}, {"lr": 0.2}])
    advance(flat, runs, 3)
    advance(other, plain, 3)
    advance(flat, joined(runs, [None] * 2, flat), 3, first=3)
    advance(other, plain, 3, first=3)
    assert_equal(flat, other)


@pytest.mark.parametrize("changed", ["betas", "steps"])
def test_runs_that_come_to_differ_step_by_themselves_from_there(changed: str) -> None:
    flat, runs, steps = stack_of([0.1, 0.2])
    other = buffer(2, 24)
    plain = optimizers(other, adam, [{"lr": 0.1}, {"lr": 0.2}])
    advance(flat, steps, 3)
    advance(other, plain, 3)
    for group in (runs, plain):
        if changed == "betas":  # as CyclicLR does
            group[1].param_groups[0]["betas"] = (0.5, 0.6)
        else:
            state = deepcopy(group[1].state_dict())
            state["state"][0]["step"] += 2
            load_state(group[1], state)
    advance(flat, steps, 3, first=3)
    advance(other, plain, 3, first=3)
    assert_equal(flat, other)


@pytest.mark.parametrize(
    "made",
    [
        lambda p, **more: optim.SGD(p, fused=True, weight_decay=0.1, **more),
        lambda p, **more: optim.SGD(p, fused=True, momentum=0.9, **more),
        lambda p, **more: optim.AdamW(p, fused=True, weight_decay=0.1, **more),
    ],
    ids=["sgd", "momentum", "adamw"],
)
def test_rates_that_are_tensors_are_followed_without_being_read(made: Made) -> None:
    flat, other = buffer(2, 16), buffer(2, 16)
    runs = optimizers(flat, made, [{"lr": 0.1}, {"lr": 0.2}])
    plain = optimizers(other, made, [{"lr": 0.1}, {"lr": 0.2}])
    for run in runs:  # as `cuda_graph.prepare` has them
        run.param_groups[0]["lr"] = torch.tensor(run.param_groups[0]["lr"], dtype=torch.float64)
    steps = joined(runs, [None] * 2, flat)
    advance(flat, steps, 2)
    advance(other, plain, 2)
    for run in runs:
        run.param_groups[0]["lr"].fill_(0.05)  # as torch's schedules do
    for run in plain:
        run.param_groups[0]["lr"] = 0.05
    with ReadingNothing():  # type: ignore[no-untyped-call]  # torch's own
        advance(flat, steps, 2, first=2)
    advance(other, plain, 2, first=2)
    assert_equal(flat, other)


def test_torch_s_schedules_see_that_steps_were_taken() -> None:
    flat, runs, steps = stack_of([0.1, 0.2])
    schedules = [optim.lr_scheduler.ExponentialLR(run, 0.5) for run in runs]
    with (
        canary("torch's schedules know by `_opt_called` that an optimizer has stepped."),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        advance(flat, steps, 1)
        for schedule in schedules:
            schedule.step()
    assert [run.param_groups[0]["lr"] for run in runs] == [0.05, 0.1]
