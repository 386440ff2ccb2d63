"""The outbox of a run whose real server goes away."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from optsweep.tracking.sending.calls import DatasetInfo
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import Outbox, outboxes, ticket_of
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
from support.servers import TrackingServer
from support.store import entry


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    made = TrackingServer(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


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
            late.log_texts({"note.txt": "hello"})
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
def test_a_run_continues_to_log_when_the_server_is_back(
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
