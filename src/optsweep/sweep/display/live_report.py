"""The report of a sweep while it runs: written every few seconds at most, by the launching process.

The scheduler calls `renew` whenever it takes a turn. After a write the next one waits a hundred
times as long as that took: the report costs a sweep less than a hundredth of its time.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from optsweep.records.run import SweepRecord
from optsweep.report.live import RELOADING, SHOWN, Glance, RunInHand, live_page
from optsweep.runs.job import Job
from optsweep.runs.status_file import STATUS_FILE, read_status
from optsweep.sweep.display.lines import say
from optsweep.system import files
from optsweep.system.browser import open_page
from optsweep.system.exceptions import first_line
from optsweep.training.checkpoint import JOURNAL
from optsweep.training.epoch_journal import JournalReader

log = logging.getLogger(__name__)

_PAUSE = 3.0  # seconds between two writes, at least
_TIMES = 100  # as long as a write took is waited after it


class LiveReport:
    """Keeps `report.html` in the sweep's folder up to date until the report itself replaces it.

    Args:
        folder: the sweep's.
        describe: gives the record of the sweep as it is now.
        in_hand: gives the jobs of each group that the executor has.
        console: where its path is printed, and that it cannot be written.
        runs: how many runs the sweep is to have, as far as is known.
        opened: whether a browser is to open the page.
    """

    def __init__(
        self,
        folder: Path,
        describe: Callable[[], SweepRecord],
        in_hand: Callable[[], Sequence[Sequence[Job]]],
        console: Console,
        runs: int,
        *,
        opened: bool,
    ) -> None:
        self._path = folder / "report.html"
        self._describe = describe
        self._in_hand = in_hand
        self._console = console
        self._runs = runs
        self._to_open = opened
        self._readers: dict[Path, JournalReader] = {}
        self._began = time.monotonic()
        self._due = 0.0
        self._writes, self._seconds = 0, 0.0
        self._refusal = ""

    def renew(self) -> None:
        """Writes the page if it is time.

        Whatever keeps it from being written is one line, and the sweep continues.
        """
        if time.monotonic() < self._due:
            return
        began = time.perf_counter()
        try:
            self._write(self._in_hand())
        except Exception as error:
            log.debug("the page of the running sweep was not written", exc_info=error)
            if self._refusal != (refusal := first_line(error)):
                self._say(f"report  {self._path} cannot be written ({refusal}); training continues")
            self._refusal = refusal
        else:
            self._open()
        taken = time.perf_counter() - began
        self._writes, self._seconds = self._writes + 1, self._seconds + taken
        self._due = time.monotonic() + max(_PAUSE, _TIMES * taken)

    def __enter__(self) -> "LiveReport":
        files.remove_unfinished(self._path.parent)
        self._say(f"report  {self._path}")
        return self

    def __exit__(self, *raised: object) -> None:
        """Ends the reloading of a page that no report has replaced, the sweep having ended."""
        gone_by = time.monotonic() - self._began
        log.debug("%d writes took %.3f of %.3f seconds", self._writes, self._seconds, gone_by)
        with suppress(Exception):  # what ended the sweep is what counts
            with self._path.open(errors="replace") as page:
                is_live = RELOADING in page.read(1000)
            if is_live:
                self._write([], ended=True)

    def _write(self, in_hand: Sequence[Sequence[Job]], *, ended: bool = False) -> None:
        sweep = self._describe()
        page = live_page(sweep, self._glance(sweep, in_hand, ended))
        files.write(self._path, page.encode(errors="replace"), durable=False)

    def _glance(self, sweep: SweepRecord, in_hand: Sequence[Sequence[Job]], ended: bool) -> Glance:
        """How far the sweep is; which of the groups in hand run, their status files say."""
        statuses = [(group, read_status(group[0].folder / STATUS_FILE)) for group in in_hand]
        begun = [(group, int(str(status["epoch"]))) for group, status in statuses if status]
        running = [job for group, _ in begun for job in group]
        total = max(self._runs, len(sweep.runs))
        seconds = time.monotonic() - self._began
        over = sum(run.status != "SCHEDULED" for run in sweep.runs)
        part = sum(len(group) * epoch / group[0].settings.epochs for group, epoch in begun)
        trained = over - sum(run.reused for run in sweep.runs) + part
        return Glance(
            runs=total,
            in_hand=len(running),
            waiting=sum(map(len, in_hand)) - len(running),
            shown=self._followed(running[:SHOWN]),
            seconds=seconds,
            left=seconds * max(0.0, total - over - part) / trained if trained else None,
            ended=ended,
        )

    def _followed(self, jobs: Sequence[Job]) -> list[RunInHand]:
        """The jobs with their points so far, of which only what is new is read."""
        paths = [job.folder / JOURNAL for job in jobs]
        self._readers = {path: self._readers.get(path) or JournalReader(path) for path in paths}
        for reader in self._readers.values():
            reader.look()
        return [
            RunInHand(job.name, job.settings.epochs, self._readers[path].history)
            for job, path in zip(jobs, paths, strict=True)
        ]

    def _open(self) -> None:
        """Opens the page once, where that was asked for; a browser may take seconds to start."""
        if self._to_open:
            self._to_open = False
            threading.Thread(target=open_page, args=(self._path, self._say), daemon=True).start()

    def _say(self, line: str) -> None:
        say(self._console, line)
