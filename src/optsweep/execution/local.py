"""Worker processes on this machine, forked from a server that has everything imported.

Each worker has a pipe of its own, and one thread serves them all. Pools of libraries share one
queue and its locks among their workers: a worker that is killed with a lock or half a message in
hand stops all others. Here it costs its own task, at whatever moment it dies.
"""

import atexit
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from multiprocessing.connection import Connection, wait
from typing import Any

from optsweep.errors import TaskFailed
from optsweep.execution.executor import Crashed, Task, signal_name
from optsweep.execution.forkserver import start_server
from optsweep.execution.worker import TAKEN, run_task, serve
from optsweep.records.run import RunRecord
from optsweep.system.exceptions import describe

_TASKS = 100  # until a worker is replaced: what a library leaks in a run stays bounded
_STARTS = 5  # attempts to start a worker, and workers that may die before they take a task
_PATIENCE = 10.0  # seconds that a killed worker may take to end
_UNSEEN = (None, 255)  # exit codes where the server was killed, and nobody saw the worker's own

Outcome = Future[list[RunRecord]]


@dataclass
class _Order:
    """A task as it is sent to a worker, and the future that waits for it.

    `lost` counts the workers that died before they took it, which is not its fault.
    """

    content: bytes
    future: Outcome
    timeout: float
    lost: int = 0

    def settle(self, outcome: list[RunRecord] | BaseException) -> None:
        """Gives the future its result, unless it was cancelled."""
        with suppress(InvalidStateError):
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)


class _Worker:
    """A worker process, this end of its pipe, and the order that it works at."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.order: _Order | None = None
        self.deadline = inf  # of an order that it has taken
        self.has_taken = False
        self.tasks = 0

    def send(self, order: _Order) -> None:
        """Sends it an order. One that has died meanwhile is found dead soon."""
        self.order, self.has_taken = order, False
        self.tasks += 1
        with suppress(OSError):
            self.pipe.send_bytes(order.content)

    def answer(self) -> bytes | None:
        """What it answers; None where it has died."""
        try:
            return self.pipe.recv_bytes() if self.pipe.poll() else None
        except (EOFError, OSError):
            return None

    def kill(self) -> int | None:
        """Ends the process, which may have ended already; returns its exit code."""
        self.process.kill()
        self.process.join(_PATIENCE)
        code: int | None = self.process.exitcode
        if code in _UNSEEN:
            with suppress(EOFError, OSError):  # its end of the pipe closes when it ends
                while self.pipe.poll(_PATIENCE):
                    self.pipe.recv_bytes()
        self.pipe.close()
        return code


class LocalProcesses:
    """Processes of this machine; a crash hurts one task.

    `timeout` is in seconds a run. `run` is what a worker does with a task.
    """

    def __init__(
        self,
        workers: int,
        timeout: float | None = None,
        run: Callable[[Task], list[RunRecord]] = run_task,
    ) -> None:
        self.workers = workers
        self._timeout = timeout
        self._run = run
        self._context = start_server()
        # The launcher keeps the writing end and never writes: it closes when the launcher dies.
        self._launcher, self._alive = self._context.Pipe(duplex=False)
        self._bell, self._ring = self._context.Pipe(duplex=False)
        self._waiting: deque[_Order] = deque()
        self._started: list[_Worker] = []
        self._closing = False
        self._ended: Exception | None = None  # why, once the thread takes no more orders
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        atexit.register(self.stop)  # an idle worker would be waited for, for ever

    def submit(self, task: Task) -> Outcome:
        """Sends the task to a worker as soon as one is free; its time counts from then."""
        future: Outcome = Future()
        # A stack may take as long as its runs one after another.
        timeout = self._timeout * len(task.jobs) if self._timeout else inf
        try:
            content = pickle.dumps(task)
        except Exception as error:  # what a class of somebody else's raises
            future.set_exception(TaskFailed(f"it cannot be sent to a worker: {describe(error)}"))
            return future
        self._waiting.append(_Order(content, future, timeout))
        self._ring.send_bytes(b"1")
        if self._ended is not None:
            self._give_up(self._ended)
        return future

    def start(self) -> None:
        """A task starts by itself."""

    def stop(self) -> None:
        """Ends the workers at once, and with them what they run."""
        atexit.unregister(self.stop)
        if self._closing:
            return
        self._closing = True
        for worker in list(self._started):  # before the thread ends, which may have to wait
            worker.process.kill()
        self._ring.send_bytes(b"1")
        self._thread.join()

    close = stop

    def _serve(self) -> None:
        """What the thread does until the workers are stopped. Whatever ends it, nobody waits."""
        ended: Exception = Crashed("its worker was stopped")
        try:
            while not self._closing:
                self._hand_out()
                self._look()
        except Exception as error:
            ended = TaskFailed(f"the workers cannot be served any more: {describe(error)}")
        finally:
            for worker in self._started:
                worker.kill()
            self._ended = ended
            self._give_up(ended)

    def _give_up(self, reason: Exception) -> None:
        """Settles whatever is not settled."""
        for worker in self._started:
            if worker.order:
                worker.order.settle(reason)
        with suppress(IndexError):
            while True:
                self._waiting.popleft().settle(reason)

    def _hand_out(self) -> None:
        """Gives waiting orders to workers that have none, of which it starts as many as it may."""
        while self._waiting and not self._closing:
            free = [worker for worker in self._started if worker.order is None]
            if not free and len(self._started) == self.workers:
                return
            order = self._waiting.popleft()
            try:
                worker = free[0] if free else self._start()
            except (OSError, EOFError) as error:
                order.settle(Crashed(f"no process could be started for it: {describe(error)}"))
            else:
                if order.lost or order.future.set_running_or_notify_cancel():
                    worker.send(order)

    def _start(self) -> _Worker:
        """A further worker; where the server was killed, Python starts another.

        Raises:
            OSError, EOFError: the system does not give any more processes.
        """
        for attempt in range(1, _STARTS + 1):
            ours, theirs = self._context.Pipe()
            arguments = (self._run, theirs, self._launcher)
            process = self._context.Process(target=serve, args=arguments, name="optsweep worker")
            try:
                process.start()
            except (OSError, EOFError):
                ours.close()
                if attempt == _STARTS:
                    raise
                time.sleep(0.1 * 2**attempt)
            else:
                self._started.append(_Worker(process, ours))
                break
            finally:
                theirs.close()
        return self._started[-1]

    def _look(self) -> None:
        """Waits for an answer, a death, a deadline or the bell, and settles what has ended."""
        pipes = [worker.pipe for worker in self._started]
        ends = [worker.process.sentinel for worker in self._started]
        next_deadline = min((worker.deadline for worker in self._started), default=inf)
        left = None if next_deadline == inf else max(0.0, next_deadline - time.monotonic())
        ready = wait([self._bell, *pipes, *ends], left)
        if self._bell in ready:
            self._bell.recv_bytes()
        for worker in list(self._started):
            if worker.pipe in ready or worker.process.sentinel in ready:
                self._settle(worker, worker.answer())
            elif worker.deadline <= time.monotonic():
                self._end(worker, TimeoutError())

    def _settle(self, worker: _Worker, answer: bytes | None) -> None:
        order = worker.order
        if answer is None:
            reason = Crashed(_how(worker.kill()))
            if order and not worker.has_taken and order.lost < _STARTS:
                order.lost += 1
                self._waiting.appendleft(order)
                worker.order = None
            self._end(worker, reason)
        elif order and answer == TAKEN:
            worker.has_taken, worker.deadline = True, time.monotonic() + order.timeout
        elif order:
            worker.order, worker.deadline = None, inf
            order.settle(_read(answer))
            if worker.tasks >= _TASKS:
                self._end(worker)

    def _end(self, worker: _Worker, reason: Exception | None = None) -> None:
        """Ends a worker; `reason` is what becomes of its order."""
        worker.kill()
        self._started.remove(worker)
        if worker.order and reason:
            worker.order.settle(reason)


def _read(answer: bytes) -> list[RunRecord] | Exception:
    try:
        outcome: list[RunRecord] | Exception = pickle.loads(answer)
    except Exception as error:  # what a class of somebody else's raises
        return TaskFailed(f"its result cannot be read: {describe(error)}")
    return outcome


def _how(exit_code: int | None) -> str:
    """An exit code in words; a negative one names the signal."""
    if exit_code is None or exit_code in _UNSEEN:
        return "its process was lost, or ended with exit code 255"
    if exit_code < 0:
        return f"its process was killed by {signal_name(-exit_code)}"
    return f"its process ended with exit code {exit_code}"
