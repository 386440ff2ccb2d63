"""Brings a torchvision dataset's files to `data_dir`, by torchvision's own download.

torchvision waits for ever on a dead address and answers a corrupt file with a bare error. So what
lies there is checked first, by the checksums that the dataset's class carries, and an address is
tried for a bounded time before the download starts.
"""

import http.client
import math
import queue
import shutil
import socket
import struct
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchvision.datasets.utils import check_integrity

from optsweep.errors import DatasetError, FolderError, SettingsError
from optsweep.system import files
from optsweep.system.redaction import redacted

_APART = ".downloading"  # in `data_dir`: made here, and removed again
PATIENCE = 5.0  # seconds until an address that does not answer counts as out of reach


@dataclass(frozen=True)
class Archive:
    """A file to download: where it belongs, its MD5, and the addresses that have it."""

    path: Path
    md5: str | None
    urls: tuple[str, ...]


def fetch(cls: type[Any], data_dir: Path, mirror: str | None = None) -> None:
    """Makes sure that the files of `cls` lie under `data_dir`, downloading what is missing.

    Raises:
        DatasetError: a file is corrupt (it is named, with what to delete), no address answers
            within `PATIENCE`, or the disk is full.
        FolderError: the folder cannot be written.
    """
    refuse_corrupt(cls, data_dir)
    if _is_complete(cls, data_dir):
        return
    mirrored = with_mirror(cls, mirror)
    missing = [archive for archive in archives(mirrored, data_dir) if not archive.path.is_file()]
    _refuse_unwritable(missing[0].path.parent if missing else data_dir)
    if missing:
        _refuse_unreachable(missing[0])
    try:
        with _set_apart(mirrored, data_dir) as apart, _socket_timeout(PATIENCE):
            if mirror is not None:
                _copy_local(missing, apart, data_dir)
            for train in (True, False):
                mirrored(str(apart), train=train, download=True)
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise _unavailable(missing, data_dir, error) from error


@contextmanager
def _set_apart(cls: type[Any], data_dir: Path) -> Iterator[Path]:
    """A folder to download into, whose files get their places once they are whole.

    So a download that was killed leaves nothing that looks like the file. Where another file than
    the whole dataset's is at fault, the archives that are whole keep their places all the same.
    """
    apart = data_dir / _APART
    shutil.rmtree(apart, ignore_errors=True)  # of one that was killed
    there = {archive.path.relative_to(data_dir): archive for archive in archives(cls, data_dir)}
    try:
        for place in there:
            (apart / place).parent.mkdir(parents=True, exist_ok=True)
            if (data_dir / place).is_file():
                (apart / place).symlink_to((data_dir / place).absolute())
        yield apart
        _give_places(apart, data_dir, (path.relative_to(apart) for path in apart.rglob("*")))
    except BaseException:
        # Of one without a checksum nobody knows whether it is whole.
        known = {at: one.md5 for at, one in there.items() if one.md5}
        whole = (at for at, md5 in known.items() if check_integrity(apart / at, md5))
        _give_places(apart, data_dir, whole)
        raise
    finally:
        shutil.rmtree(apart, ignore_errors=True)


def _copy_local(missing: Iterable[Archive], apart: Path, data_dir: Path) -> None:
    """Copies what a `file:` address holds: torchvision's own download asks a server for its length.

    Raises:
        DatasetError: the address holds another file than was published.
    """
    for archive in missing:
        for url in archive.urls:
            if not url.lower().startswith("file:"):
                continue
            place = apart / archive.path.relative_to(data_dir)
            with urllib.request.urlopen(url) as source, place.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            if not check_integrity(place, archive.md5):
                raise _by_hand(archive, f"{redacted(url)} is another file: its MD5 differs")
            break


def _give_places(apart: Path, data_dir: Path, places: Iterable[Path]) -> None:
    for place in list(places):
        if (apart / place).is_file() and not (apart / place).is_symlink():
            (data_dir / place).parent.mkdir(parents=True, exist_ok=True)
            files.move(apart / place, data_dir / place)


def with_mirror(cls: type[Any], mirror: str | None) -> type[Any]:
    """`cls` downloading from the base address `mirror`; its folder's name stays the same.

    Raises:
        SettingsError: it is no address of a kind that files are fetched from.
    """
    if mirror is None:
        return cls
    if not mirror.lower().startswith(("https://", "http://", "file:///")):
        raise SettingsError(
            f"dataset.mirror={redacted(mirror)}: it must begin with https://, http:// or file:///"
        )
    base = mirror.rstrip("/") + "/"
    address = {"mirrors": [base]} if hasattr(cls, "mirrors") else {"url": base + cls.filename}
    return type(cls.__name__, (cls,), address)


def archives(cls: type[Any], data_dir: Path) -> list[Archive]:
    """The downloads that a class of MNIST's or CIFAR's kind consists of; else none are known."""
    if hasattr(cls, "resources") and hasattr(cls, "mirrors"):
        raw = data_dir / cls.__name__ / "raw"
        return [
            Archive(raw / name, md5, tuple(base + name for base in cls.mirrors))
            for name, md5 in cls.resources
        ]
    if hasattr(cls, "tgz_md5"):
        return [Archive(data_dir / cls.filename, cls.tgz_md5, (cls.url,))]
    return []


def refuse_corrupt(cls: type[Any], data_dir: Path) -> None:
    """Checks what already lies there.

    Raises:
        DatasetError: a download or an extracted file is torn or has been changed.
    """
    for path, sound in _checks(cls, data_dir):
        if path.is_file() and not sound:
            if path.parent.name == getattr(cls, "base_folder", None):
                raise _not_published(cls, path)
            raise DatasetError(
                f"{path} is corrupt or half-downloaded ({path.stat().st_size} bytes); "
                f"delete it and run again: rm '{path}'"
            )


def _not_published(cls: type[Any], path: Path) -> DatasetError:
    """Why an unpacked file is refused, which a person may have made."""
    return DatasetError(
        f"{path} is not {cls.__name__}'s own: its MD5 is another ({path.stat().st_size} bytes); "
        f"if it is corrupt or half-downloaded, delete it and run again: rm '{path}'; if you made "
        "it, put its pictures into folders: dataset=image_folder dataset.path=/path/to/pictures"
    )


def _checks(cls: type[Any], data_dir: Path) -> Iterator[tuple[Path, bool]]:
    for archive in archives(cls, data_dir):
        yield archive.path, check_integrity(archive.path, archive.md5)
        if hasattr(cls, "mirrors"):
            unpacked = archive.path.with_suffix("")
            yield unpacked, _is_whole_idx(unpacked)
    for name, md5 in _batches(cls):
        path = data_dir / cls.base_folder / name
        yield path, check_integrity(path, md5)


def _batches(cls: type[Any]) -> list[tuple[str, str]]:
    if not hasattr(cls, "tgz_md5"):
        return []
    return [*cls.train_list, *cls.test_list, (cls.meta["filename"], cls.meta["md5"])]


def _is_whole_idx(path: Path) -> bool:
    """Whether an IDX file is as long as its header says.

    The header is big-endian: two zero bytes, the element type (8 is uint8), the number of
    dimensions, and each dimension as uint32 (LeCun, "THE IDX FILE FORMAT").
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:3] != b"\0\0\x08":
            return False
        sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        return False
    length: int = math.prod(struct.unpack(f">{magic[3]}I", sizes))
    return path.stat().st_size == 4 + len(sizes) + length


def _is_complete(cls: type[Any], data_dir: Path) -> bool:
    needed = extracted(cls, data_dir)
    return bool(needed) and all(path.is_file() for path in needed)


def extracted(cls: type[Any], data_dir: Path) -> list[Path]:
    """The files that the class reads, as far as they are known."""
    if hasattr(cls, "mirrors"):
        return [archive.path.with_suffix("") for archive in archives(cls, data_dir)]
    return [data_dir / cls.base_folder / name for name, _ in _batches(cls)]


def _refuse_unwritable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FolderError(
            f"{folder} cannot be written ({error.strerror}), and the dataset is to go there; open "
            "or free it, give another with data_dir=/path/to/folder, or type dataset=digits, "
            "which needs none"
        ) from error


def _refuse_unreachable(archive: Archive) -> None:
    """Tries all addresses of a file at once; a name server that hangs is waited for no longer."""
    answers: queue.Queue[str | None] = queue.Queue()
    deadline = time.monotonic() + PATIENCE

    def ask(url: str) -> None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                answers.put(None)
        except http.client.HTTPException as error:  # which may quote a password
            answers.put(f"{redacted(url)}: {type(error).__name__}")
        except (OSError, ValueError) as error:
            answers.put(f"{redacted(url)}: {getattr(error, 'reason', error)}")

    for url in archive.urls:
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    reasons = []
    for url in archive.urls:
        try:
            reason = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            reasons.append(f"{redacted(url)}: no answer within {PATIENCE:.0f} s")
            break
        if reason is None:
            return
        reasons.append(reason)
    raise _by_hand(archive, "; ".join(reasons))


def _by_hand(archive: Archive, reason: str) -> DatasetError:
    return DatasetError(
        f"{archive.path.name} cannot be downloaded ({reason}); put it into {archive.path.parent} "
        "by hand, name another address with dataset.mirror=URL, or type dataset=digits, "
        "which needs no download"
    )


def _unavailable(missing: list[Archive], data_dir: Path, error: Exception) -> DatasetError:
    lacking = [archive for archive in missing if not archive.path.is_file()]
    if missing and isinstance(error, urllib.error.URLError | TimeoutError):
        return _by_hand((lacking or missing)[0], str(error))
    if lacking and not isinstance(error, OSError):
        return _by_hand(lacking[0], f"the address sends another file: {error}")
    return DatasetError(
        f"the dataset cannot be brought to {data_dir} ({type(error).__name__}: {error}); "
        "free or open that folder, or give another with data_dir=/path/to/folder"
    )


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torchvision opens its connections without a timeout; the default is the only way in."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
