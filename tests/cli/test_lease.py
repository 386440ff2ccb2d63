"""Whether a launch elsewhere lives, by its lease in a real store; other machines are made up."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.entities import Run

from optsweep.errors import FolderError, Unreachable
from optsweep.runs import heartbeat, lease, owner
from optsweep.runs.heartbeat import Heartbeat
from optsweep.runs.lease import STALE, TAG, Launches, Lease, fetched
from optsweep.runs.owner import Owner, State, machine
from optsweep.sweep.dead_runs import release_dead
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun
from support.users import as_user, shared_folder


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db", "optsweep")


@pytest.fixture
def store(opened: Store) -> Iterator[Store]:
    yield opened
    for run in opened.find(status="RUNNING"):
        opened.client.delete_run(run.info.run_id)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LOOK", 0.3)
    monkeypatch.setattr(heartbeat, "_SETTLE", 0.2)


class Launch:
    """A launch on a machine of the same host name, with its sweep and a run of that."""

    def __init__(self, store: Store, folder: Path, kernel: str = "another") -> None:
        with pytest.MonkeyPatch.context() as patched:
            there = replace(machine(), kernel=kernel, view=kernel)
            patched.setattr(owner, "machine", lambda: there)
            self.owner = Owner(folder)
        self.store = store
        self.heartbeat = Heartbeat(store, self.owner)
        self.sweep = self.create("sweep", self.heartbeat.tags())
        self.run = self.create("run", {"mlflow.parentRunId": self.sweep.run_id})

    def create(self, name: str, tags: dict[str, str]) -> TrackedRun:
        tracked = TrackedRun(self.store, "pending-" + "0" * 32)
        tracked.create(name, {"optsweep.owner": self.owner.name, "optsweep.kind": name} | tags)
        return tracked

    def renewed(self, seconds_ago: float) -> None:
        """Its last sign of life, by its own clock."""
        text = json.loads(self.heartbeat.tags()[TAG])
        text["renewed"] = time.time() - seconds_ago
        self.sweep.tag(lease=json.dumps(text))

    def status(self) -> set[str]:
        runs = (self.sweep, self.run)
        return {str(fetched(self.store, one.run_id).info.status) for one in runs}

    def as_stored(self) -> Run:
        return fetched(self.store, self.sweep.run_id)


def test_a_launch_of_an_equal_host_name_is_left_alone_while_it_renews_its_lease(
    store: Store, tmp_path: Path
) -> None:
    launch = Launch(store, tmp_path)
    for seconds_ago in (0, STALE - 30, -STALE):  # also where its clock is ahead
        launch.renewed(seconds_ago)
        release_dead(store)
        assert launch.status() == {"RUNNING"}


def test_a_launch_on_a_host_that_is_gone_is_marked_once_its_lease_has_run_out(
    store: Store, tmp_path: Path
) -> None:
    launch = Launch(store, tmp_path)
    launch.renewed(STALE + 1)
    release_dead(store)
    assert launch.status() == {"KILLED"}


def test_a_run_of_a_sweep_that_was_marked_shares_its_lease(store: Store, tmp_path: Path) -> None:
    launch = Launch(store, tmp_path)
    launch.sweep.end("KILLED")
    release_dead(store)
    assert fetched(store, launch.run.run_id).info.status == "RUNNING"
    launch.renewed(STALE + 1)
    release_dead(store)
    assert fetched(store, launch.run.run_id).info.status == "KILLED"


def test_what_has_no_lease_is_left_alone_on_another_host(store: Store, tmp_path: Path) -> None:
    tracked = TrackedRun(store, "pending-" + "0" * 32)
    tracked.create("old", {"optsweep.owner": f"elsewhere:{tmp_path}/.owner"})
    release_dead(store)
    assert fetched(store, tracked.run_id).info.status == "RUNNING"


def test_a_killed_launch_of_this_machine_is_known_at_once(store: Store, tmp_path: Path) -> None:
    with ExitStack() as ended:
        here = Owner(tmp_path)
        ended.enter_context(here)
        launch = Launch(store, tmp_path)
        launch.owner = here
        with Heartbeat(store, here) as beating:
            sweep = launch.create("sweep", beating.tags())
            release_dead(store)
            assert fetched(store, sweep.run_id).info.status == "RUNNING"
            here._lock.release()  # as its end does, however it ends
            release_dead(store)
            assert fetched(store, sweep.run_id).info.status == "KILLED"


def test_two_users_share_a_store_on_one_host(store: Store, tmp_path: Path) -> None:
    with shared_folder() as shared, Owner(shared / "0") as mine, Heartbeat(store, mine) as beating:
        launch = Launch(store, tmp_path)
        launch.owner = mine
        run = launch.create("run", beating.tags())
        (shared / "0").chmod(0o700)
        found = fetched(store, run.run_id)
        assert as_user(1234, lambda: Launches(store).state(found)) is State.ALIVE


def test_who_would_resume_what_another_launch_runs_learns_who_that_is(
    store: Store, tmp_path: Path
) -> None:
    launch = Launch(store, tmp_path)
    launch.sweep.end("KILLED")  # by a launcher that did not see its lease
    with (
        Owner(tmp_path) as mine,
        Heartbeat(store, mine) as beating,
        pytest.raises(FolderError, match=r"in use by process \d+ of \S+ on \S+, since .* ago"),
    ):
        beating.claim(launch.as_stored())
    found = Lease.parse(launch.as_stored().data.tags[TAG])
    assert found
    assert found.launch == launch.owner.launch


def test_a_lease_that_has_run_out_is_looked_at_twice_before_it_is_taken(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Launch(store, tmp_path)
    launch.renewed(STALE + 100)
    with Owner(tmp_path) as mine, Heartbeat(store, mine) as beating:
        with monkeypatch.context() as patched:  # its store was away until now
            patched.setattr(time, "sleep", lambda seconds: launch.renewed(0))
            with pytest.raises(FolderError, match="in use by"):
                beating.claim(launch.as_stored())
        launch.renewed(STALE + 100)
        beating.claim(launch.as_stored())
        assert Launches(store, mine.launch).living(launch.as_stored()) is None
        assert Launches(store).living(launch.as_stored()) is not None


@pytest.mark.long
def test_of_two_that_resume_at_the_same_moment_one_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_SETTLE", 2.0)
    ended = Launch(store, tmp_path)
    ended.renewed(0)
    ended.sweep.tag(lease="")
    one, two = (Launch(store, tmp_path / name, name) for name in ("one", "two"))
    taken: list[str] = []
    refused: list[str] = []

    def claim(launch: Launch) -> None:
        try:
            launch.heartbeat.claim(ended.as_stored())
            taken.append(launch.owner.launch)
        except FolderError:
            refused.append(launch.owner.launch)

    both = [threading.Thread(target=claim, args=(launch,)) for launch in (one, two)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(taken) == len(refused) == 1
    found = Lease.parse(ended.as_stored().data.tags[TAG])
    assert found
    assert [found.launch] == taken


def test_a_lease_is_renewed_until_the_end_and_then_given_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)
    launch = Launch(store, tmp_path)
    first = launch.as_stored().data.tags[TAG]
    with launch.heartbeat as beating:
        beating.keep(launch.sweep)
        until = time.monotonic() + 60
        while (text := launch.as_stored().data.tags[TAG]) == first:
            assert time.monotonic() < until
            time.sleep(0.01)
        renewed = Lease.parse(text)
        assert renewed
        assert renewed.fresh
    assert launch.as_stored().data.tags[TAG] == ""


@pytest.mark.long
def test_a_store_that_is_away_is_left_alone_and_the_lease_renewed_when_it_is_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)
    monkeypatch.setattr(heartbeat, "_PAUSE", 0.05)
    away = Store.attach(store.uri, store.experiment_id)
    asked, back = threading.Event(), threading.Event()

    def probe() -> None:
        asked.set()
        if not back.is_set():
            raise Unreachable("still away")

    away.connection._probe, away.connection._pause = probe, 0.01
    launch = Launch(away, tmp_path)
    first = launch.as_stored().data.tags[TAG]
    away.connection.lost()
    with launch.heartbeat as beating:
        beating.keep(launch.sweep)
        assert asked.wait(60)
        assert launch.as_stored().data.tags[TAG] == first
        back.set()
        until = time.monotonic() + 60
        while launch.as_stored().data.tags[TAG] == first:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_store_that_does_not_answer_holds_nobody_up_at_the_end(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    monkeypatch.setattr(heartbeat, "_END", 0.1)
    launch, stuck = Launch(store, tmp_path), threading.Event()

    def hang(*_: object) -> None:
        stuck.set()
        time.sleep(600)

    monkeypatch.setattr(heartbeat, "write", hang)
    with launch.heartbeat as beating:
        beating.keep(launch.sweep)
        assert stuck.wait(60)
        began = time.monotonic()
    assert time.monotonic() - began < 30


def test_who_stood_still_for_minutes_does_not_take_the_lease_from_their_successor(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    launch, successor = Launch(store, tmp_path), Launch(store, tmp_path, "third")
    launch.sweep.tag(lease=successor.heartbeat.tags()[TAG])
    launch.heartbeat._run = launch.sweep
    launch.heartbeat._renewed = time.time() - STALE - 1
    launch.heartbeat._beat()
    assert "was resumed in the meantime by process" in caplog.text
    with launch.heartbeat:
        pass
    found = Lease.parse(launch.as_stored().data.tags[TAG])
    assert found
    assert found.launch == successor.owner.launch


def test_a_tag_that_is_no_lease_is_none() -> None:
    for text in (None, "", "[]", "{", '{"launch": 1}'):
        assert Lease.parse(text) is None
