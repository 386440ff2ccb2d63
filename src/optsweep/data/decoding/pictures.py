"""Picture files on their way into the file that keeps their dataset."""

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from optsweep.data.decoding import unfinished
from optsweep.data.decoding.programs import decode_into, refuse_broken
from optsweep.data.decoding.unfinished import FileLayout
from optsweep.data.decoding.worker import DONE, Rows
from optsweep.errors import FolderError
from optsweep.system import files as system_files
from optsweep.system.disk import refuse_full

_SUFFIX = ".unfinished"
_IN_MEMORY = 2**29  # bytes that memory may take where the disk cannot
_WORTH_SAYING = 10**9  # bytes of disk


class Pictures:
    """The pictures in `files`, in RGB and `size` x `size`, decoded into a file beside `place`.

    `place` is where the file goes once it is whole. `like` is a pattern of such files beside it:
    what they hold is not decoded again. `space` is how many bytes their classes take in a header.
    """

    def __init__(self, files: Sequence[str], size: int, place: Path, like: str, space: int) -> None:
        self._files = files
        self._layout = FileLayout(len(files), size, unfinished.header_bytes(space))
        self._unfinished = place.with_suffix(_SUFFIX)
        self._like = like
        self._opened: list[int] = []
        self._on_disk = False

    def __enter__(self) -> "Pictures":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        for file in self._opened:
            os.close(file)
        self._opened.clear()

    def decode(self, skip_broken: bool) -> tuple[Tensor, Tensor]:
        """All pictures, uint8 `[N, 3, size, size]`, mapped; and which are sound, bool `[N]`.

        Raises:
            DatasetError: a picture is broken, and `skip_broken` is not set.
            FolderError: the disk has not the space that they need.
        """
        rows = self._layout.rows(self._open())
        decode_into(rows, self._files, list(self._others()))
        if not skip_broken:
            refuse_broken(rows, self._files)
        mapped = mmap.mmap(rows.file, 0, flags=mmap.MAP_PRIVATE)
        pixels = np.frombuffer(mapped, np.uint8, rows.count * rows.width, rows.start)
        images = torch.from_numpy(pixels.reshape(rows.count, 3, rows.size, rows.size))
        return images, torch.from_numpy(rows.states() == DONE)

    def keep(self, tensors: Mapping[str, Tensor], about: Mapping[str, str], place: Path) -> None:
        """Makes a whole file of it, with these tensors beside the pictures.

        Raises:
            OSError: no disk has taken the pictures.
        """
        if not self._on_disk:
            raise OSError("the pictures are in memory")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        unfinished.finish(self._opened[0], self._layout, arrays, about)
        system_files.move(self._unfinished, place)

    def _open(self) -> int:
        folder, needed = self._unfinished.parent, self._layout.end
        reserved = self._unfinished.is_file() and self._unfinished.stat().st_size == needed
        if needed >= _WORTH_SAYING:
            Console().print(
                f"decoding {len(self._files):,} pictures takes {needed / 1e9:.1f} GB of disk in "
                f"{folder}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        try:
            refuse_full(folder, 0 if reserved else needed, "data_dir")
            self._opened.append(unfinished.open_unfinished(self._unfinished, self._layout))
            self._on_disk = True
        except (FolderError, OSError) as error:
            if needed > _IN_MEMORY:
                raise FolderError(str(error)) from error
            self._opened.append(unfinished.open_in_memory(self._layout))
        return self._opened[0]

    def _others(self) -> Iterator[Rows]:
        """What other files hold; unfinished ones that nobody can continue are removed."""
        for path in sorted(self._unfinished.parent.glob(self._like)):
            if path == self._unfinished:
                continue
            try:
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            self._opened.append(file)
            layout = unfinished.found(file)
            if layout is not None and layout.size == self._layout.size:
                yield layout.rows(file)
            elif layout is None and path.suffix == _SUFFIX:
                path.unlink(missing_ok=True)
