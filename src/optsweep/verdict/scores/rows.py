"""What is judged: one row a run. Rows come from a CSV file, or from a sweep's records."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from numpy.typing import NDArray

from optsweep.errors import SettingsError, nearest

Phase = Literal["tune", "confirm"]
Status = Literal["finished", "diverged", "failed", "pruned"]
PHASES: tuple[Phase, ...] = get_args(Phase)
STATUSES: tuple[Status, ...] = get_args(Status)
NEEDED = ("candidate", "seed", "score")
LARGEST = 1e100  # scores beyond this have diverged: their squares would overflow
Word = TypeVar("Word", bound=str)
OPTIONAL = ("configuration", "workload", "phase", "chosen_by", "status")


@dataclass(frozen=True, slots=True)
class Row:
    """A run: whose it is, and what it scored.

    Runs at one `seed` share what is random, whatever their candidate. `chosen_by` is the score
    that chooses among configurations, `score` itself where it is None. Both are None where the
    run did not finish. `correct` [N] says which test samples the run had right, where that is
    known; all runs of a workload have the same samples.
    """

    candidate: str
    seed: str
    score: float | None
    configuration: str = ""
    workload: str = ""
    phase: Phase = "tune"
    chosen_by: float | None = None
    status: Status = "finished"
    correct: NDArray[Any] | None = None


class RowError(SettingsError):
    """A row contradicts another; `index` counts from 0, `column` is its field at fault."""

    def __init__(self, index: int, column: str, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.column = column


class TableError(SettingsError):
    """A table cannot be read; the message names the file, the line and the column."""

    def __init__(self, path: Path, message: str, line: int = 1, column: str = "") -> None:
        at = f", column {column}" if column else ""
        super().__init__(f"{path}: line {line}{at}: {message}")


def read_table(path: Path) -> tuple[list[Row], list[int]]:
    """The rows of a table, and the line on which each ends.

    Raises:
        TableError: the table cannot be read.
        OSError: the file cannot be opened.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows, lines = [], []
            for line, cells in _cells(path, file):
                rows.append(_row(path, line, cells))
                lines.append(line)
    except UnicodeDecodeError as error:
        raise TableError(path, f"this is no text in UTF-8 ({error.reason})") from None
    if not rows:
        raise TableError(path, "the table has no rows below its header")
    return rows, lines


def _cells(path: Path, file: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each line's cells by their columns, for the columns that count."""
    reader = csv.reader(file, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(path, header)
            elif any(cell.strip() for cell in cells):
                if len(cells) != len(header):
                    number = f"{len(cells)} cells, where the header has {len(header)}"
                    short = len(cells) < len(header)
                    column = header[len(cells)] if short else header[-1]
                    raise TableError(path, f"there are {number}", reader.line_num, column)
                yield (
                    reader.line_num,
                    {
                        name: cell.strip()
                        for name, cell in zip(header, cells, strict=True)
                        if name in NEEDED or name in OPTIONAL
                    },
                )
    except csv.Error as error:
        raise TableError(path, f"this is no CSV ({error})", max(reader.line_num, 1)) from None
    if header is None:
        raise TableError(path, "the file is empty")


def _check_header(path: Path, header: Sequence[str]) -> None:
    for name in NEEDED:
        if name not in header:
            close = nearest(name, header)
            hint = f"rename {close}" if close else f"it needs {', '.join(NEEDED)}"
            raise TableError(path, f"there is no such column; {hint}", column=name)
    for name in (*NEEDED, *OPTIONAL):
        if header.count(name) > 1:
            raise TableError(path, "the header names it twice", column=name)


def _row(path: Path, line: int, cells: Mapping[str, str]) -> Row:
    for name in ("candidate", "seed"):
        if not cells[name]:
            raise TableError(path, "the cell is empty", line, name)
    status = _one_of(path, line, cells, "status", STATUSES)
    score = _number(path, line, cells, "score")
    if status == "finished" and score is None:
        if not cells["score"]:
            raise TableError(path, "the cell is empty, but the run finished", line, "score")
        status = "diverged"  # to a score that is no number, or too large to be squared
    has_finished = status == "finished"
    return Row(
        candidate=cells["candidate"],
        seed=cells["seed"],
        score=score if has_finished else None,
        configuration=cells.get("configuration", ""),
        workload=cells.get("workload", ""),
        phase=_one_of(path, line, cells, "phase", PHASES),
        chosen_by=_number(path, line, cells, "chosen_by") if has_finished else None,
        status=status,
    )


def _one_of(
    path: Path, line: int, cells: Mapping[str, str], column: str, allowed: Sequence[Word]
) -> Word:
    """The cell as one of the words that are allowed; an empty one is the first."""
    given = cells.get(column, "").casefold() or allowed[0]
    for word in allowed:
        if given == word:
            return word
    raise TableError(path, f"{cells[column]}: type {' or '.join(allowed)}", line, column)


def _number(path: Path, line: int, cells: Mapping[str, str], column: str) -> float | None:
    """The cell as a number; None where it is empty, not finite, or too large to be a score."""
    text = cells.get(column, "")
    try:
        number = float(text) if text else math.nan
    except ValueError:
        raise TableError(path, f"{text} is no number", line, column) from None
    return number if abs(number) < LARGEST else None
