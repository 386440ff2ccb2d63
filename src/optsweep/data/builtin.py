"""Where pictures come from: scikit-learn's digits and torchvision's classes.

Each returns a `Source`: uint8 images, int64 labels, class names, the value of white and a digest.
A function of your own that returns one is a dataset too; its place in conf/dataset/ names it.
"""

import importlib.metadata
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optsweep.data.cache import cached, stamp_of
from optsweep.data.source import TEST_SHARE
from optsweep.data.source import Source as Source  # for sources of a person's own
from optsweep.data.source import make_source as make_source
from optsweep.data.splits import Split, hold_out
from optsweep.errors import DatasetError, SettingsError

_DIGITS = "sklearn/datasets/data/digits.csv.gz"
# What torchvision raises of a file that is not what it should be.
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, AssertionError, TypeError, AttributeError)


def digits(*, data_dir: Path) -> Source:
    """scikit-learn's 1,797 digits of 8x8 pixels from 0 to 16; a fixed stratified fifth is for test.

    Kept on disk like the others, which all processes map into memory.
    """

    def read() -> Source:
        table = torch.from_numpy(_table_of_digits().astype(np.uint8))
        images, labels = table[:, :64].reshape(-1, 1, 8, 8), table[:, 64].long()
        train, test = hold_out(Split(images, labels), TEST_SHARE)
        return make_source(train, test, [str(number) for number in range(10)], peak=16)

    return cached(data_dir, "digits", lambda: importlib.metadata.version("scikit-learn"), read)


def _table_of_digits() -> NDArray[Any]:
    """A row for each digit, `[1797, 65]`: its 64 pixels and its class.

    It is read where the package lies: to import scikit-learn takes a second.
    """
    lies = importlib.metadata.distribution("scikit-learn").locate_file(_DIGITS)
    with suppress(OSError):
        return np.loadtxt(str(lies), delimiter=",", dtype=np.uint8)
    from sklearn.datasets import load_digits  # an installation of another kind

    return np.column_stack(load_digits(return_X_y=True))


def torchvision_source(
    cls: type[Any], *, data_dir: Path, mirror: str | None = None, train_on: str = "train"
) -> Source:
    """One of torchvision's dataset classes that take `train=` and hold `data` and `targets`.

    Args:
        cls: the class.
        data_dir: the folder that holds its files, or gets them.
        mirror: the address to download them from; None: the class's own.
        train_on: "test" trains on the test pictures too, as one of the tutorials does.

    Raises:
        DatasetError: a file is corrupt, or missing and out of reach.
        SettingsError: `train_on` is neither "train" nor "test".
    """
    if train_on not in ("train", "test"):
        raise SettingsError(f"dataset.train_on={train_on}: must be train or test")
    from optsweep.data.download import extracted, fetch  # torchvision takes a second to import

    def read() -> Source:
        fetch(cls, data_dir, mirror)
        return _read_torchvision(cls, data_dir)

    source = cached(data_dir, cls.__name__, lambda: stamp_of(extracted(cls, data_dir)), read)
    return replace(source, train=source.test) if train_on == "test" else source


def _read_torchvision(cls: type[Any], data_dir: Path) -> Source:
    try:
        parts = [cls(str(data_dir), train=train, download=False) for train in (True, False)]
        splits = [Split(as_images(part.data), as_labels(part.targets)) for part in parts]
    except _BROKEN as error:
        raise DatasetError(
            f"{cls.__name__} under {data_dir} cannot be read ({type(error).__name__}: {error}); "
            f"delete {data_dir / cls.__name__} and run again"
        ) from error
    return make_source(splits[0], splits[1], [str(name) for name in parts[0].classes])


def as_images(data: Any) -> Tensor:
    """uint8 `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` -> contiguous uint8 `[N, C, H, W]`."""
    images = torch.as_tensor(data)
    if images.ndim == 3:
        return images.unsqueeze(1).contiguous()
    if images.shape[-1] in (1, 3):
        return images.permute(0, 3, 1, 2).contiguous()
    return images.contiguous()


def as_labels(targets: Any) -> Tensor:
    """A list or tensor of class indices -> int64 `[N]`."""
    return torch.as_tensor(targets, dtype=torch.int64)
