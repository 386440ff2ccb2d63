"""How a run's convolutions are computed: a rule from measurements, which a resumed run repeats.

A run alone has its images laid out pixel by pixel (torch's `channels_last`) or plane by plane, and
oneDNN or torch's own kernel for its training. What decides is the model, the device, and how many
pixels a batch has. A trial by the clock would give a resumed run other last digits.
The weights stay plane by plane in either case, so that files of weights, checkpoints, optimizers
and flat buffers see no difference; a kernel turns them around by itself.

Measured on a core with AVX-512, torch 2.15, a training step beside one plane by plane by oneDNN:

    pixels of a batch        1,024   2,048   4,096   8,192  16,384  65,536
    cnn, pixel by pixel       0.96    0.92    0.88    0.85    0.80    0.77
    cnn, torch's own kernel   0.80    0.89    1.02    1.20       -    1.8
    resnet18, pixel by pixel  1.16    1.28    1.20    1.12    0.87    0.92
    resnet18, torch's own     1.01    1.16    1.31       -       -       -

Evaluated pixel by pixel the cnn takes 0.53 of the time. Two threads, pictures of 16x16 to 128x128,
and timm's resnet10t and mobilenetv3 (0.85 and 0.74 at 65,536 pixels) are alike.

Two more places where torch's own kernel is none: layers of several groups, which it computes one
group after another, and `precision=bf16`, which only oneDNN is quick in. On a GPU cuDNN turns
images around by itself where that pays; nothing was measured there, so nothing is changed. Nor is
it for stacks, whose `vmap` makes the convolutions of K models one of K groups.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from optsweep.config.settings import Settings
from optsweep.training.stack_check import close

_MANY = 2**14  # pixels of a batch from which channels_last paid for both networks above
_FEW = 2**10  # up to which torch's own kernel was quicker than oneDNN for the cnn, and no slower


@dataclass(frozen=True)
class Convolutions:
    """What suits a run: `channels_last` for batches large enough, and torch's `own_kernel`."""

    channels_last: bool = False
    own_kernel: bool = False

    def laid_out(self, images: Tensor) -> Tensor:
        """The images `[B, C, H, W]` in the layout that suits their number and size."""
        if self.channels_last and images.numel() // images.shape[1] >= _MANY:
            return images.contiguous(memory_format=torch.channels_last)
        return images

    @contextmanager
    def training(self) -> Iterator[None]:
        """Has this process compute with torch's own kernel meanwhile, where that suits the run."""
        onednn: Any = torch.backends.mkldnn  # torch types its switches by what they are made of
        before = onednn.enabled
        onednn.enabled = before and not self.own_kernel
        try:
            yield
        finally:
            onednn.enabled = before


PLAIN = Convolutions()


def convolutions_of(
    settings: Settings, network: nn.Module, input_shape: tuple[int, int, int]
) -> Convolutions:
    """What suits a run alone; its network still lies on the CPU and computes in float32."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    if settings.device != "cpu" or not layers:
        return PLAIN
    _, height, width = input_shape
    is_small = settings.batch_size * height * width <= _FEW
    is_plain = settings.precision == "fp32" and all(layer.groups == 1 for layer in layers)
    return Convolutions(_takes_channels_last(network, input_shape), is_small and is_plain)


def _takes_channels_last(network: nn.Module, input_shape: Sequence[int]) -> bool:
    """Whether two images give the same outputs and gradients in either layout.

    A network that calls `view` where `flatten` is needed raises on what is not plane by plane.
    A copy of it is tried, also in training mode, and no random number is drawn for good.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.rand(2, *input_shape)
        try:
            plain, turned = (copy.deepcopy(network) for _ in range(2))
            pixelwise = images.contiguous(memory_format=torch.channels_last)
            expected, found = plain.eval()(images), turned.eval()(pixelwise)
            for outputs in (expected, found):
                outputs.square().sum().backward()
            pairs = [(expected, found), *_gradients(plain, turned)]
            if not all(close(given, wanted) for wanted, given in pairs):
                return False
            turned.train()(pixelwise).sum().backward()
        except Exception:  # whatever a network of somebody's own raises
            return False
    return True


def _gradients(*networks: nn.Module) -> list[tuple[Tensor, Tensor]]:
    own, others = ([p.grad for p in network.parameters()] for network in networks)
    return [(a, b) for a, b in zip(own, others, strict=True) if a is not None and b is not None]
