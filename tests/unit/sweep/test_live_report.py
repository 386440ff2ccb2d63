"""When the page of a running sweep is written, what it follows, and what keeps it from that."""

import io
import itertools
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from optsweep.records.run import SweepRecord
from optsweep.report.live import RELOADING
from optsweep.runs.job import Job
from optsweep.runs.status_file import STATUS_FILE
from optsweep.sweep.display import live_report
from optsweep.sweep.display.live_report import LiveReport
from optsweep.training.checkpoint import JOURNAL
from optsweep.training.epoch_journal import Entry, Journal
from support.in_process import new
from support.records import FOUR, failed

WAITING = replace(FOUR, runs=[failed(run, "", status="SCHEDULED") for run in FOUR.runs])


class Sweep:
    """A sweep under way, as far as its report asks."""

    def __init__(self, folder: Path, jobs: list[Job], *, opened: bool = False) -> None:
        self.record: SweepRecord = WAITING
        self.jobs = jobs
        self.console = Console(file=io.StringIO(), width=300)
        self.path = folder / "report.html"
        self.live = LiveReport(
            folder,
            lambda: self.record,
            lambda: [[job] for job in self.jobs],
            self.console,
            4,
            opened=opened,
        )

    @property
    def said(self) -> list[str]:
        assert isinstance(self.console.file, io.StringIO)
        return self.console.file.getvalue().splitlines()


@pytest.fixture
def jobs(project: Path) -> list[Job]:
    return [new(project, "epochs=4", "model.hidden=[16]", folder=str(n)) for n in range(2)]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes without waiting."""
    monkeypatch.setattr(live_report, "_PAUSE", 0)
    monkeypatch.setattr(live_report, "_TIMES", 0)


def begin(job: Job, epochs: int) -> None:
    """Leaves what a worker leaves that has trained so many epochs."""
    job.folder.mkdir(parents=True, exist_ok=True)
    status = {"run_id": "", "epoch": epochs, "scores": ""}
    (job.folder / STATUS_FILE).write_text(json.dumps(status))
    journal = Journal(job.folder / JOURNAL)
    for epoch in range(journal.last + 1, epochs + 1):
        journal.keep(Entry(epoch, 0, {"val/loss": 1.0, "val/accuracy": 0.5}))


@pytest.mark.usefixtures("at_once")
def test_the_page_follows_the_runs_in_hand(tmp_path: Path, jobs: list[Job]) -> None:
    sweep = Sweep(tmp_path, jobs)
    with sweep.live as live:
        live.renew()
        assert "2 wait for a worker" in sweep.path.read_text()
        begin(jobs[0], 1)
        live.renew()
        assert "epoch 1 of 4: validation loss 1.0000, accuracy 0.5000" in sweep.path.read_text()
        begin(jobs[0], 3)
        live.renew()
        html = sweep.path.read_text()
        assert "epoch 3 of 4" in html and "4 runs: 1 in hand, 3 to do" in html
        assert "left" in html
        sweep.jobs, sweep.record = [], FOUR
        live.renew()
        assert "So far, with 4 of 4 runs:" in sweep.path.read_text()
    assert sweep.said == [f"report  {sweep.path}"]


def test_the_page_waits_a_hundred_times_as_long_as_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, taken = [1000.0], [0.5]

    def describe() -> SweepRecord:
        written.append(now[0])
        now[0] += taken[0]
        return WAITING

    written: list[float] = []
    for clock in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: now[0])
    live = LiveReport(tmp_path, describe, list, Console(quiet=True), 4, opened=False)
    with live:
        for _ in range(600):
            live.renew()
            now[0] += 0.25
        taken[0] = 0.001
        for _ in range(100):
            live.renew()
            now[0] += 0.25
        pauses = [after - before for before, after in itertools.pairwise(written)]
    assert min(pauses[:2]) > 50 and 3 <= pauses[-1] < 3.5


@pytest.mark.usefixtures("at_once")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = Sweep(folder, [])
    with sweep.live as live:
        live.renew()
        live.renew()
        (line,) = sweep.said[1:]
        assert line.startswith(f"report  {sweep.path} cannot be written (")
        assert line.endswith("; training continues")
        folder.mkdir()
        live.renew()
        assert sweep.path.exists() and len(sweep.said) == 2


@pytest.mark.usefixtures("at_once")
def test_whatever_is_wrong_with_the_page_training_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> str:
        raise ZeroDivisionError("a mean of nothing")

    monkeypatch.setattr(live_report, "live_page", broken)
    sweep = Sweep(tmp_path, [])
    with sweep.live as live:
        live.renew()
    assert "cannot be written (a mean of nothing)" in sweep.said[-1]


def test_a_page_that_no_report_replaced_does_not_reload_for_ever(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, [])
    with pytest.raises(KeyboardInterrupt), sweep.live as live:
        live.renew()
        assert RELOADING in sweep.path.read_text()
        raise KeyboardInterrupt
    assert RELOADING not in sweep.path.read_text()


def test_the_report_itself_is_left_alone(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, [])
    with sweep.live as live:
        live.renew()
        sweep.path.write_text("the report")
    assert sweep.path.read_text() == "the report"
    assert not list(tmp_path.glob(".*"))


def test_the_log_says_what_the_page_cost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`benchmark.py report` reads it."""
    with caplog.at_level("DEBUG", logger=live_report.log.name), Sweep(tmp_path, []).live as live:
        live.renew()
    assert re.fullmatch(r"1 writes took [\d.]+ of [\d.]+ seconds", caplog.messages[-1])


def test_what_a_kill_left_of_a_write_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f".{'0' * 32}.part.html"
    left.write_text("<!doct")
    with Sweep(tmp_path, []).live:
        assert not left.exists()
