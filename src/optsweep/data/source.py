"""What a source of pictures gives: `Source`, which `make_source` checks and gives a digest."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from optsweep.data.splits import Split
from optsweep.errors import DatasetError

TEST_SHARE = 0.2  # kept for test where a source comes without test pictures


@dataclass(frozen=True)
class Source:
    """A dataset as its publisher gives it: `peak` is the value of white, `digest` a SHA-256."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    peak: int
    digest: str


def make_source(train: Split, test: Split, classes: Sequence[str], *, peak: int = 255) -> Source:
    """A source with the digest of its pixels, labels and class names.

    Args:
        train: the training pictures, uint8 `[N, C, H, W]`, and their labels, int64 `[N]`, which
            count the classes from 0.
        test: the test pictures, of the same shape but for their number.
        classes: the classes' names, by label.
        peak: the value of white.

    Returns:
        What the function that a dataset's `_target_` names has to return.

    Raises:
        DatasetError: images or labels have another dtype or shape than `Split` says.
    """
    content = hashlib.sha256(json.dumps([*classes, peak]).encode())
    for split in (train, test):
        _check_split(split, len(classes))
        content.update(str(tuple(split.images.shape)).encode())
        content.update(split.images.contiguous().numpy().data)
        content.update(split.labels.contiguous().numpy().data)
    return Source(train, test, tuple(classes), peak, content.hexdigest()[:32])


def _check_split(split: Split, classes: int) -> None:
    images, labels = split.images, split.labels
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
        raise DatasetError(
            f"images are {images.dtype} {list(images.shape)}; needed are uint8 [N, C, H, W], N > 0"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise DatasetError(
            f"labels are {labels.dtype} {list(labels.shape)}; needed are int64 [{len(images)}]"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DatasetError(
            f"labels reach from {labels.min()} to {labels.max()}, for {classes} classes"
        )
