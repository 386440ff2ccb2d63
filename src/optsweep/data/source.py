"""What a source of pictures gives: `Source`, which `make_source` checks and gives a digest."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from optsweep.data.splits import Split
from optsweep.errors import DatasetError

TEST_SHARE = 0.2  # kept for test where a source comes without test pictures


@dataclass(frozen=True)
class Source:
    """A dataset as its publisher gives it: `peak` is the value of white, `digest` a SHA-256.

    `val` is its own validation part, None where one is to be cut from `train`. `test` is empty
    where there is no test part; then there is a validation part. `skipped` counts the files that
    were found and left out, by what they have in common: `{".gif": 20}`.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    peak: int
    digest: str
    val: Split | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)


def make_source(
    train: Split,
    test: Split | None,
    classes: Sequence[str],
    *,
    val: Split | None = None,
    peak: int = 255,
) -> Source:
    """A source with the digest of its pixels, labels and class names.

    Args:
        train: the training pictures, uint8 `[N, C, H, W]`, and their labels, int64 `[N]`, which
            count the classes from 0.
        test: the test pictures, of the same shape but for their number; None: there are none, and
            `val` ranks runs alone.
        classes: the classes' names, by label.
        val: the validation pictures, as `test`; None: `val_fraction` of `train` is held out.
        peak: the value of white.

    Returns:
        What the function that a dataset's `_target_` names has to return.

    Raises:
        DatasetError: images or labels have another dtype or shape than `Split` says, or there is
            neither `test` nor `val`.
    """
    if test is None and val is None:
        raise DatasetError("there is neither test= nor val=; make_source needs one beside train=")
    content = hashlib.sha256(json.dumps([*classes, peak]).encode())
    for name, split in (("train", train), ("test", test), ("val", val)):
        if split is None:
            continue
        _check_split(split, len(classes))
        if name == "val":  # lest train and val be taken for train and test
            content.update(b"val")
        content.update(str(tuple(split.images.shape)).encode())
        content.update(split.images.contiguous().numpy().data)
        content.update(split.labels.contiguous().numpy().data)
    test = test or Split(train.pool[:0], train.labels[:0])
    return Source(train, test, tuple(classes), peak, content.hexdigest()[:32], val)


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


def skipped_words(skipped: Mapping[str, int]) -> str:
    """How many files were left out: `skipped 20 (.heic), 3 (.txt)`; empty where none were."""
    counts = ", ".join(f"{count:,} ({what})" for what, count in skipped.items())
    return f"skipped {counts}" if counts else ""
