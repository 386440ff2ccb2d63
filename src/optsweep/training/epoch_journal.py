"""The journal of a run: its logged epochs, in a file of JSON lines.

A `Journal` is given a file's path, reads the entries up to the first damaged line, and appends one
for each new epoch. A resumed run logs its entries again, with the times that they were logged at.
A `JournalReader` follows the journal that another process writes.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from optsweep.system import files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """An epoch as it was logged: at `time` (milliseconds since 1970)."""

    epoch: int
    time: int
    metrics: Mapping[str, float]
    batches: Mapping[int, float] = field(default_factory=dict)


class Journal:
    """The epochs of a run that were logged, oldest first, kept in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = _lines(path)
        self.entries = _entries(lines)
        if len(self.entries) < len(lines):  # a crash has torn the end, or something wrote over it
            log.warning("%s cannot be read after epoch %d", path, max(self.last, 0))
            files.write(path, "".join(_line(entry) + "\n" for entry in self.entries))

    @property
    def last(self) -> int:
        """The last epoch that was logged; -1 where none was (0 is the untrained model's)."""
        return self.entries[-1].epoch if self.entries else -1

    def until(self, epoch: int) -> list[Entry]:
        """The entries up to an epoch, oldest first."""
        return [entry for entry in self.entries if entry.epoch <= epoch]

    def keep(self, entry: Entry) -> tuple[Entry, bool]:
        """Keeps an epoch; once this returns, a crash of the process does not lose it.

        Returns the entry, and whether it is new: an epoch that was logged before the run was
        interrupted, and had to be trained again, gives its first entry.
        """
        if entry.epoch <= self.last:
            return next(kept for kept in self.entries if kept.epoch == entry.epoch), False
        files.append(self._path, _line(entry))
        self.entries.append(entry)
        return entry, True


class JournalReader:
    """The points of a journal that another process writes: reads what was added since.

    `history` maps each metric to its points (epoch, value).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0  # bytes
        self.history: dict[str, list[tuple[int, float]]] = {}

    def look(self) -> None:
        """Reads the lines that are new and whole; a file that is away for now has none."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read:  # its run was started over
                    self._read, self.history = 0, {}
                file.seek(self._read)
                lines = file.read()
        except OSError:
            return
        lines = lines[: lines.rfind(b"\n") + 1]
        self._read += len(lines)
        for entry in _entries(lines.decode(errors="replace").splitlines()):
            for name, value in entry.metrics.items():
                self.history.setdefault(name, []).append((entry.epoch, value))


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry))


def _entries(lines: Sequence[str]) -> list[Entry]:
    """The epochs up to the first line that is none: nothing after it is trusted."""
    entries: list[Entry] = []
    for line in lines:
        try:
            given = json.loads(line)
            batches = {int(samples): float(loss) for samples, loss in given["batches"].items()}
            metrics = {name: float(value) for name, value in given["metrics"].items()}
            entries.append(Entry(int(given["epoch"]), int(given["time"]), metrics, batches))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            break
    return entries


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").removesuffix("\n").split("\n")
    except FileNotFoundError:
        return []
