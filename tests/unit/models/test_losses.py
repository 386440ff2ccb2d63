"""Losses are torch's, one for each sample, whether one run asks or many at once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from optsweep.config.settings import Option
from optsweep.errors import SettingsError
from optsweep.models import losses as loss
from support.config import composed

ON_LOGITS = ["cross_entropy", "nll", "mse"]
EVERY = [*ON_LOGITS, "scratch_cross_entropy"]


def built(name: str, **arguments: Any) -> loss.Loss:
    model = "scratch_softmax" if name == "scratch_cross_entropy" else "softmax"
    chosen = composed(f"loss={name}", f"model={model}")
    option = replace(chosen.loss, arguments={**chosen.loss.arguments, **arguments})
    return loss.build_loss(replace(chosen, loss=option), classes=10)


def batch(*shape: int, classes: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Outputs `[*shape, classes]` that are probabilities and so may be taken for logits too."""
    random = torch.Generator().manual_seed(seed)
    outputs = torch.randn(*shape, classes, generator=random).softmax(-1)
    labels = torch.randint(classes, shape, generator=random)
    return outputs.requires_grad_(), labels


def by_torch(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The same loss by torch.nn's modules, each with its own mean."""
    if name == "cross_entropy":
        return nn.CrossEntropyLoss()
    if name == "nll":
        return lambda outputs, labels: nn.NLLLoss()(nn.LogSoftmax(dim=1)(outputs), labels)
    if name == "mse":
        return lambda outputs, labels: nn.MSELoss()(
            outputs, functional.one_hot(labels, outputs.shape[1]).float()
        )
    return lambda outputs, labels: nn.NLLLoss()(outputs.log(), labels)


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=20, deadline=None)
@given(samples=st.integers(1, 40), classes=st.integers(2, 12), seed=st.integers(0, 99))
def test_the_mean_over_samples_and_its_gradient_are_torch_s(
    name: str, samples: int, classes: int, seed: int
) -> None:
    outputs, labels = batch(samples, classes=classes, seed=seed)
    losses = built(name)(outputs, labels)
    assert losses.shape == (samples,) and losses.dtype == torch.float32
    expected = by_torch(name)(outputs, labels)
    torch.testing.assert_close(losses.mean(), expected)
    ours, theirs = (torch.autograd.grad(value, outputs)[0] for value in (losses.mean(), expected))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("runs", [1, 2, 5])
def test_many_runs_at_once_give_what_each_gives_alone(name: str, runs: int) -> None:
    outputs, labels = batch(runs, 13)
    function = built(name)
    together = function(outputs, labels)
    assert together.shape == (runs, 13)
    alone = torch.stack([function(outputs[k], labels[k]) for k in range(runs)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)
    ours, theirs = (
        torch.autograd.grad(losses.mean(dim=-1).sum(), outputs, retain_graph=True)[0]
        for losses in (together, alone)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_labels_may_be_shared_by_all_runs_without_a_copy(name: str) -> None:
    outputs, _ = batch(3, 7)
    labels = torch.arange(7)
    shared = built(name)(outputs, labels.expand(3, 7))
    assert torch.equal(shared, built(name)(outputs, labels.repeat(3, 1)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_is_torch_s(smoothing: float) -> None:
    outputs, labels = batch(20)
    expected = nn.CrossEntropyLoss(label_smoothing=smoothing)(outputs, labels)
    smoothed = built("cross_entropy", label_smoothing=smoothing)(outputs, labels)
    torch.testing.assert_close(smoothed.mean(), expected)


def test_softmax_s_loss_equals_the_one_written_out_on_its_probabilities() -> None:
    logits, labels = torch.randn(30, 10), torch.arange(30) % 10
    written_out = built("scratch_cross_entropy")(logits.softmax(1), labels)
    torch.testing.assert_close(built("cross_entropy")(logits, labels), written_out)
    torch.testing.assert_close(built("nll")(logits, labels), written_out)


def test_large_logits_overflow_in_the_textbook_s_form_alone() -> None:
    logits, labels = torch.tensor([[1000.0, 0.0]]), torch.tensor([1])
    assert built("cross_entropy")(logits, labels) == 1000
    assert built("scratch_cross_entropy")(logits.softmax(1), labels).isinf()


@pytest.mark.parametrize(
    ("model", "name", "message"),
    [
        (
            "scratch_softmax",
            "cross_entropy",
            r"loss=cross_entropy takes logits, but model=scratch_softmax gives probabilities; "
            r"type loss=scratch_cross_entropy \(allowed: scratch_cross_entropy, mse\)",
        ),
        (
            "softmax",
            "scratch_cross_entropy",
            r"loss=scratch_cross_entropy takes probabilities, but model=softmax gives logits; "
            r"type loss=cross_entropy \(allowed: cross_entropy, nll, mse\)",
        ),
        ("scratch_softmax", "nll", "type loss=scratch_cross_entropy"),
        ("resnet18", "scratch_cross_entropy", "type loss=cross_entropy"),
    ],
)
def test_a_loss_that_does_not_speak_of_the_model_s_outputs_is_refused(
    model: str, name: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        loss.build_loss(composed(f"model={model}", f"loss={name}"))


@pytest.mark.parametrize("model", ["softmax", "scratch_softmax"])
def test_mean_squared_error_takes_logits_and_probabilities(model: str) -> None:
    outputs, labels = batch(4)
    assert loss.build_loss(composed(f"model={model}", "loss=mse"))(outputs, labels).shape == (4,)


def mean_alone(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, labels)


def weighted(outputs: Tensor, labels: Tensor, weights: list[float]) -> Tensor:
    return functional.cross_entropy(outputs, labels, torch.tensor(weights), reduction="none")


def own(target: str, **arguments: Any) -> loss.Loss:
    option = Option("own", target, arguments)
    return loss.build_loss(replace(composed(), loss=option), classes=10)


def test_a_function_of_one_s_own_is_a_loss() -> None:
    outputs, labels = batch(6)
    assert own("test_losses.weighted", weights=[2.0] * 10)(outputs, labels).shape == (6,)
    by_torch = own("torch.nn.functional.cross_entropy", reduction="none")
    assert torch.equal(by_torch(outputs, labels), built("cross_entropy")(outputs, labels))


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        ("test_losses.mean_alone", {}, r"gives \[\] for 2 samples; needed is \[2\]"),
        ("torch.nn.functional.cross_entropy", {}, r"reduction: none"),
        ("torch.nn.CrossEntropyLoss", {}, "loss=own: torch.nn.CrossEntropyLoss"),
        ("test_losses.weighted", {"weights": [1.0]}, "loss=own: test_losses.weighted fails"),
        (
            "optsweep.models.cross_entropy",
            {"label_smoothing": 1.5},
            "label_smoothing must be",
        ),
        ("optsweep.models.cross_entropy", {"label_smoothing": "much"}, "fails"),
        ("optsweep.models.cross_entropy", {"smoothing": 0.1}, "mean loss.label_smoothing?"),
    ],
)
def test_a_loss_that_cannot_work_is_refused_before_the_first_batch(
    target: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        own(target, **arguments)
