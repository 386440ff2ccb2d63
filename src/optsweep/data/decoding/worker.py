"""Decodes picture files into rows of an open file: here, or as a program of its own.

It imports nothing of optsweep, and no torch: so such a program starts in a fifth of a second. A
line that it reads names rows and their files. It answers with how many of them are decoded: ten
times a second, and after the last.
"""

import hashlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps

DONE, BROKEN = 1, 2  # of a row; 0 is one that nobody has tried
_HASH = 16  # bytes
_PAUSE = 0.1  # seconds between two answers
RECORD = 1 + _HASH
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Rows:
    """Pictures in an open file, which has the number `file`.

    At byte `start` are `count` pictures, uint8 `[3, size, size]` each. A record of each follows:
    its state, and the hash of the file that it was decoded from.
    """

    file: int
    start: int
    count: int
    size: int

    @property
    def width(self) -> int:
        """Bytes of a picture."""
        return 3 * self.size**2

    @property
    def records_start(self) -> int:
        """The byte at which the records begin."""
        return self.start + self.count * self.width

    def write(self, row: int, pixels: bytes, content: bytes) -> None:
        """Writes a picture, then that it is done: a kill in between costs this one."""
        os.pwrite(self.file, pixels, self.start + row * self.width)
        os.pwrite(self.file, bytes([DONE]) + content, self.records_start + row * RECORD)

    def mark_broken(self, row: int) -> None:
        """Writes that a picture cannot be read."""
        os.pwrite(self.file, bytes([BROKEN]), self.records_start + row * RECORD)

    def read(self, row: int) -> bytes:
        """The pixels of a picture."""
        return os.pread(self.file, self.width, self.start + row * self.width)

    def states(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """uint8 `[count]`: DONE, BROKEN or 0."""
        return self._records()[:, 0]

    def by_content(self) -> "dict[bytes, tuple[Rows, int]]":
        """Hash of a file -> where the picture in it is."""
        records = self._records()
        done = np.flatnonzero(records[:, 0] == DONE).tolist()
        return {records[row, 1:].tobytes(): (self, row) for row in done}

    def _records(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        found = os.pread(self.file, self.count * RECORD, self.records_start)
        return np.frombuffer(found, np.uint8).reshape(self.count, RECORD)


Known = Mapping[bytes, tuple[Rows, int]]


def known(others: Iterable[Rows]) -> Known:
    """What other files hold already, by content."""
    return {content: place for rows in others for content, place in rows.by_content().items()}


def decode_row(rows: Rows, there: Known, row: int, path: str | Path) -> None:
    """Decodes a file to its row, or copies it where its content was decoded before."""
    try:
        content = Path(path).read_bytes()
        name = hashlib.blake2b(content, digest_size=_HASH).digest()
        if name in there:
            other, place = there[name]
            pixels = other.read(place)
        else:
            pixels = decoded(io.BytesIO(content), rows.size)
    except UNREADABLE:
        rows.mark_broken(row)
    else:
        rows.write(row, pixels, name)


def decoded(file: str | IO[bytes], size: int) -> bytes:
    """A picture, upright, RGB and resized: uint8 `[3, size, size]`.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it is none, or is torn.
    """
    return np.asarray(resized(file, size, size)).transpose(2, 0, 1).tobytes()


def resized(file: str | Path | IO[bytes], height: int, width: int) -> Image.Image:
    """A picture, upright, RGB and resized.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it is none, or is torn.
    """
    with Image.open(file) as picture:
        upright = _in_colour(ImageOps.exif_transpose(picture))
    return upright.resize((width, height), Image.Resampling.BILINEAR)


def _in_colour(picture: Image.Image) -> Image.Image:
    """RGB of 8 bits. Pillow's own conversion clips 16 bits at 255, where all turns white."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def main() -> None:
    """Decodes what the lines of the input name, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it to answer
    first = json.loads(sys.stdin.readline())
    rows = Rows(**first["rows"])
    there = known(Rows(**other) for other in first["others"])
    for line in sys.stdin:
        done, answered = 0, time.monotonic()
        for row, path in json.loads(line):
            decode_row(rows, there, row, path)
            done += 1
            if time.monotonic() - answered > _PAUSE:
                print(done, flush=True)
                done, answered = 0, time.monotonic()
        if done:
            print(done, flush=True)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # who started it was killed
        os._exit(1)
