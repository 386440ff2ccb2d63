"""Perceptrons written out give what each model gives alone, forward and backward."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from optsweep.models.architectures import MLP, Softmax
from optsweep.models.losses import cross_entropy
from optsweep.training.stacked_model import StackedModel

SHARED = nn.ReLU()


@settings(max_examples=25, deadline=None)
@given(
    hidden=st.lists(st.integers(1, 9), max_size=3),
    runs=st.integers(1, 4),
    samples=st.integers(1, 6),
    classes=st.integers(2, 5),
    own=st.booleans(),
)
def test_outputs_and_gradients_are_those_of_each_model(
    hidden: list[int], runs: int, samples: int, classes: int, own: bool
) -> None:
    torch.manual_seed(0)
    models = [MLP((1, 3, 4), classes, hidden).double() for _ in range(runs)]
    stacked = StackedModel(models)
    images = torch.randn(*([runs] * own), samples, 1, 3, 4, dtype=torch.float64)
    labels = torch.randint(classes, (samples,))
    for _ in range(2):  # the second time in the place of the first
        outputs = stacked(images)
        assert stacked.overwrites_gradients
        cross_entropy(outputs, labels.expand(runs, -1)).sum().backward()
    for run, model in enumerate(models):
        alone = model(images[run] if own else images)
        torch.testing.assert_close(outputs[run], alone)
        cross_entropy(alone, labels).sum().backward()
        for one, other in zip(stacked.parameters_of(run), model.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize(
    "model",
    [
        Softmax((1, 2, 2), 3),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Linear(5, 3)),
        nn.Sequential(
            nn.Flatten(), nn.Linear(4, 5), SHARED, nn.Linear(5, 4), SHARED, nn.Linear(4, 3)
        ),
    ],
    ids=["softmax", "linear", "one relu twice"],
)
def test_what_is_written_out(model: nn.Module) -> None:
    stacked = StackedModel([model, copy.deepcopy(model)])
    images = torch.rand(2, 1, 2, 2)
    torch.testing.assert_close(stacked(images)[1], model(images))
    assert stacked.overwrites_gradients


class Doubled(MLP):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        doubled: torch.Tensor = super().forward(2 * images)  # type: ignore[no-untyped-call]  # nn.Sequential's
        return doubled


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(4, 3)),
        nn.Sequential(nn.Flatten(2), nn.Flatten(), nn.Linear(4, 3)),
        Doubled((1, 2, 2), 3, [5]),
    ],
    ids=["tanh", "no bias", "relu last", "convolution", "part", "own forward"],
)
def test_any_other_model_is_read_by_vmap(model: nn.Module) -> None:
    stacked = StackedModel([model, copy.deepcopy(model)])
    images = torch.rand(2, 1, 2, 2)
    torch.testing.assert_close(stacked(images)[1], model(images))
    assert not stacked.overwrites_gradients
