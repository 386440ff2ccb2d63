"""Files are whole at any moment: the old content, or the new one, and nothing beside it."""

import errno
import os
from pathlib import Path

import pytest

from optsweep.system import files


class Interrupted(BaseException):
    """What a writer may be stopped by."""


@pytest.mark.parametrize("content", ["text é", b"\x00bytes"])
def test_a_file_is_written_whole_and_leaves_nothing_beside_it(
    tmp_path: Path, content: str | bytes
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    files.write(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("full"), Interrupted()])
def test_a_writer_that_fails_changes_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.bin"
    path.write_text("before")
    with pytest.raises(type(error)), files.replacing(path) as unfinished:
        unfinished.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", [None, "unfinished"])
def test_a_writer_that_fails_names_the_file(failing: str | None, tmp_path: Path) -> None:
    """A full disk has no name in a `write`, and the wrong one in an `open`."""
    path = tmp_path / "table.csv"
    with pytest.raises(OSError, match="No space left") as raised, files.replacing(path) as new:
        raise OSError(errno.ENOSPC, "No space left on device", failing and str(new))
    assert raised.value.filename == str(path)


def test_a_line_that_cannot_be_appended_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left") as raised:
        files.append(tmp_path / "history.jsonl", "{}")
    assert raised.value.filename == str(tmp_path / "history.jsonl")


def test_a_name_of_any_length_that_a_filesystem_takes_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".txt")
    files.write(path, "all")
    assert path.read_text() == "all"


@pytest.mark.parametrize("durable", [True, False])
def test_content_is_on_the_disk_before_its_name_and_its_name_before_the_call_returns(
    tmp_path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(number: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{number}").resolve() == tmp_path else "file")
        fsync(number)

    def spy_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    files.write(tmp_path / "a", "content", durable=durable)
    assert done == (["file", "rename", "folder"] if durable else ["rename"])
    done.clear()
    files.append(tmp_path / "b", "first", durable=durable)
    files.append(tmp_path / "b", "second", durable=durable)
    assert done == (["file", "folder", "file"] if durable else [])


@pytest.mark.parametrize("torn", [b"", b"whole\n", b"half", b"\0\0\0", b"whole\n\xff"])
def test_a_line_is_added_after_whatever_a_crash_left(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "lines"
    path.write_bytes(torn)
    files.append(path, "new")
    assert path.read_bytes() == torn + b"\n" * (not torn.endswith(b"\n") and torn != b"") + b"new\n"


def test_only_our_own_unfinished_files_are_removed(tmp_path: Path) -> None:
    mine = [tmp_path / name for name in (".x.part", "a.part", ".part", f".{'0' * 31}.part")]
    for path in mine:
        path.touch()
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "a.png") as unfinished:
        os.link(_touched(unfinished), tmp_path / f".{'0' * 32}.part.png")
        unfinished.unlink()
    files.remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(mine)


def _touched(path: Path) -> Path:
    path.touch()
    return path
