"""A person's own pictures: a folder for each class, found, checked and decoded."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from optsweep.data.cache import cached, stamp_of
from optsweep.data.decoding import decode
from optsweep.data.layout import ALL, Layout, find
from optsweep.data.source import TEST_SHARE, Source, make_source
from optsweep.data.splits import Split, hold_out
from optsweep.errors import DatasetError, SettingsError


def image_folder(*, data_dir: Path, path: str | None = None, size: int = 32) -> Source:
    """A person's own pictures, RGB, resized to `size` x `size`; decoded once, then mapped.

    Args:
        data_dir: the folder that keeps what was decoded.
        path: a folder that holds one folder per class, of which a fixed stratified fifth is kept
            for test; or a folder for each part of the dataset (`layout.PARTS`), train and another,
            with one folder per class each.
        size: the height and width of a picture, in pixels.

    Raises:
        SettingsError: no folder is given.
        DatasetError: the folder is missing or empty, a picture is broken, or the layout is none
            that `layout.find` knows.
    """
    root = _existing_folder(path)
    found = find(root)
    key = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    source = cached(
        data_dir,
        f"folder-{size}-{key}",
        lambda: stamp_of(found.files),
        lambda: _decode(found, size),
    )
    return replace(source, skipped={**found.skipped, **source.skipped})


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


def _decode(found: Layout, size: int) -> Source:
    names = list(next(iter(found.parts.values())))
    splits = {}
    for part, classes in found.parts.items():
        files = [picture for pictures in classes.values() for picture in pictures]
        labels = torch.tensor([names.index(name) for name in classes for _ in classes[name]])
        splits[part] = Split(decode(files, size), labels)
    if ALL in splits:
        train, test = hold_out(splits[ALL], TEST_SHARE)
        return make_source(train, test, names)
    return make_source(splits["train"], splits.get("test"), names, val=splits.get("val"))
