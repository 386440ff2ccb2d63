"""Pictures and labels as people have them -> a `Split`.

`as_split` takes a pair of arrays or tensors, a dataset of torchvision's kind or one of Hugging
Face's. None of their packages is imported: what an object can do is looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optsweep.data.splits import Split
from optsweep.errors import DatasetError

_IMAGES = ("image", "img", "pixel_values", "pixels")  # columns of Hugging Face's datasets
_LABELS = ("label", "labels", "fine_label", "target", "class")


def as_split(given: Any, part: str, peak: int = 255) -> Split:
    """What was given as a part of a dataset, as uint8 images `[N, C, H, W]` and int64 labels `[N]`.

    Args:
        given: a `Split`, which is taken as it is; `(images, labels)` as arrays, tensors or lists;
            a dataset that gives `(image, label)` by number, as torchvision's do; or one with
            columns of images and labels, as Hugging Face's have.
        part: its name in messages: train, test or val.
        peak: the value of white, which 1.0 of pixels in floats becomes.

    Raises:
        DatasetError: it is something else, or its pixels or labels are.
    """
    if isinstance(given, Split):
        return given
    if hasattr(given, "column_names"):
        images, labels = _of_columns(given, part)
    elif _is_pair(given):
        images, labels = given
    elif hasattr(given, "__getitem__") and not isinstance(given, str | Mapping):
        images, labels = _of_items(given, part)
    else:
        raise DatasetError(
            f"{part} is a {type(given).__name__}; needed is (images, labels), or a dataset of "
            "torchvision or Hugging Face"
        )
    return Split(as_pixels(images, part, peak), as_numbers(labels, part))


def names_in(given: Any) -> Sequence[str] | None:
    """The class names that a dataset object knows; None where it knows none."""
    features = getattr(given, "features", None)
    if isinstance(features, Mapping):
        names: Sequence[str] | None = next(
            (features[key].names for key in _LABELS if hasattr(features.get(key), "names")), None
        )
        return names
    found = getattr(given, "classes", None)
    return [str(name) for name in found] if found is not None else None


def _is_pair(given: Any) -> bool:
    """Whether it is `(images, labels)`, rather than a dataset."""
    return isinstance(given, tuple | list) and len(given) == 2


def _of_columns(given: Any, part: str) -> tuple[list[Any], list[Any]]:
    """The images and labels of a dataset with columns, as Hugging Face's."""
    names = given.column_names
    found = [next((n for n in known if n in names), None) for known in (_IMAGES, _LABELS)]
    if None in found:
        raise DatasetError(
            f"{part} has the columns {', '.join(map(str, names))}; needed are image and label; "
            'type .rename_column("OLD", "image")'
        )
    rows = [(row[found[0]], row[found[1]]) for row in given]
    return [image for image, _ in rows], [label for _, label in rows]


def _of_items(given: Any, part: str) -> tuple[Any, Any]:
    """The images and labels of a dataset that is asked by number, as torchvision's."""
    if hasattr(given, "data") and hasattr(given, "targets") and not _changes(given):
        return given.data, given.targets
    items = [given[number] for number in range(len(given))]
    if not all(isinstance(item, tuple | list) and len(item) == 2 for item in items):
        raise DatasetError(f"{part} gives a {type(items[0]).__name__}; needed is (image, label)")
    return [image for image, _ in items], [label for _, label in items]


def _changes(given: Any) -> bool:
    """Whether a dataset of torchvision's changes what it holds."""
    return any(getattr(given, name, None) for name in ("transform", "target_transform"))


def as_pixels(given: Any, part: str, peak: int = 255) -> Tensor:
    """Images in any of the usual forms -> uint8 `[N, C, H, W]`.

    They may be `[N, H, W]`, `[N, C, H, W]` or `[N, H, W, C]`; integers from 0 to 255, or floats
    from 0 to 1, which become the whole numbers nearest to `peak` times them.

    Raises:
        DatasetError: they have other values, or are of several shapes.
    """
    images = _channels_first(_stacked(given, part), part)
    if len(images) == 0:
        raise DatasetError(f"{part} holds no images")
    if images.dtype == torch.uint8:
        return images.contiguous()
    if images.is_complex():
        raise DatasetError(f"{part} has images of {images.dtype}; needed are uint8, or floats")
    low, high = float(images.min()), float(images.max())
    reaches = f"{part} has images of {str(images.dtype).removeprefix('torch.')} from {low:g} to"
    if images.is_floating_point():
        if not 0 <= low <= high <= 1:  # also what is not finite
            raise DatasetError(
                f"{reaches} {high:g}; floats must lie in [0, 1]: divide them by the value of "
                "white, and leave normalisation to dataset.normalize=true"
            )
        return images.float().mul(peak).round_().byte().contiguous()
    if not 0 <= low <= high <= 255:
        raise DatasetError(f"{reaches} {high:g}; integers must lie in 0 to 255")
    factor = peak if images.dtype == torch.bool else 1
    return images.byte().mul_(factor).contiguous()


def _stacked(given: Any, part: str) -> Tensor:
    """Images as one tensor, given as one or one by one: arrays, tensors or Pillow's pictures."""
    if isinstance(given, Tensor):
        return given.detach().cpu()
    if not isinstance(given, np.ndarray):
        each = [image if isinstance(image, Tensor) else _array(image) for image in given]
        shapes = list(dict.fromkeys(tuple(image.shape) for image in each))
        if len(shapes) > 1:
            shown = " and ".join(str(list(shape)) for shape in shapes[:2])
            raise DatasetError(
                f"{part} has images of {len(shapes)} shapes, such as {shown}; resize them first, "
                "and convert them to one mode, such as image.convert('RGB').resize((32, 32))"
            )
        given = np.stack([np.asarray(image) for image in each]) if each else np.zeros((0, 1, 1))
    if given.dtype == object or given.dtype.kind not in "buifc":
        raise DatasetError(f"{part} has images of {given.dtype}; needed are numbers")
    return torch.from_numpy(np.ascontiguousarray(_in_native_order(given)))


def _array(image: Any) -> Any:
    """An image as an array; one of Pillow's has its channels first then, as tensors have."""
    if not hasattr(image, "getbands"):
        return np.asarray(image)
    pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    return np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels


def _in_native_order(array: Any) -> Any:
    """The array in a type that torch has: this machine's byte order, integers with a sign."""
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        return array.astype(np.int64)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _channels_first(images: Tensor, part: str) -> Tensor:
    """`[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` -> `[N, C, H, W]`; four channels at most."""
    if images.ndim == 3:
        return images.unsqueeze(1)
    if images.ndim != 4:
        raise DatasetError(
            f"{part} has images {list(images.shape)}; needed are [N, H, W], [N, C, H, W] or "
            "[N, H, W, C]"
        )
    is_last = images.shape[-1] <= 4 < images.shape[1]
    return images.permute(0, 3, 1, 2) if is_last else images


def as_numbers(given: Any, part: str) -> Tensor:
    """Labels, whole numbers of any type -> int64 `[N]`.

    Raises:
        DatasetError: they are names, probabilities or something else.
    """
    if not isinstance(given, Tensor):
        given = np.asarray(list(given) if isinstance(given, Iterable) else given)
        if given.dtype.kind not in "bui":
            raise DatasetError(
                f"{part} has labels of {given.dtype}; needed are whole numbers that count the "
                "classes from 0"
            )
        given = torch.from_numpy(given.astype(np.int64))
    labels: Tensor = given.detach().cpu()
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        hint = "; type labels.argmax(1)" if labels.ndim == 2 and labels.shape[1] > 1 else ""
        raise DatasetError(
            f"{part} has labels {list(labels.shape)} of {str(labels.dtype).removeprefix('torch.')}"
            f"; needed are whole numbers [N] that count the classes from 0{hint}"
        )
    return labels.long()
