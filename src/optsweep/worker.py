"""What happens in a worker process: one task after another, each with its output in its folder."""

import functools
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from optsweep import imports
from optsweep.jobs import Job
from optsweep.progress import NotedProgress
from optsweep.results import RunRecord
from optsweep.run import new_record, run
from optsweep.tracking import Store

NOTE, OUTPUT = ".progress.json", "optsweep.log"


@dataclass(frozen=True)
class Task:
    """A job, and where it is filed: store, experiment, parent run, and who owns it."""

    job: Job
    uri: str
    experiment_id: str
    parent: str
    owner: str
    figures: bool


def carry(task: Task) -> RunRecord:
    """Carries a task out. What fails is in the record; only an interrupt is raised."""
    record = new_record(task.job)
    folder = task.job.folder
    folder.mkdir(parents=True, exist_ok=True)
    with _output_to(folder / OUTPUT):
        try:
            run(
                task.job,
                record,
                _store(task.uri, task.experiment_id),
                NotedProgress(folder / NOTE),
                parent=task.parent,
                owner=task.owner,
                figures=task.figures,
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: a run may not end its worker
            traceback.print_exc()
            record.status = "FAILED"
            record.error = record.error or f"{type(error).__name__}: {error}"
            sys.stderr.flush()
            record.output = last_lines(folder / OUTPUT)
    (folder / NOTE).unlink(missing_ok=True)
    return record


def last_lines(path: Path, count: int = 40) -> str:
    """The end of what a run printed."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 10_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])


@functools.lru_cache(maxsize=4)
def _store(uri: str, experiment_id: str) -> Store:
    return Store.attach(uri, experiment_id)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Sends what this process and its libraries print to a file: also what C code prints."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, own in zip((1, 2), kept, strict=True):
            os.dup2(own, number)
            os.close(own)
        os.close(file)


def prepare(launcher: Connection) -> None:
    """Prepares a worker process, whose launcher holds the other end of `launcher`.

    Ctrl-C is for the launcher to answer, which ends its workers; where it is gone without a
    word (SIGKILL), its end of the connection closes, and the worker ends too.
    """
    imports.end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.basicConfig(
        level=logging.INFO, format="[%(asctime)s][%(name)s][%(levelname)s] %(message)s", force=True
    )
    threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()


def _end_with(launcher: Connection) -> None:
    try:
        launcher.recv_bytes()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGKILL)
