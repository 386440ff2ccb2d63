"""Convolutions by another layout or kernel give what they gave, and nobody's model breaks."""

import copy
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from optsweep.config.settings import Settings
from optsweep.data.dataset import Dataset
from optsweep.data.splits import Split
from optsweep.models.architectures import CNN, MLP, resnet18
from optsweep.models.trained_model import ModelSpec, save
from optsweep.runs.build import build_run
from optsweep.training import checkpoint
from optsweep.training.convolutions import PLAIN, Convolutions, convolutions_of
from optsweep.training.evaluation import classified_right
from optsweep.training.stack import Stack
from support.settings import plain
from support.training import run

SHAPE = (3, 16, 16)  # the smallest pictures that the cnn takes
CPU = torch.device("cpu")


def asked(*overrides: str) -> Settings:
    return Settings.from_config(*plain("model=cnn", "device=cpu", "optimizer=adam", *overrides))


def pictures(count: int = 160) -> Dataset:
    random = torch.Generator().manual_seed(0)

    def split(size: int) -> Split:
        images = torch.randint(0, 256, (size, *SHAPE), generator=random, dtype=torch.uint8)
        return Split(images, images.flatten(1).float().mean(1).gt(127.5).long())

    return Dataset("made up", split(count), split(40), split(80), ("dark", "bright"), 255, "0")


def built(*overrides: str) -> Stack:
    return build_run(asked(*overrides), pictures(), CPU)


def rule(network: nn.Module, *overrides: str) -> Convolutions:
    return convolutions_of(asked(*overrides), network, SHAPE)


class Viewing(nn.Module):
    """A network of somebody's own that is written for images plane by plane."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 2)

    def forward(self, images: Tensor) -> Any:
        return self.linear(self.convolution(images).view(len(images), -1))


class ByMemory(Viewing):
    """One that takes memory as it lies: another layout raises nothing and gives something else."""

    def forward(self, images: Tensor) -> Any:
        lying = self.convolution(images)
        return self.linear(lying.as_strided((len(images), 4 * 14 * 14), (4 * 14 * 14, 1)))


class ViewingGradients(torch.autograd.Function):
    """The identity, whose way back is written for gradients plane by plane."""

    @staticmethod
    def forward(ctx: Any, given: Tensor) -> Any:
        return given.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient.view(len(gradient), -1).view(gradient.shape)


class ViewingBack(Viewing):
    """One that fails on its way back alone."""

    def forward(self, images: Tensor) -> Any:
        given: Any = ViewingGradients.apply(self.convolution(images))
        return self.linear(nn.functional.relu(given).flatten(1))


class WhileTraining(Viewing):
    """One that is written for images plane by plane where it is trained."""

    def forward(self, images: Tensor) -> Any:
        outputs = self.convolution(images)
        flat = outputs.view(len(images), -1) if self.training else outputs.flatten(1)
        return self.linear(flat)


def test_the_layout_goes_by_the_model_the_device_and_the_pixels_of_a_batch() -> None:
    assert rule(CNN(SHAPE, 2)) == Convolutions(channels_last=True)
    assert rule(resnet18(SHAPE, 2)) == Convolutions(channels_last=True)
    assert rule(MLP(SHAPE, 2)) == PLAIN
    on_gpu = replace(asked(), device="cuda")
    assert convolutions_of(on_gpu, CNN(SHAPE, 2), SHAPE) == PLAIN
    large = Convolutions(channels_last=True).laid_out(torch.rand(64, *SHAPE))
    assert large.is_contiguous(memory_format=torch.channels_last)
    assert Convolutions(channels_last=True).laid_out(torch.rand(63, *SHAPE)).is_contiguous()
    assert PLAIN.laid_out(torch.rand(64, *SHAPE)).is_contiguous()


@pytest.mark.parametrize(
    ("overrides", "groups", "own"),
    [
        (("batch_size=4",), 1, True),
        (("batch_size=5",), 1, False),
        (("batch_size=4", "precision=bf16"), 1, False),
        (("batch_size=4",), 3, False),
    ],
)
def test_torchs_own_kernel_is_for_small_batches_of_plain_layers(
    overrides: tuple[str, ...], groups: int, own: bool
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3, groups=groups), nn.Flatten(), nn.LazyLinear(2))
    network(torch.rand(2, *SHAPE))
    assert rule(network, *overrides).own_kernel is own


@pytest.mark.parametrize("kind", [Viewing, ByMemory, ViewingBack, WhileTraining])
def test_a_model_that_is_written_for_planes_is_given_planes(kind: type[nn.Module]) -> None:
    network, random = kind(), torch.get_rng_state()
    before = copy.deepcopy(network.state_dict())
    assert rule(network) == PLAIN
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], own) for name, own in network.state_dict().items())
    assert all(own.grad is None for own in network.parameters())


def test_onednn_is_as_it_was_after_an_epoch_and_after_an_error() -> None:
    onednn = torch.backends.mkldnn
    own = Convolutions(own_kernel=True)
    assert onednn.enabled
    with pytest.raises(ZeroDivisionError), own.training():
        assert not onednn.enabled
        _ = 1 / 0
    assert onednn.enabled
    with PLAIN.training():
        assert onednn.enabled


@pytest.mark.parametrize("batch", [64, 4])
def test_runs_give_what_they_give_plane_by_plane(batch: int) -> None:
    stack = built(f"batch_size={batch}")
    assert stack.convolutions == Convolutions(True, batch == 4)
    found = run(stack, pictures(), batch_size=batch)
    expected = run(replace(built(), convolutions=PLAIN), pictures(), batch_size=batch)
    for one, other in zip(found, expected, strict=True):
        assert one.metrics.keys() == other.metrics.keys()
        for name, values in other.metrics.items():
            torch.testing.assert_close(one.metrics[name], values, rtol=1e-4, atol=1e-5)
    right = classified_right(stack, pictures(), pictures().test).double().mean()
    assert right == found[-1].metrics["test/accuracy"]


@pytest.mark.parametrize("batch", [64, 4])
def test_a_resumed_run_continues_bit_for_bit(batch: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.bin"
    options: Any = {"dataset": pictures(), "batch_size": batch}
    whole = run(built(f"batch_size={batch}"), **options, epochs=range(1, 5))
    first = built(f"batch_size={batch}")
    run(first, **options, epochs=range(1, 3))
    checkpoint.save(path, first, 2, ["abc"])
    again = built(f"batch_size={batch}")
    assert checkpoint.restore(path, again, ["abc"]) == 2
    rest = run(again, **options, epochs=range(3, 5))
    for one, other in zip(whole[2:], rest, strict=True):
        assert torch.equal(one.batch_losses, other.batch_losses)
        assert one.metrics == other.metrics


def test_weights_and_checkpoints_are_laid_out_as_they_always_were(tmp_path: Path) -> None:
    stack = built()
    run(stack, pictures(), batch_size=64)
    checkpoint.save(tmp_path / "checkpoint.bin", stack, 3, ["abc"])
    saved = checkpoint._read(tmp_path / "checkpoint.bin")["runs"]["abc"]
    states = saved["optimizer"]["state"].values()
    tensors = [*saved["model"].values(), *itertools.chain(*(state.values() for state in states))]
    assert len(tensors) > 10 and all(each.is_contiguous() for each in tensors)
    spec = ModelSpec.of(asked(), pictures())
    save(stack.model.state_dict(), spec, tmp_path / "one.safetensors")
    planes = {name: each.contiguous() for name, each in saved["model"].items()}
    save(planes, spec, tmp_path / "other.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "other.safetensors"
    ).read_bytes()
    assert load_file(tmp_path / "one.safetensors").keys() == stack.model.state_dict().keys()


def test_relu_after_pooling_gives_what_it_gives_before() -> None:
    pooled_first = CNN(SHAPE, 2)
    layers = copy.deepcopy(list(pooled_first))
    layers[1:3] = reversed(layers[1:3])
    layers[4:6] = reversed(layers[4:6])
    relu_first = nn.Sequential(*layers)
    assert [type(layer) for layer in relu_first][:6] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d] * 2
    images = torch.rand(8, *SHAPE)
    outputs = [network(images) for network in (pooled_first, relu_first)]
    assert torch.equal(*outputs)
    for each in outputs:
        each.square().sum().backward()
    for one, other in zip(pooled_first.parameters(), relu_first.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.equal(one.grad, other.grad)
