"""Files that are whole at any moment, also after a power cut.

A file is written beside its place, forced to the disk, and renamed to it: whoever reads it finds
the old content or the new one. `write` takes text or bytes; `replacing` is for libraries that want
a path; `append` adds a line. With `durable=False` a kill of the process loses nothing, a power cut
may: for what nobody needs after one, since forcing a file to the disk takes a millisecond or more.
"""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part(\..*)?")


def write(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Writes a file: the whole of it, or nothing.

    Raises:
        OSError: the folder does not exist, is full or cannot be written.
    """
    with replacing(path, durable=durable) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a path to write to; what lies there in the end takes the place of `path`.

    An exception leaves `path` as it was, and nothing beside it.
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}.part{path.suffix}")
    try:
        with _naming(path, unfinished):
            yield unfinished
            move(unfinished, path, durable=durable)
    finally:
        unfinished.unlink(missing_ok=True)


def move(unfinished: Path, path: Path, *, durable: bool = True) -> None:
    """Gives a file that is complete its place, on the same filesystem."""
    if durable:
        _sync(unfinished)
    unfinished.replace(path)
    if durable:
        sync_folder(path.parent)


def append(path: Path, line: str, *, durable: bool = True) -> None:
    """Adds a line to a file, which is made where there is none.

    What a crash left in the middle of a line stays a line of its own.
    """
    with _naming(path), path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        file.write(b"\n" * torn + line.encode() + b"\n")
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable and not size:
        sync_folder(path.parent)


def remove_unfinished(folder: Path) -> None:
    """Removes what processes that were killed while they wrote have left in a folder."""
    for path in folder.glob(".*.part*"):
        if _UNFINISHED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Forces to the disk which files a folder holds, under which names."""
    try:
        _sync(folder)
    except OSError as error:  # some network filesystems have no such thing for folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


@contextmanager
def _naming(path: Path, unfinished: Path | None = None) -> Iterator[None]:
    """Puts the file into errors that name none, such as a full disk's, or the unfinished one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(unfinished)):
            error.filename = str(path)
        raise


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
