"""A small disk in memory that can be full, as nothing else can for root."""

import errno
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEGABYTES = 48
_CHUNKS = (1 << 20, 1 << 12, 1)  # bytes at a time: the last ones fill what larger ones left


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a small disk at `folder` for the block; False where that is not permitted."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={_MEGABYTES}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


class FullDisk:
    """Keeps the disk that `path` lies on full until it is released."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._released = threading.Event()
        self._fill()
        self._thread = threading.Thread(target=self._keep_full, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Frees the disk again."""
        self._released.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _keep_full(self) -> None:
        while not self._released.wait(0.05):
            self._fill()

    def _fill(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            for size in _CHUNKS:
                try:
                    while not self._path.stat().st_size > _MEGABYTES << 20:
                        file.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
