"""Whether a launch lives, by the lock on its folder: seen from here, and from other machines."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from optsweep.errors import FolderError
from optsweep.runs import owner
from optsweep.runs.owner import Machine, Owner, State, launch_of, machine, state_by_lock
from support.users import as_user, shared_folder

_OWN = """
import sys
from pathlib import Path
from optsweep.runs.owner import Owner
with Owner(Path(sys.argv[1])) as owner:
    print(owner.name, flush=True)
    sys.stdin.read()
"""


class Launch:
    """A process that owns a folder."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _OWN, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.name = self._process.stdout.readline().strip()
        self.pid = self._process.pid

    def end(self, *, killed: bool = False) -> None:
        if killed:
            self._process.kill()
        self._process.communicate()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    made = Launch(tmp_path)
    yield made
    made.end()


def seen_from(monkeypatch: pytest.MonkeyPatch, **other: str) -> None:
    """From now on this process is on another machine, with the same host name."""
    there = replace(machine(), **other)
    monkeypatch.setattr(owner, "machine", lambda: there)


def test_a_launch_lives_until_it_ends_or_is_killed(launch: Launch, tmp_path: Path) -> None:
    assert state_by_lock(launch.name) is State.ALIVE
    launch.end(killed=True)
    assert (tmp_path / ".owner").exists()
    assert state_by_lock(launch.name) is State.GONE
    other = Launch(tmp_path)
    assert state_by_lock(other.name) is State.ALIVE
    assert state_by_lock(launch.name) is State.GONE  # though its folder is locked
    other.end()
    assert state_by_lock(other.name) is State.GONE


@pytest.mark.long
def test_a_second_launch_in_a_folder_is_refused_and_named_the_first(
    launch: Launch, tmp_path: Path
) -> None:
    with pytest.raises(FolderError, match=rf"in use by process {launch.pid} of \S+ on \S+, since"):
        Owner(tmp_path).__enter__()


def test_equal_host_names_say_nothing_of_another_machine(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_from(monkeypatch, kernel="another", view="another")
    assert state_by_lock(launch.name) is State.UNKNOWN
    launch.end()
    assert state_by_lock(launch.name) is State.UNKNOWN


def test_a_container_that_sees_the_folder_sees_its_lock(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_from(monkeypatch, host="another", view="another")
    assert state_by_lock(launch.name) is State.ALIVE
    launch.end(killed=True)
    assert state_by_lock(launch.name) is State.GONE


def test_a_container_that_has_a_folder_of_its_own_there_knows_nothing(
    launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch.end()
    other = Launch(tmp_path)
    seen_from(monkeypatch, view="another")
    assert state_by_lock(launch.name) is State.UNKNOWN
    other.end()
    assert state_by_lock(launch.name) is State.UNKNOWN


def test_a_lock_that_another_user_may_not_look_at_says_nothing() -> None:
    with shared_folder() as shared:
        folder = shared / "0"
        with Owner(folder) as mine:
            folder.chmod(0o700)
            assert state_by_lock(mine.name) is State.ALIVE
            assert as_user(1234, lambda: state_by_lock(mine.name)) is State.UNKNOWN
            folder.chmod(0o755)
            assert as_user(1234, lambda: state_by_lock(mine.name)) is State.ALIVE


def test_what_an_earlier_version_tagged_goes_by_the_host_name(tmp_path: Path) -> None:
    here = machine().host
    with Owner(tmp_path):
        assert state_by_lock(f"{here}:{tmp_path}/.owner") is State.ALIVE
        assert state_by_lock(f"other:{tmp_path}/.owner") is State.UNKNOWN
    assert state_by_lock(f"{here}:{tmp_path}/.owner") is State.GONE
    assert launch_of(f"{here}:{tmp_path}/.owner") == ""


def test_only_the_lock_of_an_owner_is_looked_at(tmp_path: Path) -> None:
    name = Owner(tmp_path).name
    assert state_by_lock(name.replace(".owner", ".secret")) is State.UNKNOWN


def test_a_machine_is_known_without_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    known = machine()
    assert known == machine()
    monkeypatch.setattr(owner, "_read", lambda path: "")
    assert machine() == Machine(known.host, machine().kernel, known.view)
    assert machine().kernel != known.kernel
