"""Decoded datasets on disk: read once, then mapped into memory by every process.

What is slow to read or decode is kept in one safetensors file under `data_dir`, which later runs
map into memory rather than read: all processes of a machine then share its pages."""

import glob
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from optsweep.data.source import Source
from optsweep.data.splits import Split
from optsweep.system import files
from optsweep.system.locks import locked_if_allowed

log = logging.getLogger(__name__)

# Changes whenever what is decoded does: files of another version are decoded anew.
_VERSION = 3
_DECODING = 3600.0  # seconds that another process is waited for, which decodes the same pictures
_UNREADABLE = (OSError, SafetensorError, KeyError, ValueError, TypeError)


def stamp_of(files: Iterable[str | Path]) -> str:
    """Changes when a file is added, removed or written to; reads no content."""
    found = [(str(file), _stat(file)) for file in files]
    stats = [(file, stat.st_size, stat.st_mtime_ns) for file, stat in found if stat]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def _stat(file: str | Path) -> os.stat_result | None:
    with suppress(OSError):
        found = os.stat(file)  # noqa: PTH116 (making a Path takes as long again)
        return found if S_ISREG(found.st_mode) else None
    return None


Keep = Callable[[Mapping[str, Tensor], Mapping[str, str], Path], None]


def place(data_dir: Path, name: str, stamp: str) -> Path:
    """The file under `data_dir` that keeps what was read."""
    return data_dir / ".decoded" / f"{name}-v{_VERSION}-{stamp}.safetensors"


def cached(
    data_dir: Path,
    name: str,
    stamp: Callable[[], str],
    read: Callable[[], Source],
    keep: Keep | None = None,
) -> Source:
    """What `read` returns, from one file under `data_dir` once it was read.

    `stamp` is asked again after reading, since `read` may download what it reads. The file is
    replaced atomically; a torn or foreign one is read anew; of processes that start together one
    reads and the others wait for it. Where the folder cannot be written, nothing is kept.

    `keep` is given labels and rows where `read` has put the images of all splits into a file that
    they can be added to. It makes that file whole and gives it the path that it is given.
    """
    with suppress(*_UNREADABLE):
        return _load_source(place(data_dir, name, stamp()))
    folder = place(data_dir, name, "").parent
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    with locked_if_allowed(folder / ".lock", _DECODING):
        file = place(data_dir, name, stamp())
        try:
            return _load_source(file)
        except _UNREADABLE as error:
            if file.exists():
                log.warning("%s cannot be read (%s); it is made anew", file, error)
        source = read()
        file = place(data_dir, name, stamp())
        try:
            _save_source(source, file, keep)
        except (OSError, SafetensorError):
            return source
        for stale in folder.glob(glob.escape(place(data_dir, name, "").stem) + "*"):
            if stale != file:
                stale.unlink(missing_ok=True)  # who has it mapped keeps it until they end
        return _load_source(file)


def _save_source(source: Source, file: Path, keep: Keep | None) -> None:
    splits = {"train": source.train, "val": source.val, "test": source.test}
    tensors = {}
    for name, split in splits.items():
        if split is not None:
            tensors[f"{name}.labels"] = split.labels
            if keep is None:
                tensors[f"{name}.images"] = split.images.contiguous()
            else:
                tensors[f"{name}.rows"] = split.every_row
    about = {
        "classes": json.dumps(source.classes),
        "peak": str(source.peak),
        "digest": source.digest,
        "skipped": json.dumps(dict(source.skipped)),
    }
    if keep is not None:
        keep(tensors, about, file)
    else:
        with files.replacing(file) as unfinished:
            save_file(tensors, unfinished, metadata=about)


def _load_source(file: Path) -> Source:
    with safe_open(file, framework="pt") as stored:
        about = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118

    def split(name: str) -> Split:
        if (rows := tensors.get(f"{name}.rows")) is not None:
            return Split(tensors["images"], tensors[f"{name}.labels"], rows)
        return Split(tensors[f"{name}.images"], tensors[f"{name}.labels"])

    return Source(
        split("train"),
        split("test"),
        tuple(json.loads(about["classes"])),
        int(about["peak"]),
        about["digest"],
        split("val") if "val.labels" in tensors else None,
        json.loads(about.get("skipped", "{}")),  # before it was kept, nothing was counted
    )
