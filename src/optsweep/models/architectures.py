"""The model group: networks that fit themselves to a dataset's images and class count.

A model is built from the images' shape `(C, H, W)` and the number of classes, so that no number
is typed twice. It maps float32 images `[B, C, H, W]` to outputs `[B, classes]`: logits, or
probabilities where its attribute `gives` says so. A class of your own with that constructor and
that forward pass is a new file in conf/model/ and no new code.
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Softmax(nn.Sequential):
    """Softmax regression: one linear layer, weights normal with standard deviation 0.01, bias 0.

    Args:
        input_shape: channels, height and width of an image.
        classes: how many outputs to give.
    """

    linear: nn.Linear

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        linear = nn.Linear(math.prod(input_shape), classes)
        nn.init.normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        super().__init__(OrderedDict(flatten=nn.Flatten(), linear=linear))


class ScratchSoftmax(nn.Module):
    """Softmax regression written out: a weight matrix, a bias, exponentials and their sum.

    It gives probabilities and overflows where a logit passes 88, as the textbook formula does;
    `Softmax` with `loss=cross_entropy` is the form that does not.
    """

    gives = "probabilities"

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        inputs = math.prod(input_shape)
        # What `Softmax` draws before it overwrites it: one seed gives both the same start.
        nn.Linear(inputs, classes)
        self.weight = nn.Parameter(torch.normal(0.0, 0.01, (classes, inputs)).t().contiguous())
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, images: Tensor) -> Tensor:
        """Gives float32 probabilities `[B, classes]` of float32 images `[B, C, H, W]`."""
        exponentials = torch.exp(images.flatten(1) @ self.weight + self.bias)
        return exponentials / exponentials.sum(dim=1, keepdim=True)


class MLP(nn.Sequential):
    """A multilayer perceptron with ReLU between its linear layers, torch's initial weights.

    Args:
        hidden: the units of each hidden layer; the other arguments are those of `Softmax`.

    Raises:
        ValueError: one of them is no integer >= 1.
    """

    def __init__(
        self, input_shape: tuple[int, int, int], classes: int, hidden: Sequence[int] = (512, 512)
    ) -> None:
        whole = isinstance(hidden, Sequence) and all(type(units) is int for units in hidden)
        if not whole or any(units < 1 for units in hidden):
            raise ValueError(
                f"hidden={hidden}: must be a list of integers >= 1; "
                "type for example 'model.hidden=[512,512]'"
            )
        sizes = [math.prod(input_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers, nn.Linear(sizes[-1], classes))


class CNN(nn.Sequential):
    """5x5 convolutions of 16 and 32 channels, each pooled by 2; then layers of 120, 84, classes.

    Args:
        activation: "relu" or "none"; the other arguments are those of `Softmax`.

    Raises:
        ValueError: the images are too small, or the activation is another.
    """

    def __init__(
        self, input_shape: tuple[int, int, int], classes: int, activation: str = "relu"
    ) -> None:
        if activation not in ("relu", "none"):
            raise ValueError(f"activation={activation}: must be relu or none")
        channels, height, width = input_shape
        rows, columns = _after_convolutions(height), _after_convolutions(width)
        if rows < 1 or columns < 1:
            raise ValueError(
                f"images of {height}x{width} pixels are too small: two 5x5 convolutions, each "
                "pooled by 2, need 16x16 or more; type dataset.resize=32, or one of "
                "model=softmax, mlp, resnet18, which take any size"
            )

        def active(*layers: nn.Module) -> list[nn.Module]:
            return [*layers, nn.ReLU()] if activation == "relu" else [*layers]

        # Pooled first: the largest of four is positive or not, and ReLU has a quarter to do.
        super().__init__(
            *active(nn.Conv2d(channels, 16, 5), nn.MaxPool2d(2)),
            *active(nn.Conv2d(16, 32, 5), nn.MaxPool2d(2)),
            nn.Flatten(),
            *active(nn.Linear(32 * rows * columns, 120)),
            *active(nn.Linear(120, 84)),
            nn.Linear(84, classes),
        )


def _after_convolutions(side: int) -> int:
    return ((side - 4) // 2 - 4) // 2


def resnet18(input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """torchvision's ResNet-18 from random weights, for small images.

    The first layer is a 3x3 convolution of stride 1 without pooling, as He and others (2016)
    used on CIFAR-10: the 7x7 of stride 2 with pooling would leave 8x8 of 32x32 pixels.
    """
    from torchvision.models import resnet18 as torchvision_resnet18

    model: nn.Module = torchvision_resnet18(num_classes=classes)
    model.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model
