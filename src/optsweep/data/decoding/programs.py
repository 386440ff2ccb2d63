"""Decodes picture files on all usable cores, and names those that are broken.

What takes long is shared out to programs (`worker.py`), which write into one file: Python's lock
holds up threads where files are small. The few pictures of a small folder are decoded here.
"""

import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import asdict
from subprocess import PIPE

from rich.console import Console

from optsweep.data.decoding import worker
from optsweep.data.decoding.progress import DecodingProgress
from optsweep.data.decoding.worker import BROKEN, DONE, Rows
from optsweep.errors import DatasetError
from optsweep.system.cores import cores

_ALONE = 0.1  # seconds until it is known how long the rest takes
_WORTH = 1.0  # seconds of work that programs are started for
_CHUNK = 256  # files, at most
_NAMED = 20  # broken files that an error names

Chunk = list[tuple[int, str]]


def decode_into(rows: Rows, files: Sequence[str], others: Sequence[Rows]) -> None:
    """Decodes the files to `rows`, but for those that are there already.

    A picture whose content `others` hold is copied. A broken one is marked so; one that was broken
    before is tried again.
    """
    states = rows.states()
    todo = [(row, files[row]) for row in range(rows.count) if states[row] != DONE]
    with DecodingProgress(Console(), rows.count, rows.count - len(todo)) as progress:
        rest = _here(rows, todo, others, progress, until=_enough(len(todo)))
        if rest:
            with suppress(OSError):  # the system starts no more programs
                _in_programs(rows, rest, others, progress)
            states = rows.states()  # what a program that died has left, too
            _here(rows, [one for one in rest if not states[one[0]]], others, progress)


def _enough(count: int) -> Callable[[int], bool]:
    """Whether the rest of `count`, after so many were decoded here, is worth other programs."""
    began = time.monotonic()

    def enough(done: int) -> bool:
        spent = time.monotonic() - began
        return spent > _ALONE and spent * (count - done) > _WORTH * done

    return enough


def _here(
    rows: Rows,
    todo: Chunk,
    others: Sequence[Rows],
    progress: DecodingProgress,
    until: Callable[[int], bool] = lambda done: False,
) -> Chunk:
    """Decodes in this process; returns what it has not, where `until` it was to stop."""
    there = worker.known(others)
    for done, (row, path) in enumerate(todo):
        if done and until(done):
            return todo[done:]
        worker.decode_row(rows, there, row, path)
        progress.advance(1)
    return []


def _in_programs(
    rows: Rows, todo: Chunk, others: Sequence[Rows], progress: DecodingProgress
) -> None:
    answered: deque[int] = deque()
    with ExitStack() as stack:
        programs = [stack.enter_context(_program(rows, others)) for _ in range(cores())]
        chunks = deque(_chunks(todo, len(programs)))
        threads = stack.enter_context(ThreadPoolExecutor(len(programs)))
        for program in programs:
            stack.callback(program.kill)  # before its thread is waited for
        stack.callback(chunks.clear)
        feeding = {threads.submit(_feed, program, chunks, answered) for program in programs}
        while feeding:
            feeding = wait(feeding, timeout=0.1).not_done
            progress.advance(sum(answered.popleft() for _ in range(len(answered))))


def _chunks(todo: Chunk, programs: int) -> Iterator[Chunk]:
    """Large ones, as a program waits between two; small ones at the end, lest one ends late."""
    first = 0
    while rest := len(todo) - first:
        size = max(1, min(_CHUNK, rest // (8 * programs)))
        yield todo[first : first + size]
        first += size


def _program(rows: Rows, others: Sequence[Rows]) -> "subprocess.Popen[bytes]":
    program = subprocess.Popen(
        [sys.executable, "-P", worker.__file__],
        stdin=PIPE,
        stdout=PIPE,
        bufsize=0,
        pass_fds=[rows.file, *(other.file for other in others)],
    )
    first = {"rows": asdict(rows), "others": [asdict(other) for other in others]}
    with suppress(BrokenPipeError):
        _send(program, first)
    return program


def _send(program: "subprocess.Popen[bytes]", what: object) -> None:
    assert program.stdin is not None
    program.stdin.write(json.dumps(what).encode() + b"\n")


def _feed(
    program: "subprocess.Popen[bytes]", chunks: "deque[Chunk]", answered: "deque[int]"
) -> None:
    """Gives a program chunk after chunk, until there is none or the program has died."""
    assert program.stdout is not None
    with suppress(BrokenPipeError, IndexError):
        while chunk := chunks.popleft():
            _send(program, chunk)
            left = len(chunk)
            while left:
                if not (line := program.stdout.readline()):
                    return
                answered.append(int(line))
                left -= int(line)


def refuse_broken(rows: Rows, files: Sequence[str]) -> None:
    """Makes sure that every file is a picture.

    Raises:
        DatasetError: some are broken; it names the first twenty, and why.
    """
    broken = [file for file, state in zip(files, rows.states(), strict=True) if state == BROKEN]
    if not broken:
        return
    if len(broken) == 1:
        raise DatasetError(
            f"{broken[0]} cannot be read as a picture ({_why(broken[0])}); remove it, or type "
            "dataset.skip_broken=true to continue without it"
        )
    raise DatasetError(
        f"{len(broken):,} of {len(files):,} pictures are broken; remove them, or type "
        f"dataset.skip_broken=true to continue without them: {named(broken)}"
    )


def named(broken: Sequence[str]) -> str:
    """The first twenty of the files that cannot be read, each with the reason."""
    reasons = [f"{file} ({_why(file)})" for file in broken[:_NAMED]]
    more = f"; and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
    return f"{'; '.join(reasons)}{more}"


def _why(file: str) -> str:
    try:
        worker.decoded(file, 1)
    except worker.UNREADABLE as error:
        return str(error)
    return "it could not be read before"
