"""The layout of a folder of pictures: which of its folders are parts, and which are classes.

`find` is given the folder and says which files each class of each part has. Nothing is opened.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from optsweep.data.source import skipped_words
from optsweep.errors import DatasetError

# What the parts of a dataset are usually called, in any case.
PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
ALL = "all"  # the only part of a folder of classes
_PART_OF = {name: part for part, names in PARTS.items() for name in names}
# What else is meant as a part, and what such a name may have beside it: `test-data`, `TrainSet`.
_MEANT = _PART_OF | {"tests": "test", "holdout": "test"}
_MEANT |= dict.fromkeys(("validate", "validating", "development", "eval", "evaluation"), "val")
_BESIDE = "sets?|data|datasets?|images?|imgs?|pictures?|pics?|photos?|splits?|parts?|samples?|files"
_WORDS = re.compile(r"[^\W\d_]+")
_SPELLED = re.compile(
    f"(?:{_BESIDE})*({'|'.join(sorted(_MEANT, key=len, reverse=True))})(?:{_BESIDE})*"
)
# Pillow knows the endings of these formats, and leaves decoding to other programs.
_NOT_DECODED = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")


@dataclass(frozen=True)
class Layout:
    """What a folder of pictures holds.

    `parts` maps "train", "val" and "test", or "all" alone, to class names and their files, in
    sorted order. Files are texts: to make a `Path` of each takes longer than to find it. `skipped`
    counts the files that are left out, by suffix or by where they lie.
    """

    parts: Mapping[str, Mapping[str, Sequence[str]]]
    skipped: Mapping[str, int]

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return list(next(iter(self.parts.values())))

    @property
    def files(self) -> list[str]:
        """All pictures, part after part and class after class."""
        return [
            file for classes in self.parts.values() for files in classes.values() for file in files
        ]


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of pictures that Pillow can decode, in lower case, with their dots."""
    known = Image.registered_extensions().items()  # this has all plugins loaded
    return frozenset(
        suffix for suffix, kind in known if kind in Image.OPEN and kind not in _NOT_DECODED
    )


def find(root: Path) -> Layout:
    """Which pictures each class of each part has; `root` has a folder for each part or class.

    Raises:
        DatasetError: a part is missing, there twice or spelled in another way; there are fewer than
            two classes; a class is empty; or the parts have different classes.
    """
    folders = _folders(root)
    found = _parts(root, folders)
    skipped: Counter[str] = Counter()
    if found:
        _count_apart(root, [folder for folder in folders if folder not in found.values()], skipped)
    places = found or {ALL: root}
    parts = {part: _classes(folder, skipped) for part, folder in places.items()}
    for part in parts:
        _refuse_other_classes(places, "train" if found else ALL, part, parts)
    return Layout(parts, dict(sorted(skipped.items())))


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _parts(root: Path, folders: Sequence[Path]) -> dict[str, Path]:
    """The folder of each part; empty where the folders are classes."""
    found: dict[str, Path] = {}
    for folder in folders:
        part = _PART_OF.get(folder.name.lower())
        if part in found:
            raise DatasetError(
                f"{root} has {found[part].name}/ and {folder.name}/, which both mean the {part} "
                f"part; make one folder of them"
            )
        if part:
            found[part] = folder
    others = [folder for folder in folders if folder not in found.values()]
    _refuse_spelling(root, others, found)
    if "train" in found and len(found) > 1:
        return {part: found[part] for part in PARTS if part in found}
    if found and not (others and all(map(_holds_pictures, found.values()))):
        raise _lacking(root, found)
    return {}  # a train beside cars and ships is a class


def _refuse_spelling(root: Path, others: Sequence[Path], found: Mapping[str, Path]) -> None:
    """Refuses names that mean a part to a person: `Train_set`, `test-data`, `validate`.

    Names with another word (`pets_train`) are such only where all are, and none holds pictures.
    """
    meant = {folder.name: part for folder in others if (part := _spelled(folder.name))}
    if not meant and not found and not any(map(_holds_pictures, others)):
        named = {folder.name: _named(folder.name) for folder in others}
        meant = {name: part for name, part in named.items() if part}
        meant = meant if len(meant) == len(others) else {}
    if meant:
        renamed = ", ".join(f"{name} to {part}" for name, part in meant.items())
        raise DatasetError(
            f"{root} has {' and '.join(f'{name}/' for name in meant)}, which "
            f"{'looks' if len(meant) == 1 else 'look'} like parts of a dataset and not like "
            f"classes; rename {renamed}, or give a class another name"
        )


def _spelled(name: str) -> str | None:
    """The part that a name means, which has no other word: `training_images`."""
    match = _SPELLED.fullmatch("".join(_WORDS.findall(name)).lower())
    return _MEANT[match[1]] if match else None


def _named(name: str) -> str | None:
    """The part that one of a name's words means: `pets_train`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return next((_MEANT[w.lower()] for w in _WORDS.findall(words) if w.lower() in _MEANT), None)


def _holds_pictures(folder: Path) -> bool:
    """Whether pictures lie in the folder itself, as they do in a class."""
    return any(entry.suffix.lower() in suffixes() for entry in folder.iterdir() if entry.is_file())


def _lacking(root: Path, found: Mapping[str, Path]) -> DatasetError:
    there = [folder.name for folder in found.values()]
    lacking = "test/ or val/; add one" if "train" in found else "train/; add it"
    has = " and ".join(f"{name}/" for name in there)
    return DatasetError(f"{root} has {has} but no {lacking}, or give {root / there[0]}")


def _classes(part: Path, skipped: Counter[str]) -> dict[str, list[str]]:
    """Class name -> its picture files, both in sorted order; counts what is skipped."""
    _count_loose(part, skipped)
    classes = {folder.name: pictures_below(folder, skipped) for folder in _folders(part)}
    empty = [name for name, files in classes.items() if not files]
    if len(classes) < 2 or empty:
        lack = f"no pictures in {', '.join(empty)}" if empty else f"{len(classes)} class folders"
        beside = f" ({skipped_words(skipped)})" if skipped else ""
        raise DatasetError(
            f"{part} holds {lack}{beside}; needed are two or more folders, one per class, each "
            "with pictures (.jpg, .png or what else Pillow reads)"
        )
    return classes


def pictures_below(folder: Path, skipped: Counter[str]) -> list[str]:
    """The picture files at any depth in a folder, sorted; counts the others by suffix."""
    pictures, known = [], suffixes()
    for file in _visible(folder):
        if os.path.splitext(file)[1].lower() in known:  # noqa: PTH122 (makes no Path)
            pictures.append(file)
        else:
            skipped[Path(file).suffix.lower() or "without a suffix"] += 1
    return sorted(pictures, key=lambda file: file.split("/"))


def _visible(folder: str | Path) -> Iterator[str]:
    """The files at any depth in a folder, without hidden ones and those in hidden folders.

    A directory knows which of its entries are files: none is asked, which takes half of the time.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _visible(entry.path)
            elif entry.is_file():
                yield entry.path


def _count_loose(folder: Path, skipped: Counter[str]) -> None:
    """Counts the pictures that lie beside the class folders, and so have no class."""
    loose = [entry for entry in folder.iterdir() if entry.suffix.lower() in suffixes()]
    if count := sum(entry.is_file() and entry.name[0] != "." for entry in loose):
        skipped["in no class folder"] += count


def _count_apart(root: Path, others: Iterable[Path], skipped: Counter[str]) -> None:
    """Counts the files in folders that are no parts, and pictures beside the parts."""
    _count_loose(root, skipped)
    for folder in others:
        if count := sum(1 for _ in _visible(folder)):
            skipped[f"{folder.name}/"] += count


def _refuse_other_classes(
    places: Mapping[str, Path],
    first: str,
    other: str,
    parts: Mapping[str, Mapping[str, Sequence[str]]],
) -> None:
    pair = [set(parts[first]), set(parts[other])]
    if pair[0] == pair[1]:
        return
    only = [", ".join(sorted(pair[i] - pair[1 - i])) or "none" for i in (0, 1)]
    raise DatasetError(
        f"{places[first]} and {places[other]} must have the same classes; only in {first}: "
        f"{only[0]}; only in {other}: {only[1]}"
    )
