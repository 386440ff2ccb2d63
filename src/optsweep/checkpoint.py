"""What a run leaves behind to go on from: its checkpoint and the journal of its epochs.

Both lie in the run's folder. The checkpoint is replaced atomically after an epoch; the journal is
a line of JSON for each epoch, written before the checkpoint and before MLflow is told. A run that
is killed at any moment and resumed finds every epoch that MLflow may have seen in its journal,
with the time it was logged at: told again, MLflow keeps each point once.
"""

import io
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from optsweep.results import Entry
from optsweep.training import Stack

_FORMAT = b"optsweep checkpoint 1\n"  # changes whenever what is saved does


class UnusableCheckpoint(Exception):
    """The file is torn, foreign, of another format or of another run; the message says which."""


def save(path: Path, stack: Stack, epoch: int, fingerprint: str) -> None:
    """Saves a stack after `epoch`, so that the file is at any moment the old one or the new one."""
    content = io.BytesIO()
    torch.save(
        {
            "fingerprint": fingerprint,
            "epoch": epoch,
            "model": stack.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in stack.optimizers],
            "schedules": [schedule.scheduler.state_dict() for schedule in stack.schedules],
        },
        content,
    )
    payload = content.getvalue()
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(_FORMAT + zlib.crc32(payload).to_bytes(4, "big"))
        file.write(payload)
    temporary.replace(path)


def restore(path: Path, stack: Stack, fingerprint: str) -> int:
    """Puts a stack into the state that was saved and returns the epoch it was saved after.

    Random numbers need no state: each epoch draws from a seed of its own (`epoch_seed`).

    Raises:
        FileNotFoundError: there is no checkpoint.
        UnusableCheckpoint: the file cannot be gone on from; build the stack anew then.
    """
    state = _read(path)
    if state["fingerprint"] != fingerprint:
        raise UnusableCheckpoint("it belongs to a run with other settings")
    try:
        stack.model.load_state_dict(state["model"])
        for optimizer, saved in zip(stack.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(stack.schedules, state["schedules"], strict=True):
            schedule.scheduler.load_state_dict(saved)
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
    if not isinstance(state, dict) or not {"fingerprint", "epoch", "model"} <= state.keys():
        raise UnusableCheckpoint("it is no checkpoint")
    return state


def set_aside(path: Path) -> Path:
    """Renames a file that cannot be used, so that it is neither in the way nor lost."""
    aside = path.with_name(f"{path.name}.unusable")
    path.replace(aside)
    return aside


class Journal:
    """The epochs of a run that were logged, oldest first, kept in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries = _entries(path)
        if path.exists():  # without what a kill in the middle of a line left at its end
            temporary = path.with_suffix(".part")
            temporary.write_text("".join(map(_line, self.entries)))
            temporary.replace(path)

    @property
    def last(self) -> int:
        """The last epoch that was logged; -1 where none was (0 is the untrained model's)."""
        return self.entries[-1].epoch if self.entries else -1

    def keep(self, entry: Entry) -> tuple[Entry, bool]:
        """Keeps an epoch; once this returns, a crash of the process does not lose it.

        Returns the entry, and whether it is new: an epoch that was logged before the run was
        interrupted, and had to be trained again, gives its first entry.
        """
        if entry.epoch <= self.last:
            return next(kept for kept in self.entries if kept.epoch == entry.epoch), False
        with self._path.open("a") as file:
            file.write(_line(entry))
        self.entries.append(entry)
        return entry, True


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def _entries(path: Path) -> list[Entry]:
    entries: list[Entry] = []
    if not path.exists():
        return entries
    for line in path.read_text().splitlines():
        try:
            given = json.loads(line)
            batches = {int(samples): loss for samples, loss in given["batches"].items()}
            entry = Entry(given["epoch"], given["time"], given["metrics"], batches)
        except (ValueError, KeyError, TypeError, AttributeError):
            break  # a torn line can only be the last; nothing after it is trusted
        entries.append(entry)
    return entries
