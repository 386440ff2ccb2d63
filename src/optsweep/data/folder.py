"""A person's own pictures: a folder for each class, found, checked and decoded."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from optsweep.data.cache import cached, stamp_of
from optsweep.data.decoding import decode
from optsweep.data.source import TEST_SHARE, Source, make_source
from optsweep.data.splits import Split, hold_out
from optsweep.errors import DatasetError, SettingsError

# What torchvision's ImageFolder takes for a picture.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def image_folder(*, data_dir: Path, path: str | None = None, size: int = 32) -> Source:
    """A person's own pictures, RGB, resized to `size` x `size`; decoded once, then mapped.

    Args:
        data_dir: the folder that keeps what was decoded.
        path: a folder that holds one folder per class, of which a fixed stratified fifth is kept
            for test, or `train/` and `test/` with one folder per class each.
        size: the height and width of a picture, in pixels.

    Raises:
        SettingsError: no folder is given.
        DatasetError: the folder is missing or empty, a picture is broken, or train and test have
            different classes.
    """
    root = _existing_folder(path)
    if (root / "train").is_dir() != (root / "test").is_dir():
        there, lacking = ("train", "test") if (root / "train").is_dir() else ("test", "train")
        raise DatasetError(f"{root} has {there}/ but no {lacking}/; add it, or give {root / there}")
    parts = [root / "train", root / "test"] if (root / "train").is_dir() else [root]
    found = [_pictures(part) for part in parts]
    _same_classes(parts, [list(classes) for classes in found])
    files = [picture for classes in found for pictures in classes.values() for picture in pictures]
    key = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return cached(
        data_dir, f"folder-{size}-{key}", lambda: stamp_of(files), lambda: _decode(found, size)
    )


def _existing_folder(path: str | None) -> Path:
    if not path:
        raise SettingsError(
            "dataset=image_folder needs the folder of your pictures, with one folder per class; "
            "type dataset.path=/path/to/pictures"
        )
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DatasetError(f"dataset.path={path}: {root} {what}; give a folder of pictures")
    return root


def _pictures(root: Path) -> dict[str, list[Path]]:
    """Class name -> its picture files, both in sorted order."""
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
    classes = {
        folder.name: sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in IMG_EXTENSIONS
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        )
        for folder in folders
    }
    empty = [name for name, files in classes.items() if not files]
    if len(classes) < 2 or empty:
        lack = f"no pictures in {', '.join(empty)}" if empty else f"{len(classes)} class folders"
        raise DatasetError(
            f"{root} holds {lack}; needed are two or more folders, one per class, each with "
            f"pictures ({', '.join(IMG_EXTENSIONS)})"
        )
    return classes


def _same_classes(parts: Sequence[Path], classes: Sequence[list[str]]) -> None:
    if len(parts) == 2 and classes[0] != classes[1]:
        only = [sorted(set(classes[i]) - set(classes[1 - i])) for i in (0, 1)]
        raise DatasetError(
            f"{parts[0]} and {parts[1]} must have the same classes; only in train: "
            f"{', '.join(only[0]) or 'none'}; only in test: {', '.join(only[1]) or 'none'}"
        )


def _decode(found: Sequence[dict[str, list[Path]]], size: int) -> Source:
    names = list(found[0])
    splits = []
    for classes in found:
        files = [picture for pictures in classes.values() for picture in pictures]
        labels = torch.tensor([names.index(name) for name in classes for _ in classes[name]])
        splits.append(Split(decode(files, size), labels))
    train, test = splits if len(splits) == 2 else hold_out(splits[0], TEST_SHARE)
    return make_source(train, test, names)
