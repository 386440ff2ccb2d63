"""Models fit themselves to the images, start from the seed alone, and refuse what cannot work."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from optsweep.config.settings import Option
from optsweep.errors import SettingsError
from optsweep.models.architectures import CNN, MLP, ScratchSoftmax, Softmax
from optsweep.models.build import build_model, gives, weigh
from support.config import composed

Shape = tuple[int, int, int]
DIGITS, FASHION, CIFAR = (1, 8, 8), (1, 28, 28), (3, 32, 32)


def built(name: str, shape: Shape, classes: int = 10, **arguments: Any) -> nn.Module:
    option = composed(f"model={name}").model
    changed = replace(option, arguments={**option.arguments, **arguments})
    return build_model(replace(composed(), model=changed), shape, classes)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("softmax", DIGITS, 650),
        ("softmax", FASHION, 7_850),
        ("softmax", CIFAR, 30_730),
        ("scratch_softmax", DIGITS, 650),
        ("scratch_softmax", FASHION, 7_850),
        ("scratch_softmax", CIFAR, 30_730),
        ("mlp", DIGITS, 301_066),
        pytest.param("mlp", FASHION, 669_706, id="mlp-of-pytorch's-tutorial"),
        ("mlp", CIFAR, 1_841_162),
        ("cnn", FASHION, 85_822),
        ("cnn", CIFAR, 121_182),
        ("resnet18", DIGITS, 11_172_810),
        ("resnet18", FASHION, 11_172_810),
        pytest.param("resnet18", CIFAR, 11_173_962, id="resnet18-as-published-for-cifar10"),
    ],
)
def test_a_model_fits_itself_to_the_images(name: str, shape: Shape, parameters: int) -> None:
    model = built(name, shape)
    assert count(model) == parameters
    assert model.training
    outputs = model(torch.rand(4, *shape))
    assert outputs.shape == (4, 10) and outputs.dtype == torch.float32


@pytest.mark.parametrize("name", ["softmax", "scratch_softmax", "mlp", "resnet18"])
def test_the_number_of_classes_is_the_dataset_s(name: str) -> None:
    assert built(name, (3, 5, 7), classes=3)(torch.rand(2, 3, 5, 7)).shape == (2, 3)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(16, 64), width=st.integers(16, 64), channels=st.integers(1, 4))
def test_the_cnn_takes_every_size_from_16_pixels(height: int, width: int, channels: int) -> None:
    model = CNN((channels, height, width), 4)
    assert model(torch.rand(2, channels, height, width)).shape == (2, 4)


def test_the_cnn_flattens_32_channels_of_5x5_on_cifar10() -> None:
    linear = [layer for layer in built("cnn", CIFAR).modules() if isinstance(layer, nn.Linear)]
    sizes = [(layer.in_features, layer.out_features) for layer in linear]
    assert sizes == [(32 * 5 * 5, 120), (120, 84), (84, 10)]


@pytest.mark.parametrize("activation", ["relu", "none"])
def test_the_cnn_is_linear_but_for_its_pooling_without_activations(activation: str) -> None:
    kinds = [type(layer) for layer in CNN(CIFAR, 10, activation)]
    assert kinds.count(nn.ReLU) == (4 if activation == "relu" else 0)
    assert [kind for kind in kinds if kind is not nn.ReLU] == [
        *[nn.Conv2d, nn.MaxPool2d] * 2,
        *[nn.Flatten, nn.Linear, nn.Linear, nn.Linear],
    ]


@pytest.mark.parametrize("shape", [DIGITS, (1, 15, 28), (3, 32, 15)])
def test_the_cnn_refuses_small_images_and_says_what_fits(shape: Shape) -> None:
    with pytest.raises(SettingsError, match=r"model=cnn: .*16x16.*dataset.resize=32.*softmax, mlp"):
        built("cnn", shape)


@settings(max_examples=25, deadline=None)
@given(hidden=st.lists(st.integers(1, 40), max_size=4))
def test_an_mlp_has_the_layers_that_were_asked_for(hidden: list[int]) -> None:
    model = MLP((1, 4, 4), 3, hidden)
    sizes = [layer.out_features for layer in model if isinstance(layer, nn.Linear)]
    assert sizes == [*hidden, 3]
    assert sum(isinstance(layer, nn.ReLU) for layer in model) == len(hidden)
    assert isinstance(model[-1], nn.Linear)


@pytest.mark.parametrize("hidden", [512, "512", [0], [-1], [1.5], [True], [None], None])
def test_an_mlp_refuses_what_is_no_list_of_sizes(hidden: Any) -> None:
    with pytest.raises(SettingsError, match=r"model=mlp: hidden=.*'model.hidden=\[512,512\]'"):
        built("mlp", DIGITS, hidden=hidden)


def test_an_activation_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="activation=tanh: must be relu or none"):
        built("cnn", CIFAR, activation="tanh")


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 3), DIGITS, FASHION, CIFAR])
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_softmax_by_torch_and_written_out_start_alike(shape: Shape, seed: int) -> None:
    start = replace(composed(), seed=seed)
    torch_s, scratch = (
        build_model(replace(start, model=composed(f"model={name}").model), shape, 10)
        for name in ("softmax", "scratch_softmax")
    )
    assert isinstance(torch_s, Softmax) and isinstance(scratch, ScratchSoftmax)
    assert torch.equal(torch_s.linear.weight, scratch.weight.t())
    assert torch.equal(torch_s.linear.bias, scratch.bias)
    images = torch.rand(16, *shape)
    torch.testing.assert_close(torch_s(images).softmax(dim=1), scratch(images))


def test_softmax_starts_from_small_normal_weights_and_no_bias() -> None:
    model = built("softmax", CIFAR)
    assert isinstance(model, Softmax)
    weights = model.linear.weight
    assert abs(weights.mean()) < 3e-4 and weights.std().item() == pytest.approx(0.01, rel=0.02)
    assert not model.linear.bias.any()


def test_the_scratch_model_is_written_out() -> None:
    model = built("scratch_softmax", DIGITS)
    assert list(model.children()) == []
    assert [name for name, _ in model.named_parameters()] == ["weight", "bias"]
    assert all(parameter.is_contiguous() for parameter in model.parameters())
    probabilities = model(torch.rand(7, *DIGITS))
    assert (probabilities > 0).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(7))


def test_only_the_scratch_model_gives_probabilities() -> None:
    given = {name: gives(composed(f"model={name}").model) for name in ("softmax", "mlp", "cnn")}
    assert given == dict.fromkeys(given, "logits")
    assert gives(composed("model=scratch_softmax", "loss=mse").model) == "probabilities"


@pytest.mark.parametrize("name", ["softmax", "scratch_softmax", "mlp", "cnn", "resnet18"])
def test_initial_weights_depend_on_the_seed_alone(name: str) -> None:
    option = composed(f"model={name}", "loss=mse").model
    base = replace(composed(), model=option)
    first = build_model(base, CIFAR, 10).state_dict()
    torch.manual_seed(123)
    others = replace(base, lr=9.0, batch_size=1, optimizer=Option("adam", "torch.optim.Adam", {}))
    again = build_model(others, CIFAR, 10).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other_seed = build_model(replace(base, seed=1), CIFAR, 10).state_dict()
    assert not all(torch.equal(first[key], other_seed[key]) for key in first)


def test_building_leaves_the_process_s_random_numbers_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state(legacy=False))
    built("mlp", DIGITS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state(legacy=False))) == before[1:]


def test_weighing_counts_parameters_and_buffers() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5))
    assert weigh(model) == 4 * (20 + 10 + 10) + 8  # the count of batches is an int64


class Own(nn.Module):
    """A person's own model, as conf/model/ would name it."""

    def __init__(
        self,
        input_shape: Shape,
        classes: int,
        *,
        shape: Callable[[Tensor], Tensor] | None = None,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, classes, 1)
        self.norm = nn.BatchNorm2d(classes)
        self.shape = shape

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.norm(self.convolution(images))
        return features.mean((2, 3)) if self.shape is None else self.shape(features)


def own(target: str = "test_architectures.Own", **arguments: Any) -> nn.Module:
    return build_model(replace(composed(), model=Option("own", target, arguments)), DIGITS, 10)


def test_a_class_of_one_s_own_is_a_model_and_trying_it_changes_nothing() -> None:
    model = own()
    assert isinstance(model, Own) and model.training
    assert model.norm.num_batches_tracked == 0
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"channels": 3}, r"cannot take digits's images of 1x8x8 pixels", id="input"),
        pytest.param(
            {"shape": lambda features: features}, r"outputs \[2, 10, 8, 8\]", id="four-dimensions"
        ),
        pytest.param(
            {"shape": lambda features: features[:, :9].mean((2, 3))},
            r"gives outputs \[2, 9\] for 2 of digits's images; needed are \[2, 10\]",
            id="too-few-classes",
        ),
        pytest.param({"depth": 3}, r"model.depth: .* takes no such argument", id="unknown"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        own(**arguments)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("test_architectures.Nothing", "cannot be imported"),
        ("nowhere.Model", "cannot be imported"),
        ("test_architectures.DIGITS", "cannot be called"),
        ("test_architectures.count_of", "must build a torch.nn.Module"),
    ],
)
def test_a_target_that_builds_no_model_is_refused(target: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        own(target)


def count_of(input_shape: Shape, classes: int) -> int:
    return len(input_shape) * classes
