"""How a sweep ends whose runs fail, or whose store goes silent: its status, and what is written."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from optsweep.data.dataset import load_dataset
from optsweep.runs import run
from optsweep.tracking import timeouts
from optsweep.tracking.sending.outbox import Outbox
from support.in_process import sweep_here
from support.servers import FakeStore
from support.store import QUICK, runs


def failing_at(monkeypatch: pytest.MonkeyPatch, *learning_rates: float) -> None:
    """Has the runs with these learning rates fail before they train."""
    load = load_dataset

    def fail(settings: object) -> object:
        if getattr(settings, "lr") in learning_rates:  # noqa: B009
            raise RuntimeError("no such luck")
        return load(settings)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "load_dataset", fail)


@pytest.mark.long
def test_a_sweep_whose_runs_all_failed_is_failed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(monkeypatch, 0.1, 0.01)
    sweep_here(project, "lr=0.1,0.01", *QUICK)
    (parent,) = runs(project, "sweep")
    assert parent.info.status == "FAILED"
    assert parent.data.tags["optsweep.error"] == "none of the 2 runs finished"


@pytest.mark.long
def test_a_sweep_some_of_whose_runs_failed_is_finished(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at(monkeypatch, 0.1)
    sweep_here(project, "lr=0.1,0.01", *QUICK)
    (parent,) = runs(project, "sweep")
    assert parent.info.status == "FINISHED"
    monkeypatch.undo()
    failing_at(monkeypatch)
    sweep_here(project, "lr=0.1,0.01", *QUICK, "resume=true")
    (parent,) = runs(project, "sweep")
    assert parent.info.status == "FINISHED" and "optsweep.error" not in parent.data.tags


@pytest.fixture
def silent_since() -> list[float]:
    """When the server went silent."""
    return []


@pytest.fixture
def leaving(silent_since: list[float]) -> Iterator[FakeStore]:
    """A server that goes silent when it is sent the first epoch, as Ctrl-C is typed."""
    over = threading.Event()

    def status(path: str, body: str) -> int:
        if "val/loss" in body and not silent_since:
            silent_since.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        if silent_since:
            over.wait()
        return 200

    with FakeStore(status) as made:
        yield made
        over.set()


@pytest.mark.long
def test_ctrl_c_on_a_sweep_whose_server_is_silent_still_concludes(
    project: Path,
    leaving: FakeStore,
    silent_since: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timeouts, "SECONDS", dict.fromkeys(timeouts.SECONDS, 2.0))
    with pytest.raises(KeyboardInterrupt):
        sweep_here(project, "lr=0.1,0.01", *QUICK, f"tracking.uri={leaving.uri}")
    assert time.monotonic() - silent_since[0] < 15
    assert (project / "outputs/report.html").exists()
    assert (project / "outputs/table.csv").exists()
    for folder in ("outputs", "outputs/0"):
        with Outbox(project / folder).taken() as calls:
            ends = [call["status"] for call in calls if call["call"] == "end"]
        assert ends and set(ends) == {"KILLED"}
