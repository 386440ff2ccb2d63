"""What happens in a worker process: one task after another, each with its output in a file.

`run_task` runs a task in any process, of a cluster's node too, and returns its records. `serve` is
the loop of a local worker process, which answers with pickled outcomes.
"""

import functools
import gc
import io
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from optsweep.errors import StackFailed, TaskFailed, TimedOut
from optsweep.execution.executor import Task
from optsweep.execution.forkserver import end_with_parent
from optsweep.records.run import RunRecord
from optsweep.runs.run import run_jobs
from optsweep.runs.stack_member import TrackingContext, new_record
from optsweep.runs.status_file import STATUS_FILE, StatusFileProgress
from optsweep.system import process
from optsweep.system.exceptions import describe
from optsweep.system.redaction import RedactingFormatter, redact
from optsweep.tracking.store import Store

OUTPUT = "optsweep.log"
TAKEN = b""  # what a worker process answers first; what follows is the outcome


def run_task(
    task: Task, timeout: float | None = None, progress: StatusFileProgress | None = None
) -> list[RunRecord]:
    """Runs a task and returns a record for each job. The failure of a single run is in its record.

    What is printed goes into the folder of the first job. `timeout` is in seconds a run, for an
    executor that cannot see how long it takes.

    Raises:
        StackFailed: a stack failed; its runs have to continue in smaller stacks.
        KeyboardInterrupt: the task was interrupted.
    """
    for name in task.verbose:
        logging.getLogger(name).setLevel(logging.DEBUG)
    records = [new_record(job) for job in task.jobs]
    for job in task.jobs:
        job.folder.mkdir(parents=True, exist_ok=True)
    output = task.jobs[0].folder / OUTPUT
    store = attached(task.uri, task.experiment_id)
    failure: StackFailed | None = None
    with output_to(output):
        try:
            with _within(timeout, len(task.jobs)):
                run_jobs(
                    task.jobs,
                    records,
                    TrackingContext(store, task.parent, task.owner, task.figures),
                    progress or StatusFileProgress(),
                )
        except KeyboardInterrupt:
            raise
        except StackFailed as error:
            print(redact(traceback.format_exc()), end="", file=sys.stderr)
            failure = StackFailed(*error.args)
        except BaseException as error:  # SystemExit too: a run may not end its worker
            print(redact(traceback.format_exc()), end="", file=sys.stderr)
            if len(records) > 1:
                failure = StackFailed(describe(error))
            else:
                _mark(records[0], error, output)
    if failure or records[0].status == "FAILED":
        gc.collect()  # what the traceback held: the next task may need that memory
    if failure:
        raise failure
    for job in task.jobs:
        (job.folder / STATUS_FILE).unlink(missing_ok=True)
    return records


def _mark(record: RunRecord, error: BaseException, output: Path) -> None:
    """Puts a run's failure into its record."""
    record.status = "FAILED"
    record.error = record.error or describe(error)
    sys.stdout.flush()
    sys.stderr.flush()
    record.output = last_lines(output)


@contextmanager
def _within(timeout: float | None, runs: int) -> Iterator[None]:
    """Raises in the middle of what takes too long; what cannot be raised in is killed."""
    if timeout is None:
        yield
        return

    def expire(number: int, frame: object) -> None:
        raise TimedOut(f"took longer than hydra.launcher.timeout={timeout:g} s")

    kept = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout * runs)
    last = threading.Timer(timeout * runs + 30, os.kill, (os.getpid(), signal.SIGKILL))
    last.daemon = True
    last.start()
    try:
        yield
    finally:
        last.cancel()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, kept)


def last_lines(path: Path, count: int = 40) -> str:
    """The end of what a run printed."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 10_000))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return redact("\n".join(lines[-count:]))


@functools.lru_cache(maxsize=4)
def attached(uri: str, experiment_id: str) -> Store:
    """The store that tasks are logged to; a worker keeps it open."""
    return Store.attach(uri, experiment_id)


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Sends what this process and its libraries print to a file: also what C code prints.

    Each line is sent when it is printed: what a run printed before its process died is there too.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # not in a notebook
        sys.stdout.reconfigure(line_buffering=True)
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


def serve(run: Callable[[Task], list[RunRecord]], tasks: Connection, launcher: Connection) -> None:
    """A worker process's life: runs each task that it is sent, and answers with its outcome."""
    _prepare(launcher)
    with suppress(EOFError, OSError):  # the launcher has closed the pipe
        while True:
            content = tasks.recv_bytes()
            tasks.send_bytes(TAKEN)
            tasks.send_bytes(_answer(run, content))


def _answer(run: Callable[[Task], list[RunRecord]], content: bytes) -> bytes:
    """Runs a task: its records, `StackFailed` or `TaskFailed`, pickled.

    An exception of somebody else's is sent as text: it might not be read at the other end.
    """
    outcome: list[RunRecord] | Exception
    try:
        outcome = run(pickle.loads(content))
    except StackFailed as failure:
        outcome = failure
    except BaseException as error:  # SystemExit too: a task may not end its worker
        outcome = TaskFailed(describe(error))
    try:
        return pickle.dumps(outcome)
    except Exception as error:
        return pickle.dumps(TaskFailed(f"its result cannot be sent: {describe(error)}"))


def _prepare(launcher: Connection) -> None:
    """Prepares a worker process, whose launcher holds the other end of `launcher`.

    Ctrl-C is for the launcher to answer, which ends its workers. Where it is gone without a
    word (SIGKILL), Linux ends the worker; elsewhere its end of the connection closes.
    """
    end_with_parent(os.getppid())
    process.end()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log_to_output()
    threading.Thread(target=_end_with, args=(launcher,), daemon=True).start()


def log_to_output() -> None:
    """Sends this process's log to stderr, which goes to a file while a task runs."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _end_with(launcher: Connection) -> None:
    try:
        launcher.recv_bytes()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGKILL)
