"""Decoded datasets on disk: read once, then mapped into memory by every process.

What is slow to read or decode is kept in one safetensors file under `data_dir`, which later runs
map into memory rather than read: all processes of a machine then share its pages."""

import glob
import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from optsweep.data.source import Source
from optsweep.data.splits import Split
from optsweep.system import files
from optsweep.system.locks import locked_if_allowed

log = logging.getLogger(__name__)

# Changes whenever what is decoded does: files of another version are decoded anew.
_VERSION = 2
_DECODING = 3600.0  # seconds that another process is waited for, which decodes the same pictures
_UNREADABLE = (OSError, SafetensorError, KeyError, ValueError, TypeError)


def stamp_of(files: Iterable[Path]) -> str:
    """Changes when a file is added, removed or written to; reads no content."""
    found = [(file, file.stat()) for file in files if file.is_file()]
    stats = [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]
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
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    with locked_if_allowed(folder / ".lock", _DECODING):
        file = folder / f"{name}-{stamp()}.safetensors"
        try:
            return _load_source(file)
        except _UNREADABLE as error:
            if file.exists():
                log.warning("%s cannot be read (%s); it is made anew", file, error)
        source = read()
        try:
            file = _save_source(source, folder, name, stamp())
        except (OSError, SafetensorError):
            return source
        return _load_source(file)


def _save_source(source: Source, folder: Path, name: str, stamp: str) -> Path:
    for stale in folder.glob(f"{glob.escape(name)}-*.safetensors"):
        stale.unlink(missing_ok=True)  # who has it mapped keeps it until they end
    file = folder / f"{name}-{stamp}.safetensors"
    splits = {"train": source.train, "val": source.val, "test": source.test}
    tensors = {}
    for name, split in splits.items():
        if split is not None:
            tensors[f"{name}.images"] = split.images.contiguous()
            tensors[f"{name}.labels"] = split.labels
    about = {
        "classes": json.dumps(source.classes),
        "peak": str(source.peak),
        "digest": source.digest,
        "skipped": json.dumps(dict(source.skipped)),
    }
    with files.replacing(file) as unfinished:
        save_file(tensors, unfinished, metadata=about)
    return file


def _load_source(file: Path) -> Source:
    with safe_open(file, framework="pt") as stored:
        about = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118

    def split(name: str) -> Split:
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
