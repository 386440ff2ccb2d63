"""The scheduler: submits a sweep's jobs to an executor, watches them, retries and ends them.

`Scheduler.run` is given groups of jobs and fills in a record for each job. It looks only at the
groups in hand, one more than there are workers, however many runs a sweep has.
"""

import logging
import queue
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from optsweep.config.launchers import Launch
from optsweep.errors import StackFailed, TrackingError, Unreachable
from optsweep.execution.executor import Crashed, Executor, Task
from optsweep.execution.worker import OUTPUT, last_lines
from optsweep.records.run import RunRecord
from optsweep.runs.job import Job
from optsweep.runs.stack_member import TrackingContext, new_record
from optsweep.runs.status_file import STATUS_FILE, read_status
from optsweep.sweep.display.progress import SweepProgress
from optsweep.system.project_folder import command
from optsweep.system.redaction import redact
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import Outbox
from optsweep.tracking.tracked_run import end_run

Group = tuple[int, ...]  # the places of jobs that run together

log = logging.getLogger(__name__)

_GLANCE = 1.0  # seconds between two looks at what is running


class Scheduler:
    """Which runs of a sweep the executor has, and what became of each.

    `records` has one for each of `jobs`, in their order; both lists grow by `add`.
    """

    def __init__(
        self,
        jobs: list[Job],
        records: list[RunRecord],
        launch: Launch,
        context: TrackingContext,
        prepare: Callable[[int, Path], None],
    ) -> None:
        self.jobs = jobs
        self.records = records
        self._launch = launch
        self._context = context
        self._prepare = prepare
        self._attempts = [0] * len(self.jobs)
        self._in_hand: dict[Future[list[RunRecord]], Group] = {}
        self._crashed: set[Group] = set()  # stacks whose worker has died once
        self._shown: list[Future[list[RunRecord]]] = []
        self._asked = 0  # in how many turns the others were asked whether they run
        self._unsent: list[Path] = []  # folders of ended runs that hold what the store did not take
        # Futures report here as they end: no look at all of them, however many there are.
        self._ended: queue.SimpleQueue[Future[list[RunRecord]]] = queue.SimpleQueue()

    def add(self, jobs: Sequence[Job], records: Sequence[RunRecord]) -> None:
        """Takes further jobs, with a record for each."""
        self.jobs.extend(jobs)
        self.records.extend(records)
        self._attempts.extend([0] * len(jobs))

    def run(
        self,
        todo: Sequence[Group],
        executor: Executor,
        progress: SweepProgress,
        further: Callable[[int], Sequence[Group]] | None = None,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        """Runs the jobs in the groups `todo`, one more in hand than there are workers.

        Where a worker has nothing to do, `further` is given how many groups are running and
        returns more groups, whose jobs it has added first. `renew` is called in each turn.
        """
        waiting = deque(todo)
        while True:
            if waiting or self._in_hand:
                renew()
            self._send_unsent()
            self._hand_over(waiting, executor, further)
            if not self._in_hand:
                return
            executor.start()
            try:
                future = self._ended.get(timeout=_GLANCE)
            except queue.Empty:
                progress.running(self._statuses(progress.lines))
                continue
            group = self._in_hand.pop(future)
            if again := self._to_retry(group, future):
                if len(group) > 1:
                    progress.split(len(group), str(future.exception()), len(again[0]))
                waiting.extendleft(reversed(again))
                continue
            error = future.exception()
            records = [self._failed(group[0], error)] if error else future.result()
            for place, record in zip(group, records, strict=True):
                known = self.records[place]
                if record.params == known.params:  # their copies would fill the memory
                    record.params, record.swept = known.params, known.swept
                self.records[place] = record
                if Outbox(self.jobs[place].folder).waiting:
                    self._unsent.append(self.jobs[place].folder)
                progress.ended(record)
                log.debug("%s %s", self.jobs[place].name, record.status)
            failed = any(self.records[place].status == "FAILED" for place in group)
            if self._launch.fail_fast and failed:
                executor.stop()
                self.abandon()
                return

    def jobs_in_hand(self) -> list[list[Job]]:
        """The jobs of each group that the executor has."""
        return [[self.jobs[place] for place in group] for group in self._in_hand.values()]

    def _hand_over(
        self,
        waiting: deque[Group],
        executor: Executor,
        further: Callable[[int], Sequence[Group]] | None,
    ) -> None:
        """Submits groups until all workers have one and another is at hand."""
        while further and not waiting and len(self._in_hand) < executor.workers:
            if not (groups := further(len(self._in_hand))):
                break
            waiting.extend(groups)
        while waiting and len(self._in_hand) <= executor.workers:
            self._submit(waiting.popleft(), executor)

    def _submit(self, group: Group, executor: Executor) -> None:
        for place in group:
            self._prepare(place, self.jobs[place].folder)
        if len(group) == 1:  # what a stack did does not count as its runs' attempts
            self._attempts[group[0]] += 1
        context, jobs = self._context, [self.jobs[place] for place in group]
        task = Task(
            jobs,
            context.store.uri,
            context.store.experiment_id,
            context.parent,
            context.owner,
            context.figures,
            self._launch.verbose,
        )
        log.debug("submitted %s", ", ".join(job.name for job in jobs))
        future = executor.submit(task)
        self._in_hand[future] = group
        future.add_done_callback(self._ended.put)

    def _to_retry(self, group: Group, future: "Future[list[RunRecord]]") -> list[Group]:
        """The groups in which a group is retried, each run in its own MLflow run; none if it ended.

        A stack that did not fit is halved. One whose worker died is tried once more as it was,
        since its runs' last digits depend on it. One that failed otherwise, or again, is taken
        apart, so that only the run at fault fails. A crash of one run is tried again where retries
        are left.
        """
        again: list[Group] = []
        error = future.exception()
        if error is None:
            return again
        if len(group) == 1:
            tried = self._attempts[group[0]]
            again = [group] if isinstance(error, Crashed) and tried <= self._launch.retries else []
        elif isinstance(error, StackFailed) and error.out_of_memory:
            half = len(group) // 2
            again = [group[:half], group[half:]]
        elif isinstance(error, Crashed) and group not in self._crashed:
            self._crashed.add(group)
            again = [group]
        else:
            again = [(place,) for place in group]
        for place in group if again else ():
            self.jobs[place] = replace(self.jobs[place], run_id=self._run_id(place) or None)
        return again

    def _failed(self, place: int, error: BaseException) -> RunRecord:
        job = self.jobs[place]
        record = new_record(job)
        record.status, record.run_id = "FAILED", self._run_id(place)
        record.output = last_lines(job.folder / OUTPUT)
        record.error = redact(str(error))
        if isinstance(error, TimeoutError):
            record.error = f"took longer than hydra.launcher.timeout={self._launch.timeout:g} s"
        if record.run_id:
            end_run(
                self._context.store,
                record.run_id,
                "FAILED",
                record.error,
                record.output,
                folder=job.folder,
            )
        return record

    def _run_id(self, place: int) -> str:
        """A run's id in MLflow; empty where it got no further.

        It is in its worker's status file. A worker that shares no folder with this process, or dies
        as the run is created, leaves none: then MLflow is asked.
        """
        job = self.jobs[place]
        if run_id := read_status(job.folder / STATUS_FILE).get("run_id") or job.run_id:
            return str(run_id)
        asked = {"parent": self._context.parent or "", "fingerprint": job.fingerprint}
        with suppress(TrackingError):
            for run in self._context.store.find(status="RUNNING", **asked):
                if run.data.tags.get("optsweep.folder") == str(job.folder):
                    return str(run.info.run_id)
        return ""

    def _statuses(self, most: int) -> dict[str, tuple[Mapping[str, object], int]]:
        """The statuses of at most so many groups: those shown last time, and some others.

        Which groups run, only their files say. However many are in hand, few files are read: the
        others are asked in turn.
        """
        statuses: dict[str, tuple[Mapping[str, object], int]] = {}
        if not most:
            return statuses
        kept = [future for future in self._shown if future in self._in_hand]
        others = [future for future in self._in_hand if future not in kept]
        at = self._asked * most % max(1, len(others))
        self._asked += 1
        self._shown = []
        for future in [*kept, *(others[at:] + others[:at])[:most]]:
            group = self._in_hand[future]
            job = self.jobs[group[0]]
            if len(statuses) < most and (status := read_status(job.folder / STATUS_FILE)):
                name = job.name if len(group) == 1 else f"{len(group)} runs from {job.name}"
                statuses[name] = (status, job.settings.epochs)
                self._shown.append(future)
        return statuses

    def abandon(self) -> None:
        """Marks the runs that were in hand as KILLED, their workers being gone."""
        for place in (place for group in self._in_hand.values() for place in group):
            record = self.records[place] = new_record(self.jobs[place])
            record.status, record.run_id = "KILLED", self._run_id(place)
            if record.run_id:
                end_run(
                    self._context.store, record.run_id, "KILLED", folder=self.jobs[place].folder
                )
        self._in_hand.clear()
        with suppress(TrackingError):  # those that were killed before they wrote their id
            for run in self._context.store.find(
                status="RUNNING", parent=self._context.parent or ""
            ):
                end_run(self._context.store, run.info.run_id, "KILLED")

    def _send_unsent(self) -> None:
        """Sends what ended runs could not, once the store answers again."""
        store = self._context.store
        if not self._unsent or not store.connection.up:
            return
        try:
            deliver(store, self._unsent)
        except Unreachable:
            store.connection.lost()
        except TrackingError as error:
            log.warning("%s; send it again with %s", error, command("sync"))
            self._unsent.clear()
        self._unsent = [folder for folder in self._unsent if Outbox(folder).waiting]
