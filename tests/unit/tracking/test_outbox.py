"""What a store could not take: kept in order, sent once; real servers that really stop."""

import json
import re
import time
from pathlib import Path

import pytest

from optsweep.errors import TrackingError, Unreachable
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import (
    REFUSED,
    Call,
    Outbox,
    joined,
    outboxes,
    pending_id,
    ticket_of,
)
from optsweep.tracking.sending.reconnecting import Connection
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run


def test_a_refused_call_is_logged_and_does_not_hold_other_runs_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/mlflow.db", "optsweep")
    with start_run(store, "good") as run:
        pass
    for name, run_id in (("bad", "0" * 32), ("good", run.run_id)):
        tags = {"call": "tags", "run_id": run_id, "time": 1, "tags": {"a": "b"}, "again": True}
        Outbox(tmp_path / name).add(tags)
    assert deliver(store, [tmp_path / "bad", tmp_path / "good"]) == 1
    assert re.search(r"not found.*bad/refused\.jsonl", caplog.text)
    assert outboxes(tmp_path) == []
    assert outboxes(tmp_path, REFUSED) == [tmp_path / "bad"]


def test_without_a_folder_a_store_that_is_away_is_an_error(tmp_path: Path) -> None:
    store = Store.attach("http://127.0.0.1:9", "1")
    with pytest.raises(Unreachable, match="does not answer"):
        TrackedRun(store, "0" * 32).tag(a="b")


def test_what_a_kill_tore_is_passed_over(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.add({"call": "tags", "n": 1})
    with box.path.open("a") as file:
        file.write('{"call": "ta')
    box.add({"call": "tags", "n": 2})
    with box.taken() as calls:
        assert [call["n"] for call in calls] == [1, 2]
        calls.pop(0)
    assert [json.loads(line)["n"] for line in box.path.read_text().splitlines()] == [2]
    with box.taken() as calls:
        calls.clear()
    assert not box.waiting


def test_points_travel_together_in_order(tmp_path: Path) -> None:
    def points(run: str, *steps: int) -> Call:
        return {"call": "points", "run_id": run, "points": [["loss", 1.0, 0, n] for n in steps]}

    end: Call = {"call": "end", "run_id": "a"}
    given = [points("a", 1), points("a", 2), end, points("a", 3), points("b", 1)]
    merged = list(joined(given))
    assert [len(call.get("points", ())) for call in merged] == [2, 0, 1, 1]
    assert [len(call["points"]) for call in joined([points("a", *range(600))] * 3)] == [600] * 3


def test_a_line_comes_back_once_its_store_answers() -> None:
    tries = []

    def probe() -> None:
        tries.append(1)
        if len(tries) < 2:
            raise TrackingError("still away")

    line = Connection(probe)
    line._pause = 0.01
    line.lost()
    line.lost()  # marked again by another, it looks for itself once
    while not line.up:
        time.sleep(0.01)
    assert len(tries) == 2


def test_a_ticket_is_found_again_in_an_id() -> None:
    ticket = "0123456789abcdef" * 2
    assert ticket_of(pending_id(ticket)) == ticket
    assert ticket_of(ticket) is None
