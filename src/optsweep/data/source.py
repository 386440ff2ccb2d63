"""What a source of pictures gives: `Source`, which `make_source` checks and gives a digest."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from optsweep.data.samples import as_split, names_in
from optsweep.data.splits import Split
from optsweep.errors import DatasetError

TEST_SHARE = 0.2  # kept for test where a source comes without test pictures
_PIECE = 2**18  # bytes: what is larger than a cache takes memory and no less time


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
    train: Any,
    test: Any = None,
    classes: Sequence[str] | None = None,
    *,
    val: Any = None,
    peak: int = 255,
) -> Source:
    """A source with the digest of its pixels, labels and class names.

    Args:
        train: the training pictures and their labels, which count the classes from 0:
            `(images, labels)` as arrays or tensors, or a dataset of torchvision or Hugging Face.
            Images are `[N, H, W]`, `[N, C, H, W]` or `[N, H, W, C]`, uint8 or floats from 0 to 1.
            A `Split` holds them as they are kept: uint8 `[N, C, H, W]` and int64 `[N]`.
        test: the test pictures, of the same shape but for their number; None: there are none, and
            `val` ranks runs alone.
        classes: the classes' names, by label; None: those that the dataset knows.
        val: the validation pictures, as `test`; None: `val_fraction` of `train` is held out.
        peak: the value of white.

    Returns:
        What the function that a dataset's `_target_` names has to return.

    Raises:
        DatasetError: images or labels are of another kind, their parts do not fit together, or
            there is neither `test` nor `val`.
    """
    if test is None and val is None:
        raise DatasetError("there is neither test= nor val=; make_source needs one beside train=")
    names = _class_names(classes, train)
    content = hashlib.sha256(json.dumps([*names, peak]).encode())
    parts: dict[str, Split] = {}
    for part, given in (("train", train), ("test", test), ("val", val)):
        if given is None:
            continue
        split = parts[part] = as_split(given, part, peak)
        _check_split(split, len(names))
        if part == "val":  # lest train and val be taken for train and test
            content.update(b"val")
        content.update(str((len(split.labels), *split.pool.shape[1:])).encode())
        size = max(1, _PIECE // split.pool[0].numel())
        for images in split.pieces(size):  # there may be more than memory holds
            content.update(images.contiguous().numpy().data)
        content.update(split.labels.contiguous().numpy().data)
    first = parts["train"]
    without = Split(first.pool[:0], first.labels[:0])
    last, digest = parts.get("test", without), content.hexdigest()[:32]
    source = Source(first, last, tuple(names), peak, digest, parts.get("val"))
    check_source(source)
    return source


def _class_names(given: Sequence[str] | None, train: Any) -> list[str]:
    """The names that were given, or those that the training part knows."""
    names = names_in(train) if given is None else given
    if not isinstance(names, Iterable):
        raise DatasetError(
            f"classes={given}: needed are the classes' names in the order of their labels; "
            'type classes=["cat", "dog"]'
        )
    return [str(name) for name in names]


def check_source(source: Source) -> None:
    """Refuses a source whose parts are not what `make_source` would let pass.

    Raises:
        DatasetError: images or labels have another dtype or shape, or those of its parts differ.
    """
    given = {"training": source.train, "test": source.test, "validation": source.val}
    for part, split in given.items():
        if split is None or (part == "test" and source.val is not None and not len(split.labels)):
            continue
        _check_split(split, len(source.classes))
        if split.pool.shape[1:] != source.train.pool.shape[1:]:
            shapes = [list(each.pool.shape[1:]) for each in (source.train, split)]
            raise DatasetError(f"images of {shapes[0]} for training and {shapes[1]} for {part}")


def _check_split(split: Split, classes: int) -> None:
    images, labels = split.pool, split.labels  # not split.images, which may be a copy
    count = len(images) if split.rows is None else len(split.rows)
    if images.dtype != torch.uint8 or images.ndim != 4 or count == 0:
        shape = [count, *images.shape[1:]]
        raise DatasetError(
            f"images are {images.dtype} {shape}; needed are uint8 [N, C, H, W], N > 0"
        )
    if labels.dtype != torch.int64 or labels.shape != (count,):
        raise DatasetError(
            f"labels are {labels.dtype} {list(labels.shape)}; needed are int64 [{count}]"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DatasetError(
            f"labels reach from {labels.min()} to {labels.max()}, for {classes} classes; needed "
            f"are 0 to {classes - 1}"
        )


def skipped_words(skipped: Mapping[str, int]) -> str:
    """How many files were left out: `skipped 20 (.heic), 3 (.txt)`; empty where none were."""
    counts = ", ".join(f"{count:,} ({what})" for what, count in skipped.items())
    return f"skipped {counts}" if counts else ""
