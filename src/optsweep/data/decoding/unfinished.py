"""The file that pictures are decoded into, which in the end is the dataset's safetensors file.

So a large dataset is never in memory, and never on disk twice. Until it is whole, the file has
another name. The state of each row is in it, so that a start after a kill continues. After a power
cut nobody knows which bytes reached the disk: a file of another boot is made anew.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optsweep.data.decoding.worker import RECORD, Rows

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_KINDS = {"uint8": "U8", "int64": "I64"}
_TORN = (OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class FileLayout:
    """Where pictures of one size lie in a file of theirs, whose header takes `header` bytes."""

    count: int
    size: int
    header: int

    @property
    def end(self) -> int:
        """The byte at which what comes last begins: a multiple of 8, for int64."""
        return self.rows(-1).records_start + self.count * RECORD + self._padding

    def rows(self, file: int) -> Rows:
        """The pictures in the open file of this number."""
        return Rows(file, self.header, self.count, self.size)

    @property
    def _padding(self) -> int:
        return -(self.count * (3 * self.size**2 + RECORD)) % 8

    def tensors(self) -> dict[str, tuple[str, list[int]]]:
        """Name -> safetensors' name of its dtype, and shape; in the order in which they lie."""
        return {
            "images": ("U8", [self.count, 3, self.size, self.size]),
            "records": ("U8", [self.count, RECORD]),
            "padding": ("U8", [self._padding]),
        }


def header_bytes(space: int) -> int:
    """Bytes, a multiple of 8, that are enough for a header which quotes a text of `space` bytes."""
    return 4096 + 2 * space // 8 * 8


def open_unfinished(path: Path, layout: FileLayout) -> int:
    """Opens what a process that was killed has left, or a new file with its space reserved.

    Raises:
        OSError: the folder cannot be written, or its disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if found(file) != layout or os.fstat(file).st_size != layout.end:
            _reserve(file, layout)
    except BaseException:
        os.close(file)
        path.unlink(missing_ok=True)
        raise
    return file


def open_in_memory(layout: FileLayout) -> int:
    """A file in memory, for where no disk takes one."""
    file = os.memfd_create("pictures")
    os.ftruncate(file, layout.end)
    return file


def _reserve(file: int, layout: FileLayout) -> None:
    os.ftruncate(file, 0)
    os.posix_fallocate(file, 0, layout.end)
    _write_header(file, layout, layout.tensors(), {"boot": _boot()})


def finish(
    file: int, layout: FileLayout, tensors: Mapping[str, "np.ndarray[Any, Any]"], about: Any
) -> None:
    """Makes a whole safetensors file of it, with more tensors and what is known about them."""
    at = layout.end
    for tensor in tensors.values():
        at += os.pwrite(file, tensor.tobytes(), at)
    os.ftruncate(file, at)
    more = {name: (_KINDS[str(t.dtype)], list(t.shape)) for name, t in tensors.items()}
    _write_header(file, layout, layout.tensors() | more, about)
    os.fsync(file)


def _write_header(
    file: int,
    layout: FileLayout,
    tensors: Mapping[str, tuple[str, list[int]]],
    about: Mapping[str, str],
) -> None:
    """Writes a header as safetensors defines it: its length, then JSON, filled up with spaces."""
    header: dict[str, Any] = {"__metadata__": dict(about)}
    at = 0
    for name, (kind, shape) in tensors.items():
        size = int(np.prod(shape, dtype=np.int64)) * (8 if kind == "I64" else 1)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    length = layout.header - 8
    text = json.dumps(header).encode().ljust(length)
    if len(text) > length:
        raise ValueError(f"a header of {len(text)} bytes does not fit into {length}")
    os.pwrite(file, length.to_bytes(8, "little") + text, 0)


def found(file: int) -> FileLayout | None:
    """How pictures lie in an open file, if it is one that can be relied on."""
    with suppress(*_TORN):
        length = int.from_bytes(os.pread(file, 8, 0), "little")
        if length > os.fstat(file).st_size:
            return None
        header = json.loads(os.pread(file, length, 8))
        count, _, size, _ = header["images"]["shape"]
        whole = "boot" not in header["__metadata__"]
        if whole or header["__metadata__"]["boot"] == _boot():
            return FileLayout(count, size, 8 + length)
    return None


def _boot() -> str:
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return ""
