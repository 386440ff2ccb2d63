"""The folders of runs and sweeps: which of them this project made, and for what.

Each holds a mark: a line with the fingerprint of its run, or the identity of its sweep. A path
from a tracking store is used only where the mark agrees. So a store that others write to decides
over no other folder of this machine, and a folder that was moved or copied is not mistaken.
"""

from pathlib import Path

from optsweep.errors import FolderError
from optsweep.system import files

_MARK = ".optsweep"
# What Hydra writes before a run is checked; a run that was refused may leave it.
_BEFORE = frozenset({".hydra", "multirun.yaml", "optsweep.log", ".owner"})


def mark(folder: Path, kind: str, identity: str, *, durable: bool = True) -> None:
    """Makes a folder that of a run or a sweep; it may be that of several, one after another."""
    folder.mkdir(parents=True, exist_ok=True)
    if not is_marked(folder, kind, identity):
        files.append(folder / _MARK, f"{kind} {identity}", durable=durable)


def claim(folder: Path, identity: str, config: str) -> None:
    """Makes a folder that of a sweep, and keeps the config that it was started with there."""
    mark(folder, "sweep", identity)
    path = folder / "multirun.yaml"
    if config and not path.exists():
        files.write(path, config)


def is_marked(folder: Path, kind: str, identity: str) -> bool:
    """Whether this project made the folder for that run or sweep."""
    return f"{kind} {identity}" in _marks(folder)


def is_used(folder: Path) -> bool:
    """Whether this project made the folder for any run or sweep."""
    return (folder / _MARK).exists()


def _marks(folder: Path) -> list[str]:
    try:
        return (folder / _MARK).read_text(errors="replace").splitlines()
    except OSError:
        return []


def refuse_used(folder: Path, key: str) -> None:
    """Makes sure that a new run or sweep writes over nothing that lies in its folder.

    Raises:
        FolderError: it holds something; `key` is what to give another folder with.
    """
    try:
        held = sorted({path.name for path in folder.iterdir()} - _BEFORE)
    except FileNotFoundError:
        return
    another = f"type {key}={folder / 'NAME'}, or another folder that is new or empty"
    if _MARK in held:
        raise FolderError(
            f"{folder} holds the results of an earlier run or sweep; {another}, or resume=true "
            "with the same settings to resume it"
        )
    if held:
        shown = ", ".join(held[:3]) + ", ..." * (len(held) > 3)
        raise FolderError(f"{folder} holds other files ({shown}); {another}")
