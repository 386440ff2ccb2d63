"""A sweep's runs under way: handed to the executor, watched, tried again, and ended.

`Course.run` fills one record a job in. It looks at nothing but the runs in hand, of which there
is one more than there are workers, however many runs a sweep has.
"""

import queue
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from optsweep.executors import Crashed, Executor
from optsweep.jobs import Job
from optsweep.progress import SweepProgress, read_note
from optsweep.results import RunRecord
from optsweep.run import new_record
from optsweep.settings import Launch
from optsweep.tracking import Store
from optsweep.worker import NOTE, OUTPUT, Task, last_lines

_GLANCE = 0.2  # seconds between two looks at what is running


@dataclass(frozen=True)
class Filing:
    """Where the runs of a sweep are filed, under whose name, and whether with pictures."""

    store: Store
    parent: str
    owner: str
    figures: bool


class Course:
    """The runs of a sweep under way: which are in the executor's hands, and what became of each."""

    def __init__(
        self,
        jobs: Sequence[Job],
        records: list[RunRecord],
        launch: Launch,
        filing: Filing,
        prepare: Callable[[int, Path], None],
    ) -> None:
        self._jobs = list(jobs)
        self._records = records
        self._launch = launch
        self._filing = filing
        self._prepare = prepare
        self._attempts = [0] * len(self._jobs)
        self._in_hand: dict[Future[RunRecord], int] = {}
        # Futures report here as they end: no look at all of them, however many there are.
        self._ended: queue.SimpleQueue[Future[RunRecord]] = queue.SimpleQueue()

    def run(self, todo: Sequence[int], executor: Executor, progress: SweepProgress) -> None:
        """Carries out the jobs at the places `todo`, one more in hand than there are workers."""
        waiting = deque(todo)
        while waiting or self._in_hand:
            while waiting and len(self._in_hand) <= executor.workers:
                self._submit(waiting.popleft(), executor)
            try:
                future = self._ended.get(timeout=_GLANCE)
            except queue.Empty:
                progress.running(self._notes())
                continue
            place = self._in_hand.pop(future)
            if self._is_to_be_tried_again(place, future):
                waiting.appendleft(place)
                continue
            self._records[place] = self._outcome(place, future)
            progress.ended(self._records[place])
            if self._launch.fail_fast and self._records[place].status == "FAILED":
                executor.stop()
                self.abandon()
                return

    def _submit(self, place: int, executor: Executor) -> None:
        self._prepare(place, self._jobs[place].folder)
        self._attempts[place] += 1
        task = Task(
            self._jobs[place],
            self._filing.store.uri,
            self._filing.store.experiment_id,
            self._filing.parent,
            self._filing.owner,
            self._filing.figures,
        )
        future = executor.submit(task)
        self._in_hand[future] = place
        future.add_done_callback(self._ended.put)

    def _is_to_be_tried_again(self, place: int, future: "Future[RunRecord]") -> bool:
        """A crash is tried again where retries are left: in its own run, from its checkpoint."""
        crashed = isinstance(future.exception(), Crashed)
        if not crashed or self._attempts[place] > self._launch.retries:
            return False
        self._jobs[place] = replace(self._jobs[place], run_id=self._run_id(place) or None)
        return True

    def _outcome(self, place: int, future: "Future[RunRecord]") -> RunRecord:
        error = future.exception()
        if error is None:
            return future.result()
        job = self._jobs[place]
        record = new_record(job)
        record.status, record.run_id = "FAILED", self._run_id(place)
        record.output = last_lines(job.folder / OUTPUT)
        record.error = str(error)
        if isinstance(error, TimeoutError):
            record.error = f"took longer than hydra.launcher.timeout={self._launch.timeout:g} s"
        if record.run_id:
            self._filing.store.end(record.run_id, "FAILED", record.error, record.output)
        return record

    def _run_id(self, place: int) -> str:
        """A run's id in MLflow, from its worker's note; empty where it got no further."""
        job = self._jobs[place]
        return str(read_note(job.folder / NOTE).get("run_id") or job.run_id or "")

    def _notes(self) -> dict[str, tuple[Mapping[str, object], int]]:
        notes: dict[str, tuple[Mapping[str, object], int]] = {}
        for place in self._in_hand.values():
            job = self._jobs[place]
            if note := read_note(job.folder / NOTE):
                notes[job.name] = (note, job.settings.epochs)
        return notes

    def abandon(self) -> None:
        """Marks the runs that were in hand as KILLED, their workers being gone."""
        for place in self._in_hand.values():
            record = self._records[place] = new_record(self._jobs[place])
            record.status, record.run_id = "KILLED", self._run_id(place)
        self._in_hand.clear()
        for run in self._filing.store.find(status="RUNNING", parent=self._filing.parent):
            self._filing.store.end(run.info.run_id, "KILLED")
