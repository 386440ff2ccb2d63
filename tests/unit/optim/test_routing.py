"""Parameters go to the optimizer that is meant for them, and parts move as one."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import Optimizer

from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.models.build import build_model
from optsweep.optim.optimizers import build_optimizer, build_stacked_optimizer
from optsweep.optim.routing import Routed, set_mode, traits_of
from optsweep.optim.schedules import build_schedule
from optsweep.training.stacked_model import StackedModel
from support.config import composed


class Net(nn.Module):
    """Convolutions, matrices, biases and normalisations; forward is that of a small classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 3, 3)
        self.middle = nn.Conv2d(3, 4, 3)
        self.norm = nn.GroupNorm(1, 4)  # a batch norm would leave biases a gradient of nothing
        self.inner = nn.Linear(64, 6)
        self.plane = nn.LayerNorm([1, 6])
        self.head = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(self.middle(self.stem(images))).flatten(1)
        hidden = self.plane(self.inner(hidden)[:, None])[:, 0]
        outputs: torch.Tensor = self.head(hidden.relu())
        return outputs


def advance(model: nn.Module, optimizers: Iterable[Optimizer], clip: float | None = None) -> None:
    """Ten steps, as the tutorial's loop takes them."""
    random = torch.Generator().manual_seed(1)
    optimizers = list(optimizers)
    for each in optimizers:
        set_mode(each, training=True)
    for _ in range(10):
        images = torch.randn(8, 1, 8, 8, generator=random)
        labels = torch.randint(3, (8,), generator=random)
        # In place, as views of gradients need it, and as it makes no difference to the others.
        for own in model.parameters():
            if own.grad is not None:
                own.grad.zero_()
        functional.cross_entropy(model(images), labels).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        for each in optimizers:
            each.step()
    for each in optimizers:
        set_mode(each, training=False)


def assert_same(one: nn.Module, other: nn.Module, start: nn.Module | None = None) -> None:
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert start is None or not torch.equal(ours, start.get_parameter(name)), name
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6, msg=name)


def routed(*words: str | list[str], **more: Any) -> Settings:
    """Parts p0, p1, ... of SGD with rates 1, 2, ..., which take the words."""
    parts = {
        f"p{number}": {"_target_": "torch.optim.SGD", "_takes_": word, "lr": number + 1.0, **more}
        for number, word in enumerate(words)
    }
    return replace(composed(), optimizer=Option("own", "optsweep.optim.Routed", parts))


def names_taken(settings: Settings, model: nn.Module) -> list[set[str]]:
    moves = build_optimizer(settings, model)
    names = {id(own): name for name, own in model.named_parameters()}
    return [{names[id(own)] for own in group["params"]} for group in moves.param_groups]


ALL = {name for name, _ in Net().named_parameters()}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("weights", {"stem.weight", "middle.weight", "inner.weight", "head.weight"}),
        ("matrices", {"inner.weight", "head.weight"}),
        ("convolutions", {"stem.weight", "middle.weight"}),
        ("biases", {"stem.bias", "middle.bias", "inner.bias", "head.bias"}),
        ("norms", {"norm.weight", "norm.bias", "plane.weight", "plane.bias"}),
        ("first", {"stem.weight", "stem.bias"}),
        ("last", {"head.weight", "head.bias"}),
        ("hidden", {"middle.weight", "inner.weight"}),
        (["hidden", "matrices"], {"inner.weight"}),
        ("inner.*", {"inner.weight", "inner.bias"}),
        (["*.bias", "norms"], {"norm.bias", "plane.bias"}),
        ("rest", ALL),
    ],
)
def test_words_name_parameters_by_shape_layer_and_name(
    word: str | list[str], expected: set[str]
) -> None:
    taken = names_taken(routed(word, "rest"), Net())
    assert taken[0] == expected
    assert set().union(*taken) == ALL and sum(map(len, taken)) == len(ALL)


def test_a_parameter_goes_to_the_first_part_that_takes_it() -> None:
    taken = names_taken(routed("last", "matrices", "rest"), Net())
    assert taken[:2] == [{"head.weight", "head.bias"}, {"inner.weight"}]


def test_what_is_frozen_is_given_to_no_part() -> None:
    model = Net()
    model.inner.weight.requires_grad_(False)
    assert not any("inner.weight" in taken for taken in names_taken(routed("rest"), model))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "optimizer=own has no parts"),
        ({"a": 1}, "optimizer.a=1: a part needs optimizer.a._target_"),
        ({"a": {"_takes_": "rest"}}, "a part needs optimizer.a._target_"),
        ({"a": {"_target_": "torch.optim.SGD"}}, "optimizer.a lacks _takes_"),
        ({"a": {"_target_": "torch.optim.SGD", "_takes_": "hiden"}}, "_takes_=hidden"),
        ({"a": {"_target_": "torch.optim.SGD", "_takes_": "weights"}}, "no part takes stem.bias"),
        ({"a": {"_target_": "torch.optim.SGD", "_takes_": "x.*"}}, "no part takes stem.weight"),
        (
            {
                "a": {"_target_": "torch.optim.SGD", "_takes_": "x.*"},
                "b": {"_target_": "torch.optim.SGD", "_takes_": "rest"},
            },
            "has nothing for torch.optim.SGD, which takes x",
        ),
        (
            {"a": {"_target_": "torch.optim.SGD", "_takes_": "rest", "momentun": 1}},
            "did you mean optimizer.a.momentum",
        ),
        (
            {"a": {"_target_": "torch.optim.Muon", "_takes_": "rest"}},
            "optimizer.a=Muon: Muon only supports 2D",
        ),
        (
            {"a": {"_target_": "torch.optim.LBFGS", "_takes_": "rest"}},
            "optimizer.a=LBFGS: torch.optim.LBFGS evaluates the loss by itself",
        ),
    ],
)
def test_parts_that_cannot_be_are_refused_in_one_line(parts: dict[str, Any], message: str) -> None:
    run = replace(composed(), optimizer=Option("own", "optsweep.optim.Routed", parts))
    with pytest.raises(SettingsError) as caught:
        build_optimizer(run, Net())
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_muon_is_refused_where_no_layer_is_hidden() -> None:
    run = composed("optimizer=muon", "model=softmax")
    with pytest.raises(SettingsError, match=r"type another model, or optimizer.hidden._takes_="):
        build_optimizer(run, build_model(run, (1, 4, 4), 3))


def test_muon_takes_ten_steps_as_its_authors_write_them() -> None:
    """As on github.com/KellerJordan/Muon: hidden weights by Muon, filters flattened, else AdamW."""
    ours, theirs = Net(), Net()
    advance(ours, [build_optimizer(composed("optimizer=muon", "lr=0.02"), ours)])
    hidden = [theirs.middle.weight, theirs.inner.weight]
    others = [own for own in theirs.parameters() if all(own is not each for each in hidden)]
    flat = nn.Parameter(theirs.middle.weight.data.view(4, -1))

    class Flattened(torch.optim.Muon):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]  # torch types two cases
            assert theirs.middle.weight.grad is not None
            flat.grad = theirs.middle.weight.grad.view(4, -1)
            super().step()  # type: ignore[no-untyped-call]  # torch's own

    muon = Flattened([flat, theirs.inner.weight], lr=0.02, momentum=0.95, weight_decay=0.01)
    adamw = torch.optim.AdamW(others, lr=3e-4, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.01)
    advance(theirs, [muon, adamw])
    assert_same(ours, theirs, start=Net())


def authors(name: str, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """What its authors' own page says to write, with the defaults."""
    import pytorch_optimizer
    import schedulefree

    made: Any = {
        "adafactor": torch.optim.Adafactor,
        "lion": pytorch_optimizer.Lion,
        "soap": pytorch_optimizer.SOAP,
        "schedule_free_sgd": schedulefree.SGDScheduleFree,
        "schedule_free_adamw": schedulefree.AdamWScheduleFree,
    }[name]
    optimizer: Optimizer = made(parameters, lr=1e-2)
    return optimizer


AUTHORS = ["adafactor", "lion", "soap", "schedule_free_sgd", "schedule_free_adamw"]


@pytest.mark.parametrize("name", AUTHORS)
def test_ten_steps_are_those_of_its_authors_loop(name: str) -> None:
    ours, theirs = Net(), Net()
    advance(ours, [build_optimizer(composed(f"optimizer={name}", "lr=1e-2"), ours)])
    advance(theirs, [authors(name, theirs.parameters())])
    assert_same(ours, theirs, start=Net())


@pytest.mark.long
@pytest.mark.parametrize("name", [*AUTHORS, "muon", "adamw"])
@pytest.mark.parametrize("no_decay", [False, True])
def test_in_a_stack_each_run_steps_as_it_does_alone(name: str, no_decay: bool) -> None:
    """On the same gradients: what differs in a stack is how they are summed."""
    run = composed(f"optimizer={name}", "lr=1e-3", f"no_decay={no_decay}", "clip_norm=2.0")
    alone = [Net(), Net()]
    stacked = StackedModel([Net(), Net()])
    singles = [build_optimizer(run, each) for each in alone]
    rows = [
        build_stacked_optimizer(run, stacked.row(k), stacked.parameters_of(k), traits_of(alone[0]))
        for k in range(2)
    ]
    for each in (*singles, *rows):
        set_mode(each, training=True)
    random = torch.Generator().manual_seed(0)
    for _ in range(5):
        for k in range(2):
            for own, leaf in zip(alone[k].parameters(), stacked.parameters_of(k), strict=True):
                gradient = torch.randn(own.shape, generator=random)
                own.grad = gradient if own.grad is None else own.grad.copy_(gradient)
                assert leaf.grad is not None
                leaf.grad.copy_(gradient)
            singles[k].step()
            rows[k].step()
    for each in (*singles, *rows):
        set_mode(each, training=False)
    for k in range(2):
        for (name_, own), leaf in zip(
            alone[k].named_parameters(), stacked.parameters_of(k), strict=True
        ):
            torch.testing.assert_close(leaf, own, rtol=0, atol=2e-6, msg=name_)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "step", "constant"])
def test_a_schedule_keeps_the_ratio_of_the_parts_rates(schedule: str) -> None:
    run = composed(f"schedule={schedule}", "optimizer=muon", "lr=0.02", "epochs=4")
    alone = composed(f"schedule={schedule}", "optimizer=sgd", "lr=0.02", "epochs=4")
    moves, plain = build_optimizer(run, Net()), build_optimizer(alone, nn.Linear(2, 2))
    ours = build_schedule(run, moves, steps_per_epoch=2)
    theirs = build_schedule(alone, plain, steps_per_epoch=2)
    assert ours.by_batch == theirs.by_batch
    for _ in range(4 * (2 if ours.by_batch else 1)):
        hidden, others = moves.param_groups
        assert hidden["lr"] == plain.param_groups[0]["lr"]
        assert others["lr"] == pytest.approx(hidden["lr"] * 3e-4 / 0.02, rel=1e-12)
        for each, schedule_ in ((moves, ours), (plain, theirs)):
            each.step()
            schedule_.scheduler.step()


@pytest.mark.parametrize("name", ["sgd", "adam", "muon", "schedule_free_adamw"])
def test_clip_norm_is_torch_s_before_each_step(name: str) -> None:
    ours, theirs, free = Net(), Net(), Net()
    advance(ours, [build_optimizer(composed(f"optimizer={name}", "lr=0.1", "clip_norm=0.5"), ours)])
    plain = composed(f"optimizer={name}", "lr=0.1")
    advance(theirs, [build_optimizer(plain, theirs)], clip=0.5)
    advance(free, [build_optimizer(plain, free)])
    assert_same(ours, theirs)
    if name == "sgd":
        assert not torch.allclose(ours.head.weight, free.head.weight, atol=1e-3)


def test_a_clipped_optimizer_goes_with_a_schedule() -> None:
    run = composed("optimizer=sgd", "clip_norm=1", "schedule=step", "lr=1.0", "epochs=6")
    model = nn.Linear(2, 2)
    moves = build_optimizer(run, model)
    built = build_schedule(run, moves, 1)
    before = model.weight.detach().clone()
    model(torch.ones(1, 2)).sum().backward()
    moves.step()
    built.scheduler.step()
    moved = [own.grad.norm().item() for own in model.parameters() if own.grad is not None]
    assert sum(norm**2 for norm in moved) == pytest.approx(1, rel=1e-4)
    assert not torch.equal(before, model.weight)


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_no_decay_spares_biases_and_norms(name: str) -> None:
    decay = {
        "muon": ["optimizer.hidden.weight_decay=0.5", "optimizer.others.weight_decay=0.5"]
    }.get(name, ["optimizer.weight_decay=0.5"])
    model, start = Net(), Net()
    run = composed(f"optimizer={name}", "lr=0.1", "no_decay=true", *decay)
    moves = build_optimizer(run, model)
    for own in model.parameters():
        own.grad = torch.zeros_like(own) if own.grad is None else own.grad
    moves.step()
    for traits, own, old in zip(
        traits_of(model), model.parameters(), start.parameters(), strict=True
    ):
        assert torch.equal(own, old) is not traits.decays, traits.name


def test_no_decay_leaves_the_flat_buffer_to_what_does_not_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    run = composed("optimizer=adam", "no_decay=true")
    (group,) = build_optimizer(run, model).param_groups
    assert len(group["params"]) == 1 and group["params"][0].ndim == 1


def test_a_part_may_have_hooks_of_its_own() -> None:
    run = routed("hidden", "rest")
    parts = dict(run.optimizer.arguments)
    parts["p0"] = {"_target_": "schedulefree.SGDScheduleFree", "_takes_": "hidden", "lr": 0.1}
    run = replace(run, optimizer=replace(run.optimizer, arguments=parts))
    model = Net()
    moves = build_optimizer(run, model)
    assert isinstance(moves, Routed)
    advance(model, [moves])
    trained = model.inner.weight.detach().clone()
    set_mode(moves, training=True)
    assert not torch.equal(trained, model.inner.weight)
    set_mode(moves, training=False)
    torch.testing.assert_close(trained, model.inner.weight)
