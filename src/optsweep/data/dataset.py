"""The dataset group: from its settings to tensors in memory, split for training and judging.

`read_dataset` is given settings and returns a `Dataset`: uint8 images and int64 labels for
training, validation and test, the class names and a digest. The training loop scales a batch at a
time, so that sixty thousand pictures take 47 MB rather than 188 and a batch is gathered from a
quarter of the bytes.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from optsweep.config.instantiate import call, check_arguments, resolve
from optsweep.config.settings import Option
from optsweep.data.augmentation import VIEWS, check_augment, seen
from optsweep.data.builtin import Source, torchvision_source
from optsweep.data.cache import cached
from optsweep.data.source import check_source, skipped_words
from optsweep.data.splits import Split, hold_out, stratified
from optsweep.errors import DatasetError, SettingsError

# Arguments of every dataset option, used here and in the training loop; the rest is the source's.
_COMMON = ("shuffle", "limit", "resize", "normalize", "augment")
# What conf/config.yaml gives: nobody asked for another share.
_VAL_FRACTION = 0.1


class DatasetSettings(Protocol):
    """What decides a dataset, of the settings of a run."""

    @property
    def dataset(self) -> Option:
        """Which dataset, with its options."""

    @property
    def data_dir(self) -> Path:
        """Where it lies, or is downloaded to."""

    @property
    def val_fraction(self) -> float:
        """The share of the training data that is held out."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels in memory, with what turns a batch of them into a model's input.

    `val` is the source's own validation part, or cut from its training part; None where
    `val_fraction` is 0. `test` is empty where the source has no test part, which then has a
    validation part. `peak` is the value of white. `mean` and `std`, float32
    `[C, 1, 1]` of pixels in [0, 1], are None unless the option `normalize` is set. `digest`
    identifies the source's content before `limit` and `resize`. `augment` says in which views
    training images are seen; all others are seen as they are. `unbalanced` says whether the largest
    class of the source has more than twice the images of the smallest. `folder` is the name of the
    folder that was given, `skipped` counts the files in it that were left out.
    """

    name: str
    train: Split
    val: Split | None
    test: Split
    classes: tuple[str, ...]
    peak: int
    digest: str
    mean: Tensor | None = None
    std: Tensor | None = None
    augment: str = "none"
    unbalanced: bool = False
    folder: str = ""
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def judging(self) -> Split:
        """What judges a run in the end: test, or validation where there is no test part."""
        return self.val if self.val is not None and not len(self.test.labels) else self.test

    @property
    def device(self) -> torch.device:
        """Where all its tensors lie."""
        return self.train.labels.device

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.pool.shape[1:]
        return channels, height, width

    @property
    def views(self) -> int:
        """In how many views a training image may be seen."""
        return VIEWS[self.augment]

    def inputs(self, chosen: Tensor) -> Tensor:
        """Training images at `chosen`, int64 `[..., B]`, scaled: float32 `[..., B, C, H, W]`.

        Where images have several views, `chosen` says which, as `batch_order` does.
        """
        samples = self._samples(chosen).flatten()
        images = self.train.take(samples)
        if self.views > 1:
            images = seen(images, chosen.flatten() - samples * self.views, self.augment)
        return self.scale(images.view(*chosen.shape, *self.input_shape))

    def targets(self, chosen: Tensor) -> Tensor:
        """The labels of training images, `chosen` as for `inputs`: int64 `[..., B]`."""
        return self.train.labels[self._samples(chosen)]

    def _samples(self, chosen: Tensor) -> Tensor:
        return chosen if self.views == 1 else chosen // self.views

    def scale(self, images: Tensor) -> Tensor:
        """uint8 pixels `[..., C, H, W]` -> float32 in [0, 1], normalized where that was asked."""
        pixels = images / self.peak
        if self.mean is None or self.std is None:
            return pixels
        return pixels.sub_(self.mean).div_(self.std)

    def to(self, device: torch.device) -> "Dataset":
        """The same dataset with all its tensors on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            val=None if self.val is None else self.val.to(device),
            test=self.test.to(device),
            mean=None if self.mean is None else self.mean.to(device),
            std=None if self.std is None else self.std.to(device),
        )


def description(data: Dataset) -> str:
    """What was found, on one line: classes, images of each split, their size, skipped files."""
    channels, height, width = data.input_shape
    splits = {"train": data.train, "val": data.val, "test": data.test}
    found = {name: 0 if split is None else len(split.labels) for name, split in splits.items()}
    counts = [f"{count:,} {name}" for name, count in found.items() if count]
    colours = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    parts = [f"{len(data.classes)} classes", *counts, f"{height}x{width} {colours}"]
    name = " ".join(filter(None, [data.name, data.folder]))
    return "; ".join(filter(None, [f"{name}: {', '.join(parts)}", skipped_words(data.skipped)]))


def read_dataset(settings: DatasetSettings) -> Dataset:
    """Reads, limits, resizes and splits the dataset that the settings name.

    Raises:
        DatasetError: files are missing, corrupt or cannot be downloaded.
        SettingsError: an option of the dataset cannot be used.
    """
    option, options = settings.dataset, settings.dataset.arguments
    source = _read(option, settings)
    limit, side = options.get("limit"), options.get("resize")
    unbalanced = _is_unbalanced(source)
    if limit:
        few = source.train.choose(_limited(source.train.labels, limit))
        source = replace(source, train=few)
    if side and limit:
        source = _resized(source, side)
    elif side:  # the whole of it is kept on disk, which all processes of a sweep map
        name = f"{option.name.replace('/', '-')}-{side}px"
        resize = functools.partial(_resized, source, side)
        small = cached(settings.data_dir, name, functools.partial(str, source.digest), resize)
        source = replace(small, skipped=source.skipped)
    train, val = _validation(source, settings.val_fraction)
    augment = options.get("augment", "none")
    check_augment(augment, option.name, *train.pool.shape[2:])
    mean, std = _statistics(train, source.peak) if options.get("normalize") else (None, None)
    return Dataset(
        name=option.name,
        train=train,
        val=val,
        test=source.test,
        classes=source.classes,
        peak=source.peak,
        digest=source.digest,
        mean=mean,
        std=std,
        augment=augment,
        unbalanced=unbalanced,
        folder=Path(str(options.get("path") or "")).name,
        skipped=source.skipped,
    )


def _read(option: Option, settings: DatasetSettings) -> Source:
    arguments = {key: value for key, value in option.arguments.items() if key not in _COMMON}
    target = resolve("dataset", option)
    own = replace(option, arguments=arguments)
    if isinstance(target, type):
        from torchvision.datasets import VisionDataset

        if issubclass(target, VisionDataset):
            check_arguments("dataset", own, functools.partial(torchvision_source, target))
            return torchvision_source(target, data_dir=settings.data_dir, **arguments)
    source: Any = call("dataset", own, target, data_dir=settings.data_dir)
    if not isinstance(source, Source):
        raise SettingsError(
            f"dataset={option.name}: {option.target} must return an optsweep.data.Source "
            f"or be one of torchvision's dataset classes, not a {type(source).__name__}; end it "
            "with return make_source(train, test, classes) of optsweep.data"
        )
    try:
        check_source(source)
    except DatasetError as error:
        raise DatasetError(f"dataset={option.name}: {option.target} returns {error}") from error
    return source


def _limited(labels: Tensor, limit: int) -> Tensor:
    if limit > len(labels):
        raise SettingsError(
            f"dataset.limit={limit}: the training data has {len(labels)} samples; "
            f"type dataset.limit={len(labels)} or less"
        )
    return stratified(labels, limit)


def _validation(source: Source, fraction: float) -> tuple[Split, Split | None]:
    """The training and the validation split: the source's own, or held out."""
    if source.val is None:
        return _hold_out(source.train, fraction)
    if fraction != _VAL_FRACTION:
        raise SettingsError(
            f"val_fraction={fraction:g}: the dataset has a validation part of its own, of "
            f"{len(source.val.labels):,} samples, so nothing is held out; leave val_fraction away, "
            f"or type val_fraction={_VAL_FRACTION:g}"
        )
    return source.train, source.val


def _is_unbalanced(source: Source) -> bool:
    labels = [part.labels for part in (source.train, source.val, source.test) if part is not None]
    sizes = torch.bincount(torch.cat(labels), minlength=len(source.classes))
    return bool(sizes.max() > 2 * sizes.min())


def _hold_out(split: Split, fraction: float) -> tuple[Split, Split | None]:
    if fraction == 0:
        return split, None
    if len(split.labels) < 2:
        raise SettingsError(f"val_fraction={fraction} of one sample leaves nothing to train on")
    return hold_out(split, fraction)


def _resized(source: Source, side: int) -> Source:
    from torchvision.transforms.v2 import functional as transforms

    def resized(split: Split) -> Split:
        # In pieces: antialiasing works in float32, four times the bytes of what it is given.
        pieces = [
            transforms.resize(piece, [side, side], antialias=True) for piece in split.pieces()
        ]
        return Split(torch.cat(pieces), split.labels)

    val = None if source.val is None else resized(source.val)
    return replace(source, train=resized(source.train), val=val, test=resized(source.test))


def _statistics(split: Split, peak: int) -> tuple[Tensor, Tensor]:
    """Per-channel mean and standard deviation of the training pixels, `[C, 1, 1]`."""
    total = torch.zeros(split.pool.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for piece in split.pieces():
        pixels = piece.double() / peak
        total += pixels.sum(dim=(0, 2, 3))
        squares += pixels.square().sum(dim=(0, 2, 3))
    count = len(split.labels) * split.pool[0, 0].numel()
    mean = total / count
    # A channel of one colour has no deviation; dividing by 1 leaves it at zero.
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    std[std < 1e-6] = 1.0
    return mean.float()[:, None, None], std.float()[:, None, None]


def load_dataset(settings: DatasetSettings) -> Dataset:
    """The settings' dataset; the runs of a process that agree in it share it."""
    key = repr((settings.dataset, settings.data_dir, settings.val_fraction))
    if key not in _loaded:
        _loaded.clear()  # one at a time: a sweep over datasets would fill the memory
        _loaded[key] = read_dataset(settings)
    return _loaded[key]


_loaded: dict[str, Dataset] = {}
