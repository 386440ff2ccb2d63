"""Pictures that somebody has: found, decoded as those of a dataset, and named where folders do so.

`find` is given what a person typed, and returns the files. Nothing is kept of what is decoded.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from optsweep.data.decoding.programs import named
from optsweep.data.decoding.progress import DecodingProgress
from optsweep.data.decoding.worker import UNREADABLE, resized
from optsweep.data.layout import pictures_below, suffixes
from optsweep.data.source import skipped_words
from optsweep.errors import DatasetError

_AT_ONCE = 256  # pictures that memory holds


@dataclass(frozen=True)
class GivenPictures:
    """Picture files, sorted, and how many others were skipped, by suffix.

    `root` is the folder that they were looked for in; None where files were named.
    """

    files: Sequence[Path]
    root: Path | None
    skipped: Mapping[str, int]

    @property
    def names(self) -> list[str]:
        """What each is called: its path, inside the folder where there is one."""
        return [str(file.relative_to(self.root) if self.root else file) for file in self.files]

    def true_classes(self, classes: Sequence[str]) -> list[str | None]:
        """The class of each, where the folder that holds it, or one around that, has its name."""
        return [self._class_of(file, frozenset(classes)) for file in self.files]

    def _class_of(self, file: Path, classes: frozenset[str]) -> str | None:
        around = file.absolute().parent
        folders = [around, *around.parents] if self.root else [around]
        for folder in folders:
            if folder.name in classes:
                return folder.name
            if folder == self.root:
                break
        return None

    def decoded(self, input_shape: tuple[int, int, int]) -> Iterator[Tensor]:
        """The pictures, some at a time: uint8 `[N, C, H, W]` of that shape.

        They are upright and resized, as those of `dataset=image_folder`; of one channel in grey.

        Raises:
            DatasetError: some cannot be read, or pictures have not so many channels.
        """
        channels, height, width = input_shape
        if channels not in (1, 3):
            raise DatasetError(
                f"this model takes images of {channels} channels; pictures have 3, or in grey 1"
            )
        broken: list[Path] = []
        with DecodingProgress(Console(), len(self.files), 0) as progress:
            for first in range(0, len(self.files), _AT_ONCE):
                images = []
                for file in self.files[first : first + _AT_ONCE]:
                    try:
                        picture = resized(file, height, width)
                    except UNREADABLE:
                        broken.append(file)
                        continue
                    pixels = np.asarray(picture if channels == 3 else picture.convert("L"))
                    images.append(pixels.reshape(height, width, channels).transpose(2, 0, 1))
                    progress.advance(1)
                if images and not broken:
                    yield torch.from_numpy(np.stack(images))
        if broken:
            raise DatasetError(
                f"{len(broken):,} of {len(self.files):,} pictures cannot be read, remove these: "
                f"{named([str(file) for file in broken])}"
            )


def find(typed: str) -> GivenPictures:
    """The pictures of a folder, at any depth, one picture, or those that fit a pattern (`*.jpg`).

    Raises:
        DatasetError: there are none.
    """
    path = Path(typed).expanduser()
    if path.is_dir():
        counted: Counter[str] = Counter()
        root = path.absolute()
        files = [Path(file) for file in pictures_below(root, counted)]
        found = GivenPictures(files, root, dict(sorted(counted.items())))
    elif path.is_file():
        found = GivenPictures([path], None, {})
    else:
        fitting = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        pictures = [each for each in fitting if each.suffix.lower() in suffixes()]
        found = GivenPictures(pictures, None, {})
    if not found.files:
        beside = f" ({skipped_words(found.skipped)})" if found.skipped else ""
        raise DatasetError(
            f"pictures={typed}: there is no picture{beside}; needed are files that end in .jpg, "
            ".png or what else Pillow reads"
        )
    return found
