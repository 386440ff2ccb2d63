"""Picture files as one tensor: each is read, turned upright, made RGB and resized."""

import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from optsweep.errors import DatasetError


def decode(files: Sequence[Path], size: int) -> Tensor:
    """The pictures in `files`, in their order, as uint8 `[N, 3, size, size]`.

    Raises:
        DatasetError: a file is broken.
    """
    # Pillow decodes outside of the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = pool.map(functools.partial(_decoded, size), files)
        return torch.from_numpy(np.stack(list(decoded)))


def _in_colour(picture: Image.Image) -> Image.Image:
    """RGB of 8 bits. Pillow's own conversion clips 16 bits at 255, where all turns white."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _decoded(size: int, path: Path) -> np.ndarray[Any, Any]:
    try:
        with Image.open(path) as picture:
            upright = _in_colour(ImageOps.exif_transpose(picture))
        resized = upright.resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read as a picture ({error}); remove it") from error
    return np.asarray(resized).transpose(2, 0, 1)
