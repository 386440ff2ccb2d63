"""A person's own pictures: a folder for each class, found, checked and decoded."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from optsweep.config.validators import yes_or_no
from optsweep.data.cache import cached, place, stamp_of
from optsweep.data.decoding.pictures import Pictures
from optsweep.data.layout import ALL, Layout, find
from optsweep.data.source import TEST_SHARE, Source, make_source
from optsweep.data.splits import Split, hold_out
from optsweep.errors import DatasetError, SettingsError


def image_folder(
    *, data_dir: Path, path: str | None = None, size: int = 32, skip_broken: bool = False
) -> Source:
    """A person's own pictures, RGB, resized to `size` x `size`; decoded once, then mapped.

    Args:
        data_dir: the folder that keeps what was decoded.
        path: a folder that holds one folder per class, of which a fixed stratified fifth is kept
            for test; or a folder for each part of the dataset (`layout.PARTS`), train and another,
            with one folder per class each.
        size: the height and width of a picture, in pixels.
        skip_broken: continue without the pictures that cannot be read.

    Raises:
        SettingsError: no folder is given.
        DatasetError: the folder is missing or empty, a picture is broken, or the layout is none
            that `layout.find` knows.
    """
    root = _existing_folder(path)
    yes_or_no("dataset.skip_broken", skip_broken)
    found = find(root)
    files = found.files
    stamp = stamp_of(files)  # what is written to a file from now on is seen at the next start
    key = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    name, space = f"folder-{size}-{key}", len(json.dumps(found.classes))
    file, like = place(data_dir, name, stamp), place(data_dir, f"folder-{size}-*", "*")
    kept = stamp + "-without-broken" * skip_broken
    with Pictures(files, size, file, f"{like.stem}.*", space) as pictures:
        source = cached(
            data_dir,
            name,
            lambda: kept,
            lambda: _decode(found, pictures, skip_broken),
            pictures.keep,
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


def _decode(found: Layout, pictures: Pictures, skip_broken: bool) -> Source:
    images, sound = pictures.decode(skip_broken)
    names, splits, first = found.classes, {}, 0
    for part, classes in found.parts.items():
        labels = torch.tensor([names.index(name) for name in classes for _ in classes[name]])
        rows = torch.arange(first, first + len(labels))
        first += len(labels)
        splits[part] = Split(images, labels[sound[rows]], rows[sound[rows]])
        _refuse_emptied(splits[part], names)
    if ALL in splits:
        train, test = hold_out(splits[ALL], TEST_SHARE)
        source = make_source(train, test, names)
    else:
        source = make_source(splits["train"], splits.get("test"), names, val=splits.get("val"))
    broken = int((~sound).sum())
    return replace(source, skipped={"broken": broken} if broken else {})


def _refuse_emptied(split: Split, names: Sequence[str]) -> None:
    counts = torch.bincount(split.labels, minlength=len(names)).tolist()
    if empty := [name for name, count in zip(names, counts, strict=True) if count == 0]:
        raise DatasetError(
            f"no picture of {', '.join(empty)} can be read, and dataset.skip_broken=true leaves "
            "them all out; remove these folders, or put pictures there"
        )
