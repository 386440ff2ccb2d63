"""One flat buffer is the model's parameters, and steps on it are torch's own steps."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from optsweep.config.instantiate import resolve
from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.optim import optimizers as optimizer
from optsweep.optim.flat_buffer import flatten, load_state
from optsweep.optim.optimizers import ScratchSGD, build_optimizer, is_elementwise
from optsweep.optim.rmsprop import OnePassRMSprop
from support.config import NAMES, composed

# Of those with conf/ files, the ones that look at a parameter's shape, or are not torch's.
SHAPED = {"muon", "adafactor", "lion", "soap", "schedule_free_sgd", "schedule_free_adamw"}
FLAT = sorted({*NAMES["optimizer"]} - SHAPED)
Shapes = st.lists(st.lists(st.integers(1, 7), min_size=0, max_size=4), min_size=1, max_size=6)


def network(seed: int = 0, bias: bool = True) -> nn.Sequential:
    """Layers whose sizes fill no cache line: each parameter has some padding behind it."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(13, 11, bias=bias), nn.ReLU(), nn.Linear(11, 3, bias=bias))


def advance(model: nn.Module, optimizer: Optimizer, steps: int = 20) -> None:
    """Trains as the core loop does: gradients are zeroed in place."""
    random = torch.Generator().manual_seed(1)
    for _ in range(steps):
        images = torch.randn(8, 13, generator=random)
        labels = torch.randint(3, (8,), generator=random)
        optimizer.zero_grad(set_to_none=False)
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


def chosen(target: str, **arguments: Any) -> Settings:
    return replace(composed(), optimizer=Option("own", target, arguments))


def assert_equal_steps(
    run: Settings, by_torch: Callable[[Iterable[nn.Parameter]], Optimizer], **more: Any
) -> None:
    """Twenty steps of `run`'s optimizer and of a plain one end in the same weights."""
    ours, theirs = network(**more), network(**more)
    advance(ours, build_optimizer(run, ours))
    advance(theirs, by_torch(theirs.parameters()))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert not torch.equal(one, torch.zeros_like(one))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


class Listed(nn.Module):
    """Parameters of any shape, in order."""

    def __init__(self, shapes: Iterable[Iterable[int]], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        tensors = [torch.randn(list(shape), dtype=dtype) for shape in shapes]
        self.listed = nn.ParameterList(nn.Parameter(tensor) for tensor in tensors)


@settings(deadline=None)
@given(shapes=Shapes, dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_flattening_keeps_values_shapes_and_names(
    shapes: list[list[int]], dtype: torch.dtype
) -> None:
    model = Listed(shapes, dtype)
    before = deepcopy(model).state_dict()
    flat = flatten(model)
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert flat.dtype == dtype and flat.is_leaf and flat.requires_grad
    assert flat.count_nonzero() == sum(int(value.count_nonzero()) for value in before.values())


@settings(deadline=None)
@given(shapes=Shapes)
def test_parameters_and_gradients_are_views_that_start_on_cache_lines(
    shapes: list[list[int]],
) -> None:
    model = Listed(shapes)
    flat = flatten(model)
    assert flat.grad is not None and flat.grad.shape == flat.shape
    for buffer, tensors in (
        (flat.data, [parameter.data for parameter in model.parameters()]),
        (flat.grad, [parameter.grad for parameter in model.parameters()]),
    ):
        places = []
        for tensor in tensors:
            assert tensor is not None and tensor.is_contiguous()
            assert tensor.untyped_storage().data_ptr() == buffer.untyped_storage().data_ptr()
            assert tensor.data_ptr() % 64 == 0
            places.append((tensor.data_ptr(), tensor.data_ptr() + 4 * tensor.numel()))
        assert all(end <= start for (_, end), (start, _) in pairwise(places))


def test_writing_the_buffer_changes_the_model() -> None:
    model = network()
    flat = flatten(model)
    with torch.no_grad():
        flat.fill_(0.5)
    assert all((parameter == 0.5).all() for parameter in model.parameters())


def test_backward_fills_the_buffer_s_gradient_and_one_zeroing_clears_it() -> None:
    model, plain = network(), network()
    flat = flatten(model)
    images = torch.randn(8, 13)
    for one in (model, plain):
        one(images).square().sum().backward()
    assert flat.grad is not None
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        assert ours.grad.untyped_storage().data_ptr() == flat.grad.untyped_storage().data_ptr()
        torch.testing.assert_close(ours.grad, theirs.grad)
    flat.grad.zero_()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_weights_that_layers_share_stay_shared() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    flat = flatten(nn.Sequential(first, second))
    assert second.weight is first.weight
    assert first.weight.untyped_storage().data_ptr() == flat.untyped_storage().data_ptr()
    assert len(flat) == 16 + 16 + 16, "one matrix, and two biases of 4 with their padding"


@pytest.mark.parametrize("name", FLAT)
def test_every_optimizer_of_conf_steps_as_torch_s_plain_one(name: str) -> None:
    run = composed(f"optimizer={name}", "lr=1e-2")
    arguments = dict(run.optimizer.arguments)
    if name == "scratch_sgd":
        assert_equal_steps(run, lambda p: torch.optim.SGD(p, lr=1e-2, foreach=False))
        return
    plain: Any = resolve("optimizer", run.optimizer)
    assert_equal_steps(run, lambda p: plain(p, **arguments, foreach=False))
    ours = build_optimizer(run, network())
    (group,) = ours.param_groups
    assert len(group["params"]) == 1 and group["params"][0].ndim == 1


@pytest.mark.parametrize("target", optimizer._ELEMENTWISE, ids=lambda cls: cls.__name__)
def test_every_class_that_gets_the_flat_buffer_works_element_by_element(
    target: type[Optimizer],
) -> None:
    run = chosen(f"torch.optim.{target.__name__}", lr=1e-2)
    plain: Any = target
    assert_equal_steps(run, lambda p: plain(p, lr=1e-2, foreach=False))


Rates = st.floats(1e-4, 0.1)
Decays = st.sampled_from([0.0, 1e-4, 0.1])
Arguments = st.one_of(
    st.tuples(
        st.just(torch.optim.SGD),
        st.fixed_dictionaries(
            {
                "lr": Rates,
                "momentum": st.floats(0.1, 0.99),
                "nesterov": st.booleans(),
                "weight_decay": Decays,
                "maximize": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.sampled_from([torch.optim.Adam, torch.optim.AdamW]),
        st.fixed_dictionaries(
            {
                "lr": Rates,
                "betas": st.lists(st.floats(0, 0.99), min_size=2, max_size=2),
                "eps": st.floats(1e-6, 1e-2),
                "weight_decay": Decays,
                "amsgrad": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just(torch.optim.RMSprop),
        st.fixed_dictionaries(
            {
                "lr": Rates,
                "alpha": st.floats(0.5, 1),
                "momentum": st.sampled_from([0, 0.5, 0.9]),
                "centered": st.booleans(),
                "eps": st.floats(1e-6, 1e-2),
                "weight_decay": Decays,
                "maximize": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just(torch.optim.Adagrad),
        st.fixed_dictionaries({"lr": Rates, "lr_decay": st.floats(0, 0.1)}),
    ),
)


@settings(max_examples=30, deadline=None)
@given(option=Arguments)
def test_whatever_the_arguments_the_flat_buffer_steps_as_torch_s_plain_optimizer(
    option: tuple[Any, dict[str, Any]],
) -> None:
    target, arguments = option
    run = chosen(f"torch.optim.{target.__name__}", **arguments)
    ours, theirs = network().double(), network().double()
    moves = build_optimizer(run, ours)
    plain = target(theirs.parameters(), **arguments, foreach=False)
    for model, moving in ((ours, moves), (theirs, plain)):
        for step in range(5):
            moving.zero_grad(set_to_none=False)
            model(torch.full((2, 13), 0.1 * step, dtype=torch.float64)).square().sum().backward()
            moving.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("arguments", [{"momentum": 0.9}, {"centered": True}, {"alpha": 1.0}])
def test_an_rmsprop_that_one_pass_does_not_compute_is_torch_s(arguments: dict[str, Any]) -> None:
    moves = build_optimizer(chosen("torch.optim.RMSprop", lr=0.1, **arguments), network())
    assert type(moves) is torch.optim.RMSprop


def test_one_pass_rmsprop_and_torch_s_continue_where_the_other_stopped() -> None:
    def carry_on(*kinds: type[torch.optim.RMSprop]) -> list[Tensor]:
        model, state = network(), None
        for kind in kinds:
            moves = kind(model.parameters(), lr=1e-2)
            if state is not None:
                moves.load_state_dict(state)
            advance(model, moves, steps=5)
            state = moves.state_dict()
        return [parameter.detach() for parameter in model.parameters()]

    expected = carry_on(torch.optim.RMSprop, torch.optim.RMSprop)
    for kinds in ((OnePassRMSprop, torch.optim.RMSprop), (torch.optim.RMSprop, OnePassRMSprop)):
        for one, other in zip(carry_on(*kinds), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_one_pass_rmsprop_evaluates_a_closure() -> None:
    moved, still = (nn.Parameter(torch.ones(2)) for _ in range(2))
    moved.grad = torch.tensor([1.0, 2.0])
    assert OnePassRMSprop([moved, still], lr=0.5).step(lambda: 3.0) == 3.0
    assert moved.tolist() != [1.0, 1.0] and still.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", FLAT)
def test_a_large_model_keeps_its_parameters_apart_and_learns_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = composed(f"optimizer={name}", "lr=1e-2")
    flat, apart = network(), network()
    advance(flat, build_optimizer(run, flat))
    monkeypatch.setattr("optsweep.optim.flat_buffer._FLAT_ON_CPU", 0)
    moves = build_optimizer(run, apart)
    assert [id(p) for p in moves.param_groups[0]["params"]] == [id(p) for p in apart.parameters()]
    advance(apart, moves)
    for one, other in zip(flat.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("steps", [0, 5])
def test_parameters_that_lie_apart_continue_from_the_state_of_a_buffer(
    name: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = composed(f"optimizer={name}", "lr=1e-2")
    flat, apart = network(), network(seed=1)
    ours = build_optimizer(run, flat)
    advance(flat, ours, steps)
    monkeypatch.setattr("optsweep.optim.flat_buffer._FLAT_ON_CPU", 0)
    apart.load_state_dict(flat.state_dict())
    theirs = build_optimizer(run, apart)
    load_state(theirs, deepcopy(ours.state_dict()))
    advance(flat, ours)
    advance(apart, theirs)
    for one, other in zip(flat.parameters(), apart.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_scratch_sgd_is_sgd() -> None:
    ours, theirs = network(), network()
    advance(ours, ScratchSGD(ours.parameters(), lr=0.1))
    advance(theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, foreach=False))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_scratch_sgd_evaluates_a_closure_and_passes_over_what_has_no_gradient() -> None:
    moved, still = (nn.Parameter(torch.ones(2)) for _ in range(2))
    moved.grad = torch.tensor([1.0, 2.0])
    assert ScratchSGD([moved, still], lr=0.5).step(lambda: 3.0) == 3.0
    assert moved.tolist() == [0.5, 0.0] and still.tolist() == [1.0, 1.0]


class Directed(Optimizer):
    """A person's own optimizer that looks at a parameter's shape: whole rows of equal length."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # takes no closure
        for group in self.param_groups:
            for parameter in group["params"]:
                assert parameter.ndim <= 2 and parameter.grad is not None
                norm = parameter.grad.norm(dim=-1, keepdim=True).clamp(min=1e-9)
                parameter.sub_(group["lr"] * parameter.grad / norm)


def test_an_optimizer_that_looks_at_shapes_gets_the_parameters_themselves() -> None:
    assert not is_elementwise(Directed)
    run, model = chosen("test_optimizers.Directed", lr=0.01), network()
    given = build_optimizer(run, model).param_groups[0]["params"]
    assert [id(p) for p in given] == [id(p) for p in model.parameters()]
    assert_equal_steps(run, lambda parameters: Directed(parameters, lr=0.01))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_gets_matrices_and_refuses_a_bias() -> None:
    run = chosen("torch.optim.Muon", lr=0.01)
    assert_equal_steps(run, lambda parameters: torch.optim.Muon(parameters, lr=0.01), bias=False)
    with pytest.raises(SettingsError, match="optimizer=own: Muon only supports 2D"):
        build_optimizer(run, network())


def test_a_class_of_one_s_own_gets_the_buffer_where_it_says_elementwise() -> None:
    assert is_elementwise(ScratchSGD)
    assert not is_elementwise(type("Own", (torch.optim.SGD,), {}))
    assert is_elementwise(type("Own", (torch.optim.SGD,), {"elementwise": True}))


@pytest.mark.parametrize("name", FLAT)
def test_the_fastest_form_that_torch_has_is_taken(name: str) -> None:
    run = composed(f"optimizer={name}")
    (group,) = build_optimizer(run, network()).param_groups
    if name in ("sgd", "momentum", "adam", "adamw", "adagrad"):
        assert group["fused"] is True and not group["foreach"]
    elif name == "rmsprop":
        assert type(build_optimizer(run, network())) is OnePassRMSprop
    elif name != "scratch_sgd":
        assert group["foreach"] is True
    else:
        assert not {"fused", "foreach"} & set(group)


@pytest.mark.parametrize(
    "arguments", [{"fused": False}, {"foreach": True}, {"foreach": False}, {"differentiable": True}]
)
def test_a_form_that_was_asked_for_is_respected(arguments: dict[str, bool]) -> None:
    run = chosen("torch.optim.Adam", lr=0.1, **arguments)
    (group,) = build_optimizer(run, network()).param_groups
    (form,) = arguments
    assert group[form] is arguments[form]
    assert not group["fused"]


@pytest.mark.parametrize("frozen", [True, False])
def test_what_is_frozen_or_of_another_dtype_keeps_the_parameters_apart(frozen: bool) -> None:
    model = network()
    weight = next(model.parameters())
    if frozen:
        weight.requires_grad_(False)
    else:
        model[2].double()
    before = weight.clone()
    given = build_optimizer(composed("optimizer=sgd"), model).param_groups[0]["params"]
    assert [p.shape for p in given] == [p.shape for p in model.parameters()]
    assert torch.equal(weight, before)


def nothing(params: Iterable[Tensor]) -> None:
    """Builds no optimizer."""


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("torch.optim.Adam", {"lr": 0.1, "betas": [0.9, 1.5]}, "optimizer=own: Invalid beta"),
        ("torch.optim.SGD", {"lr": -1.0}, "optimizer=own: Invalid learning rate: -1.0"),
        ("torch.optim.SGD", {"lr": 0.1, "momentum": -0.9}, "Invalid momentum value: -0.9"),
        ("torch.optim.SGD", {"lr": 0.1, "nesterov": True}, "Nesterov momentum requires"),
        ("torch.optim.RMSprop", {"lr": 0.1, "alpha": -1}, "Invalid alpha value"),
        ("torch.optim.SGD", {"momentun": 0.9}, r"optimizer.momentun: .* mean optimizer.momentum\?"),
        ("torch.optim.SGDD", {}, "cannot be imported"),
        ("test_optimizers.nothing", {}, "must be a torch.optim.Optimizer"),
        ("torch.optim.LBFGS", {"lr": 0.1}, "evaluates the loss by itself"),
        ("torch.optim.SparseAdam", {"lr": 0.1, "rate": 1}, "takes no such argument"),
        ("test_optimizers.Directed", {}, "missing a required argument: 'lr'"),
    ],
)
def test_an_optimizer_that_cannot_be_built_is_refused(
    target: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        build_optimizer(chosen(target, **arguments), network())


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(SettingsError, match="model=mlp has no parameters"):
        build_optimizer(composed(), nn.Flatten())
