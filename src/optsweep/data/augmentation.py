"""Views of training pictures: as they are, mirrored, or either of these moved by a few pixels.

A view has a number from 0 on. The number of picture n's view v, among all that a dataset has, is
n times the views of a picture plus v: so one tensor of integers says which pictures a batch has
and how each is seen, and a captured step needs no other (`training/cuda_graph.py`).

torchvision's random transforms draw once for a batch. Here every picture has a draw of its own, and
its view is what torchvision's `horizontal_flip`, `pad` and `crop` make of it.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from optsweep.errors import SettingsError

# Zeros around a picture before a piece of its own size is cut out, as He and others do for CIFAR-10
# (Deep Residual Learning for Image Recognition, 2015, section 4.2).
PADDING = 4
_PLACES = 2 * PADDING + 1  # of the piece, along each side
VIEWS = {"none": 1, "flip": 2, "crop_flip": 2 * _PLACES**2}
_SMALLEST = 4 * PADDING  # pixels a side, of which a crop hides a quarter at most


def check_augment(augment: str, name: str, height: int, width: int) -> None:
    """Makes sure that samples of so many rows and columns have such views.

    Raises:
        SettingsError: they are no pictures, or too small to be moved.
    """
    if augment != "none" and min(height, width) < 2:
        raise SettingsError(
            f"dataset.augment={augment}: samples of {name} are no pictures, as they have "
            f"{height} row{'s' * (height != 1)} and {width} column{'s' * (width != 1)}; "
            "type dataset.augment=none"
        )
    if augment == "crop_flip" and min(height, width) < _SMALLEST:
        raise SettingsError(
            f"dataset.augment=crop_flip: pictures of {name} are {height}x{width}, too small to be "
            f"moved by {PADDING} pixels; needed are {_SMALLEST}x{_SMALLEST}; type "
            "dataset.augment=flip, or dataset.resize=32"
        )


def seen(images: Tensor, views: Tensor, augment: str) -> Tensor:
    """Pictures `[M, C, H, W]` as their `views`, int64 `[M]`, show them; of the same shape."""
    every = torch.arange(len(images), device=images.device)
    # Both kinds, of which a row is copied whole: a quarter of the time of torch.where.
    both = torch.cat([images, images.flip(-1)])
    flipped = both.index_select(0, views % 2 * len(images) + every)
    return flipped if augment == "flip" else _cropped(flipped, views // 2)


def _cropped(images: Tensor, places: Tensor) -> Tensor:
    """The piece at each place, int64 `[M]`, that is cut out of a picture within its border.

    A row of a piece is a row of the padded picture from some column on. Among all stretches of so
    many pixels, one starting at each, it is the one at its first pixel; a tenth of the time of
    indexing pixels on a CPU.
    """
    count, channels, height, width = images.shape
    padded = pad(images, [PADDING] * 4)
    stretches = padded.flatten().unfold(0, width, 1)
    planes = torch.arange(count * channels, device=images.device).view(count, channels, 1)
    rows = torch.arange(height, device=images.device)
    down, right = places // _PLACES, places % _PLACES
    first = planes * padded.shape[2] + rows + down.view(-1, 1, 1)
    first = first * padded.shape[3] + right.view(-1, 1, 1)
    return stretches.index_select(0, first.flatten()).view_as(images)
