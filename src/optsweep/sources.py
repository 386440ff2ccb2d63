"""Where pictures come from: scikit-learn's digits, torchvision's classes, a person's own folder.

Each source returns a `Source`: uint8 images, int64 labels, class names, the value of white and a
digest. What is slow to read is kept in one safetensors file under `data_dir`, which later runs
map into memory rather than read: all processes of a machine then share its pages.
"""

import glob
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from optsweep.errors import DatasetError, SettingsError
from optsweep.splits import Split, hold_out

# What torchvision's ImageFolder takes for a picture.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
# Changes whenever what is decoded does: files of another version are decoded anew.
_VERSION = 2
_UNREADABLE = (OSError, SafetensorError, KeyError, ValueError, TypeError)
TEST_SHARE = 0.2  # kept for test where a source comes without test pictures


@dataclass(frozen=True)
class Source:
    """A dataset as its publisher gives it: `peak` is the value of white, `digest` a SHA-256."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    peak: int
    digest: str


def make_source(train: Split, test: Split, classes: Sequence[str], *, peak: int = 255) -> Source:
    """A source with the digest of its pixels, labels and class names.

    Raises:
        DatasetError: images or labels have another dtype or shape than `Split` says.
    """
    content = hashlib.sha256(json.dumps([*classes, peak]).encode())
    for split in (train, test):
        _check_split(split, len(classes))
        content.update(str(tuple(split.images.shape)).encode())
        content.update(split.images.contiguous().numpy().data)
        content.update(split.labels.contiguous().numpy().data)
    return Source(train, test, tuple(classes), peak, content.hexdigest()[:32])


def _check_split(split: Split, classes: int) -> None:
    images, labels = split.images, split.labels
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
        raise DatasetError(
            f"images are {images.dtype} {list(images.shape)}; needed are uint8 [N, C, H, W], N > 0"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise DatasetError(
            f"labels are {labels.dtype} {list(labels.shape)}; needed are int64 [{len(images)}]"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DatasetError(
            f"labels reach from {labels.min()} to {labels.max()}, for {classes} classes"
        )


def digits(*, data_dir: Path) -> Source:
    """scikit-learn's 1,797 digits of 8x8 pixels from 0 to 16; a fixed stratified fifth is for test.

    Kept on disk like the others: importing scikit-learn takes a second, mapping them a millisecond.
    """

    def read() -> Source:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = torch.from_numpy(bunch.images.astype(np.uint8)).unsqueeze(1)
        labels = torch.from_numpy(bunch.target.astype(np.int64))
        train, test = hold_out(Split(images, labels), TEST_SHARE)
        return make_source(train, test, [str(name) for name in bunch.target_names], peak=16)

    return cached(data_dir, "digits", lambda: importlib.metadata.version("scikit-learn"), read)


def torchvision_source(
    cls: type[Any], *, data_dir: Path, mirror: str | None = None, train_on: str = "train"
) -> Source:
    """One of torchvision's dataset classes that take `train=` and hold `data` and `targets`.

    `train_on="test"` trains on the test pictures too, as one of the tutorials does.

    Raises:
        DatasetError: a file is corrupt, or missing and out of reach.
    """
    if train_on not in ("train", "test"):
        raise SettingsError(f"dataset.train_on={train_on}: must be train or test")
    from optsweep.download import extracted, fetch  # torchvision takes a second to import

    def read() -> Source:
        fetch(cls, data_dir, mirror)
        return _read_torchvision(cls, data_dir)

    source = cached(data_dir, cls.__name__, lambda: _stamp(extracted(cls, data_dir)), read)
    return replace(source, train=source.test) if train_on == "test" else source


def image_folder(*, data_dir: Path, path: str | None = None, size: int = 32) -> Source:
    """A person's own pictures, RGB, resized to `size` x `size`; decoded once, then mapped.

    `path` holds one folder per class, of which a fixed stratified fifth is kept for test, or
    `train/` and `test/` with one folder per class each.

    Raises:
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
        data_dir, f"folder-{size}-{key}", lambda: _stamp(files), lambda: _decode(found, size)
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
        # Pillow decodes outside of the interpreter's lock, so threads use all cores.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            images = torch.from_numpy(np.stack(list(pool.map(_decoder(size), files))))
        labels = torch.tensor([names.index(name) for name in classes for _ in classes[name]])
        splits.append(Split(images, labels))
    train, test = splits if len(splits) == 2 else hold_out(splits[0], TEST_SHARE)
    return make_source(train, test, names)


def _in_colour(picture: Image.Image) -> Image.Image:
    """RGB of 8 bits. Pillow's own conversion clips 16 bits at 255, where all turns white."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _decoder(size: int) -> Callable[[Path], np.ndarray[Any, Any]]:
    def decode(path: Path) -> np.ndarray[Any, Any]:
        try:
            with Image.open(path) as picture:
                upright = _in_colour(ImageOps.exif_transpose(picture))
            resized = upright.resize((size, size), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DatasetError(
                f"{path} cannot be read as a picture ({error}); remove it"
            ) from error
        return np.asarray(resized).transpose(2, 0, 1)

    return decode


def _read_torchvision(cls: type[Any], data_dir: Path) -> Source:
    try:
        parts = [cls(str(data_dir), train=train, download=False) for train in (True, False)]
        splits = [Split(as_images(part.data), as_labels(part.targets)) for part in parts]
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        AssertionError,
        TypeError,
        AttributeError,
    ) as error:
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


def _stamp(files: Iterable[Path]) -> str:
    """Changes when a file is added, removed or written to; reads no content."""
    stats = [
        (str(file), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
        if file.is_file()
    ]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def cached(
    data_dir: Path, name: str, stamp: Callable[[], str], read: Callable[[], Source]
) -> Source:
    """What `read` returns, from one file under `data_dir` once it was read.

    `stamp` is asked again after reading, since `read` may download what it reads. The file is
    replaced atomically; a torn or foreign one is read anew; of processes that start together one
    reads and the others wait for it. Where the folder cannot be written, nothing is kept.
    """
    folder = data_dir / ".decoded"
    name = f"{name}-v{_VERSION}"
    with suppress(*_UNREADABLE):
        return _load_source(folder / f"{name}-{stamp()}.safetensors")
    with _lock(folder):
        with suppress(*_UNREADABLE):
            return _load_source(folder / f"{name}-{stamp()}.safetensors")
        source = read()
        try:
            file = _save_source(source, folder, name, stamp())
        except (OSError, SafetensorError):
            return source
        return _load_source(file)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError:
        yield  # a folder that cannot be written cannot be raced for either
        return
    try:
        yield
    finally:
        lock.release()


def _save_source(source: Source, folder: Path, name: str, stamp: str) -> Path:
    for stale in folder.glob(f"{glob.escape(name)}-*.safetensors"):
        stale.unlink(missing_ok=True)  # who has it mapped keeps it until they end
    file = folder / f"{name}-{stamp}.safetensors"
    temporary = file.with_suffix(".part")
    tensors = {
        "train.images": source.train.images.contiguous(),
        "train.labels": source.train.labels,
        "test.images": source.test.images.contiguous(),
        "test.labels": source.test.labels,
    }
    about = {
        "classes": json.dumps(source.classes),
        "peak": str(source.peak),
        "digest": source.digest,
    }
    try:
        save_file(tensors, temporary, metadata=about)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _load_source(file: Path) -> Source:
    with safe_open(file, framework="pt") as stored:
        about = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    return Source(
        Split(tensors["train.images"], tensors["train.labels"]),
        Split(tensors["test.images"], tensors["test.labels"]),
        tuple(json.loads(about["classes"])),
        int(about["peak"]),
        about["digest"],
    )
