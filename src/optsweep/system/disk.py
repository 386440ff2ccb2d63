"""Whether a folder can be written and has enough free space."""

import errno
import shutil
import tempfile
from pathlib import Path

from optsweep.errors import FolderError


def refuse_full(folder: Path, needed: int, key: str) -> None:
    """Makes sure that a folder can be written and has `needed` bytes free.

    Raises:
        FolderError: it cannot or has not; `key` is what to give another folder with.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{free / 2**20:.1f} MB are free")
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(b"0" * 4096)
    except OSError as error:
        raise FolderError(
            f"{folder} cannot take the {needed / 2**20:.1f} MB that are needed "
            f"({error.strerror}); free or open it, or give another with {key}=/path/to/folder"
        ) from error
