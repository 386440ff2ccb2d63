"""Checkpoints: what a run resumes from, beside the journal of its epochs (`epoch_journal.py`).

The checkpoint is replaced atomically after an epoch; the journal is a line of JSON for each epoch,
written before the checkpoint and before MLflow gets it. A run that is killed at any moment and
resumed finds every epoch that MLflow may have seen in its journal, with the time it was logged at:
logged again, MLflow keeps each point once.

Both lie in the run's folder. Runs of a stack share one checkpoint beside their folders, and a file
in each folder holds its path. It holds every run under its fingerprint, so that the runs resume
together, bit for bit, or any of them alone.
"""

import hashlib
import io
import logging
import os
import re
import shutil
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from optsweep.optim.flat_buffer import load_state
from optsweep.system import files
from optsweep.training.stack import Stack, Weights

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.bin"
JOURNAL = "history.jsonl"
_STACKS = "stacks"  # beside the runs' folders: the checkpoints of stacks
_STACK_PATH = "stack.txt"  # in a run's folder: the path from there to the checkpoint of its stack
_STACKED = re.compile(rf"[^\0\n]*{_STACKS}/([0-9a-f]{{16}}\.bin)")
_FORMAT = b"optsweep checkpoint 2\n"  # changes whenever what is saved does


class UnusableCheckpoint(Exception):
    """The file is torn, foreign, of another format or of another run; the message says which."""


def path_of(folders: Sequence[Path], fingerprints: Sequence[str]) -> Path:
    """Where the runs in these folders keep their checkpoint: in the one folder, or beside all."""
    if len(folders) == 1:
        return folders[0] / CHECKPOINT
    name = hashlib.sha256(" ".join(fingerprints).encode()).hexdigest()[:16]
    return stacks_beside(folders[0]) / f"{name}.bin"


def stacks_beside(folder: Path) -> Path:
    """Where the checkpoints of stacks lie that the run in a folder may have been in."""
    return folder.parent / _STACKS


def save_stack_paths(path: Path, folders: Sequence[Path], fingerprints: Sequence[str]) -> None:
    """Saves in each of several runs' folders where their checkpoint will lie."""
    if len(folders) > 1:
        path.parent.mkdir(exist_ok=True)
        for folder in folders:
            save_stack_path(path, folder, fingerprints)


def save_stack_path(path: Path, folder: Path, fingerprints: Sequence[str] = ()) -> None:
    """Saves in a run's folder where the checkpoint of its stack lies, and the stack's runs.

    By these another run of the stack is found whose own file was damaged.
    """
    files.write(folder / _STACK_PATH, "\n".join([os.path.relpath(path, folder), *fingerprints]))


def stack_of(folder: Path, fingerprint: str) -> Path | None:
    """The checkpoint of the stack that a run was in; None where it ran alone, or does now.

    Where the file that names it is damaged, it is the one that holds the run, or that another
    run's file names with it: the stack resumes as a whole, as its runs alone would differ from it
    in their last digits.
    """
    pointer = folder / _STACK_PATH
    if (folder / CHECKPOINT).exists() or not pointer.exists():
        return None
    if path := _path_in(pointer)[0]:
        return path
    found = _holding(fingerprint, folder)
    log.warning(
        "%s names no checkpoint; %s", pointer, f"{found} holds the run" if found else "left out"
    )
    return found


def _path_in(pointer: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint that a run's file names, None where it is damaged, and the stack's runs."""
    path, *fingerprints = pointer.read_text(errors="replace").split("\n")
    is_sound = _STACKED.fullmatch(path) is not None
    return ((pointer.parent / path).resolve() if is_sound else None), fingerprints


def _holding(fingerprint: str, folder: Path) -> Path | None:
    """The checkpoint, there or to come, of the stack with this run, whose folder is given."""
    for path in sorted(stacks_beside(folder).glob("*.bin")):
        if fingerprint.encode() in path.read_bytes():  # stands there as plain text
            return path.resolve()
    for pointer in sorted(folder.parent.glob(f"*/{_STACK_PATH}")):
        named, fingerprints = _path_in(pointer)
        if fingerprint in fingerprints:
            return named
    return None


def is_stack(name: str) -> bool:
    """Whether a file's name is one that the checkpoint of a stack has."""
    return _STACKED.fullmatch(f"{_STACKS}/{name}") is not None


def forget(folder: Path) -> None:
    """Removes the checkpoint of a run that is finished or starts anew."""
    for name in (CHECKPOINT, _STACK_PATH):
        (folder / name).unlink(missing_ok=True)


def forget_stack(path: Path) -> None:
    """Removes the checkpoint of a stack whose runs are all finished.

    The folder stays, where another stack may be about to save its own: see `forget_stacks`.
    """
    path.unlink(missing_ok=True)


def forget_stacks(folder: Path, *, finished: bool) -> None:
    """Removes the checkpoints of a sweep's stacks, when no run is under way.

    Where not all runs are `finished`, what they could resume from stays.
    """
    stacks = folder / _STACKS
    if finished:
        shutil.rmtree(stacks, ignore_errors=True)
    else:
        with suppress(OSError):  # it holds something
            stacks.rmdir()


def save(path: Path, stack: Stack, epoch: int, fingerprints: Sequence[str]) -> None:
    """Saves a stack after `epoch`, so that the file is at any moment the old one or the new one."""
    runs = {
        fingerprint: {
            "model": stack.weights_of(run),
            "optimizer": stack.optimizers[run].state_dict(),
            "schedule": stack.schedules[run].scheduler.state_dict(),
            "kept": _kept(stack, run, epoch),
        }
        for run, fingerprint in enumerate(fingerprints)
    }
    content = io.BytesIO()
    torch.save({"epoch": epoch, "runs": runs}, content)
    payload = content.getvalue()
    with files.replacing(path) as unfinished, unfinished.open("wb") as file:
        file.write(_FORMAT + zlib.crc32(payload).to_bytes(4, "big"))
        file.write(payload)


def _kept(stack: Stack, run: int, epoch: int) -> tuple[int, Weights | None] | None:
    """The weights that are kept of a run; without them where they are the model's of this epoch.

    So a checkpoint grows by no more than a run's weights, and not while the run gets better.
    """
    if run not in stack.kept:
        return None
    kept_after, weights = stack.kept[run]
    return kept_after, None if kept_after == epoch else weights


def restore(path: Path, stack: Stack, fingerprints: Sequence[str]) -> int:
    """Puts a stack into the state that was saved and returns the epoch it was saved after.

    The file may hold more runs than the stack. Random numbers need no state: each epoch draws
    from a seed of its own (`epoch_seed`).

    Raises:
        FileNotFoundError: there is no checkpoint.
        UnusableCheckpoint: no run can resume from the file; build the stack anew then.
    """
    state = _read(path)
    if not set(fingerprints) <= state["runs"].keys():
        raise UnusableCheckpoint("it belongs to a run with other settings")
    try:
        for run, fingerprint in enumerate(fingerprints):
            saved = state["runs"][fingerprint]
            stack.load_weights(run, saved["model"])
            if kept := saved.get("kept"):
                stack.kept[run] = kept[0], saved["model"] if kept[1] is None else kept[1]
            load_state(stack.optimizers[run], saved["optimizer"])
            stack.schedules[run].scheduler.load_state_dict(saved["schedule"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UnusableCheckpoint(f"it does not fit the run ({error})") from error
    return int(state["epoch"])


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    if not content.startswith(_FORMAT):
        known = content.startswith(_FORMAT[: _FORMAT.rindex(b" ")])
        raise UnusableCheckpoint("its format is another" if known else "it is no checkpoint")
    checksum, payload = content[len(_FORMAT) :][:4], content[len(_FORMAT) + 4 :]
    if zlib.crc32(payload).to_bytes(4, "big") != checksum:
        raise UnusableCheckpoint("it is torn: its checksum does not match")
    try:
        state = torch.load(io.BytesIO(payload), weights_only=True)
    except Exception as error:  # torch raises what its readers raise
        raise UnusableCheckpoint(f"torch cannot read it ({error})") from error
    if not isinstance(state, dict) or not {"epoch", "runs"} <= state.keys():
        raise UnusableCheckpoint("it is no checkpoint")
    return state


def set_aside(path: Path) -> Path:
    """Renames a file that cannot be used, so that it is neither in the way nor lost."""
    aside = path.with_name(f"{path.name}.unusable")
    with suppress(FileNotFoundError):  # another run of the stack was quicker
        path.replace(aside)
    return aside
