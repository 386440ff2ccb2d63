"""What a store could not take: kept in order, sent once; real servers that really stop."""

import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from optsweep.errors import TrackingError, Unreachable
from optsweep.tracking.calls import DatasetInfo
from optsweep.tracking.connection import Connection
from optsweep.tracking.delivery import deliver
from optsweep.tracking.outbox import REFUSED, Call, Outbox, joined, outboxes, pending_id, ticket_of
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
from optsweep.training.journal import Entry
from support.servers import TrackingServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    made = TrackingServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


def entry(epoch: int, loss: float) -> Entry:
    seen = 1000 * epoch
    return Entry(epoch, seen, {"train/loss": loss, "val/loss": math.nan}, {seen: loss})


@pytest.mark.long
def test_a_server_that_goes_away_stops_nothing_and_holds_everything_once(
    server: TrackingServer, tmp_path: Path
) -> None:
    store = Store.open(server.start().uri, "optsweep")
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"123")
    info = DatasetInfo("digits", "abc", "here", (1, 8, 8), {"train": 10, "test": 5})
    tags = {"optsweep.kind": "run"}
    with start_run(store, "sweep", tags={"optsweep.kind": "sweep"}, folder=tmp_path) as parent:
        with start_run(
            store, "early", tags=tags, parent=parent.run_id, folder=tmp_path / "0"
        ) as early:
            early.log_epoch(entry(1, 2.0))
            server.stop()
            early.log_epoch(entry(2, 1.0))
            early.log_file(weights)
        late_folder = tmp_path / "1"
        with start_run(
            store, "late", params={"lr": 0.1}, tags=tags, parent=parent.run_id, folder=late_folder
        ) as late:
            late.log_dataset(info)
            late.log_text("note.txt", "hello")
            late.log_epoch(entry(1, 3.0))
        failed = TrackedRun(store, late.run_id, late_folder)
        parent.tag(best_run_id=late.run_id)
    assert ticket_of(late.run_id)
    assert ticket_of(early.run_id) is None
    assert outboxes(tmp_path) == [tmp_path, tmp_path / "0", late_folder]

    server.start()
    again = Store.attach(server.uri, store.experiment_id)
    kept = {folder: Outbox(folder).path.read_bytes() for folder in outboxes(tmp_path)}
    assert deliver(again, list(kept)) > 0
    assert outboxes(tmp_path) == []
    for folder, calls in kept.items():  # as if the first sender had died before its last word
        Outbox(folder).path.write_bytes(calls)
    deliver(again, list(kept), whole=True)

    found = {str(run.info.run_name): run for run in server.runs()}
    assert {name: run.info.status for name, run in found.items()} == {
        "early": "FINISHED",
        "late": "FINISHED",
    }
    assert server.points(found["early"].info.run_id, "train/loss") == [(1, 2.0), (2, 1.0)]
    assert server.points(found["early"].info.run_id, "batch/loss") == [(1000, 2.0), (2000, 1.0)]
    assert server.points(found["late"].info.run_id, "train/loss") == [(1, 3.0)]
    late_run = found["late"]
    assert late_run.data.params == {"lr": "0.1"}
    assert late_run.data.tags["mlflow.parentRunId"] == parent.run_id
    assert late_run.inputs is not None
    assert [given.dataset.digest for given in late_run.inputs.dataset_inputs] == ["abc"]
    client = MlflowClient(server.uri)
    stored = [entry.path for entry in client.list_artifacts(late_run.info.run_id)]
    assert stored == ["note.txt"]
    (sweep,) = server.runs("sweep")
    assert sweep.data.tags["optsweep.best_run_id"] == late_run.info.run_id
    assert again.id_of(failed.run_id) == late_run.info.run_id
    assert late_run.info.start_time <= late_run.info.end_time < time.time() * 1000
    server.stop()


@pytest.mark.long
def test_a_run_goes_on_telling_when_the_server_is_back(
    server: TrackingServer, tmp_path: Path
) -> None:
    store = Store.open(server.start().uri, "optsweep")
    server.stop()
    with start_run(store, "patient", tags={"optsweep.kind": "other"}, folder=tmp_path) as run:
        run.log_epoch(entry(1, 1.0))
        assert not store.connection.up
        server.start()
        while not store.connection.up:
            time.sleep(0.1)
        run.log_epoch(entry(2, 0.5))
        assert outboxes(tmp_path) == []
        run.log_epoch(entry(3, 0.25))
    (found,) = server.runs("other")
    assert found.info.run_id == run.run_id
    assert found.info.status == "FINISHED"
    assert [step for step, _ in server.points(run.run_id, "train/loss")] == [1, 2, 3]
    server.stop()


def test_a_refused_call_is_told_and_does_not_hold_other_runs_back(
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
    line.lost()  # told again by another, it looks for itself once
    while not line.up:
        time.sleep(0.01)
    assert len(tries) == 2


def test_a_ticket_is_found_again_in_an_id() -> None:
    ticket = "0123456789abcdef" * 2
    assert ticket_of(pending_id(ticket)) == ticket
    assert ticket_of(ticket) is None
