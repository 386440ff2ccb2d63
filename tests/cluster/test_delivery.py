"""What becomes of calls that a store does not take: set aside, while the rest is sent."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from optsweep.errors import CallFailed, TrackingError, Unreachable
from optsweep.sweep.final_delivery import sending_unsent
from optsweep.tracking.sending import delivery
from optsweep.tracking.sending.delivery import deliver
from optsweep.tracking.sending.outbox import Call, Outbox, outboxes, pending_id
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun, start_run
from support.command import copy_project, run
from support.servers import FakeStore

RUN = "0" * 32


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStore]:
    monkeypatch.setattr(delivery, "_PAUSE", 0.01)
    with FakeStore() as made:
        yield made


def tags(name: str) -> Call:
    where = {"store": "", "experiment_id": "1", "again": True, "time": 1}
    return {"call": "tags", "run_id": RUN, "tags": {"name": name}, **where}


def filled(folder: Path, *names: str) -> Outbox:
    box = Outbox(folder)
    for name in names:
        box.add(tags(name))
    return box


def sent(fake: FakeStore) -> list[str]:
    """The names in the tags that the store took, in order."""
    bodies = [json.loads(body) for path, body in fake.taken if path == "runs/log-batch"]
    return [body["tags"][0]["value"] for body in bodies]


def set_aside(box: Outbox) -> list[str]:
    if not box.refused.exists():
        return []
    return [json.loads(line)["tags"]["name"] for line in box.refused.read_text().splitlines()]


def failing(status: int, *names: str) -> Callable[[str, str], int]:
    return lambda path, body: status if any(f'"{name}"' in body for name in names) else 200


def test_a_call_that_fails_for_good_is_set_aside_and_the_rest_is_sent(
    fake: FakeStore, tmp_path: Path
) -> None:
    fake.status = failing(500, "b", "c")
    box = filled(tmp_path, "a", "b", "c", "d")
    store = Store.attach(fake.uri, "1")
    for _ in range(4):  # each time that the server seems to be there
        with pytest.raises(CallFailed, match="500"):
            deliver(store, [tmp_path])
        assert sent(fake) == ["a"] and set_aside(box) == []
    assert deliver(store, [tmp_path]) == 1
    assert (sent(fake), set_aside(box)) == (["a", "d"], ["b", "c"])
    assert outboxes(tmp_path) == []


def test_at_the_end_the_tries_are_made_at_once(fake: FakeStore, tmp_path: Path) -> None:
    fake.status = failing(500, "b")
    box = filled(tmp_path, "a", "b", "c")
    assert deliver(Store.attach(fake.uri, "1"), [tmp_path], at_once=True) == 2
    assert (sent(fake), set_aside(box)) == (["a", "c"], ["b"])


def test_a_server_that_fails_at_everything_has_nothing_set_aside(
    fake: FakeStore, tmp_path: Path
) -> None:
    fake.status = lambda path, body: 500
    box = filled(tmp_path, "a", "b", "c")
    for _ in range(9):
        with pytest.raises(CallFailed):
            deliver(Store.attach(fake.uri, "1"), [tmp_path], at_once=True)
    assert set_aside(box) == []
    fake.status = lambda path, body: 200
    assert deliver(Store.attach(fake.uri, "1"), [tmp_path]) == 3
    assert sent(fake) == ["a", "b", "c"]


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_server_that_is_away_has_everything_kept_in_order(
    fake: FakeStore, tmp_path: Path, status: int
) -> None:
    fake.status = failing(status, "b")
    box = filled(tmp_path, "a", "b", "c")
    for _ in range(9):
        with pytest.raises(Unreachable) as caught:
            deliver(Store.attach(fake.uri, "1"), [tmp_path], at_once=True)
        assert not isinstance(caught.value, CallFailed)
    assert (sent(fake), set_aside(box)) == (["a"], [])


def test_a_refused_call_does_not_block_those_behind_it(fake: FakeStore, tmp_path: Path) -> None:
    fake.status = failing(400, "b")
    box = filled(tmp_path, "a", "b", "c")
    assert deliver(Store.attach(fake.uri, "1"), [tmp_path]) == 2
    assert (sent(fake), set_aside(box)) == (["a", "c"], ["b"])


def test_a_folder_that_fails_does_not_hold_others_back(fake: FakeStore, tmp_path: Path) -> None:
    fake.status = failing(500, "b")
    filled(tmp_path / "0", "b", "c")
    filled(tmp_path / "1", "d")
    with pytest.raises(CallFailed):
        deliver(Store.attach(fake.uri, "1"), [tmp_path / "0", tmp_path / "1"])
    assert sent(fake) == ["d"]


def test_a_run_that_cannot_be_created_keeps_what_is_for_it(fake: FakeStore, tmp_path: Path) -> None:
    fake.status = lambda path, body: 500 if path == "runs/create" else 200
    box = Outbox(tmp_path)
    ticket = "ab" * 16
    created = {"optsweep.ticket": ticket}
    run_id = pending_id(ticket)
    box.add(tags("x") | {"call": "create", "name": "run", "tags": created, "run_id": run_id})
    box.add(tags("a") | {"run_id": run_id})
    for _ in range(9):
        with pytest.raises(CallFailed):
            deliver(Store.attach(fake.uri, "1"), [tmp_path], at_once=True, whole=True)
    assert set_aside(box) == []
    fake.status = lambda path, body: 200
    assert deliver(Store.attach(fake.uri, "1"), [tmp_path]) == 2


@pytest.mark.parametrize("status", [400, 500])
def test_a_run_continues_past_a_call_that_the_store_does_not_take(
    fake: FakeStore, tmp_path: Path, status: int
) -> None:
    fake.status = failing(status, "b")
    store = Store.attach(fake.uri, "1")
    console = Console(record=True, width=500)
    with sending_unsent(tmp_path, [], store, console):
        with start_run(store, "run", folder=tmp_path) as tracked:
            for name in ("a", "b", "c"):
                tracked._send("tags", tags={"name": name})
        while not store.connection.up:
            pass
    assert sent(fake) == ["a", "c"]
    assert fake.taken[-1][0] == "runs/update"
    assert set_aside(Outbox(tmp_path)) == ["b"]
    said = console.export_text()
    assert f"refused what is in {tmp_path}/refused.jsonl" in said
    assert f"python experiments/sync.py folder={tmp_path}" in said


def test_without_a_folder_a_refused_call_is_an_error(fake: FakeStore) -> None:
    fake.status = failing(400, "b")
    with pytest.raises(TrackingError):
        TrackedRun(Store.attach(fake.uri, "1"), RUN)._send("tags", tags={"name": "b"})


@pytest.mark.long
def test_sync_sends_what_was_set_aside_again(fake: FakeStore, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    box = Outbox(project / "outputs/run")
    for name in ("a", "b", "c"):
        box.add(tags(name) | {"store": fake.uri})
    arguments = (f"tracking.uri={fake.uri}",)
    fake.status = failing(500, "b")
    for names in (["a", "c"], ["a", "c"]):
        done = run(project, *arguments, script="experiments/sync.py")
        assert done.returncode == 1, done.stderr
        assert str(box.path.parent) in done.stderr and "Traceback" not in done.stderr
        assert sent(fake) == names
    fake.status = lambda path, body: 200
    done = run(project, *arguments, script="experiments/sync.py")
    assert done.returncode == 0, done.stderr
    assert sent(fake) == ["a", "c", "b"]
    assert not box.refused.exists() and not box.waiting
