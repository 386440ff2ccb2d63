"""The cache of decoded images, between processes and on a disk that cannot be written."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.command import start
from support.pictures import assert_same, cache, load, pictures

LOADER = """
import sys, time
from pathlib import Path
from optsweep.data import folder as image_folder
root, data_dir, slow = sys.argv[1:]
decode, decoded = image_folder._decode, []
def counted(*arguments):
    decoded.append(1)
    (Path(data_dir) / "decoding").touch()
    time.sleep(float(slow))
    return decode(*arguments)
image_folder._decode = counted
print("ready", flush=True)
sys.stdin.readline()
source = image_folder.image_folder(data_dir=Path(data_dir), path=root, size=4)
print(len(decoded), source.digest, int(source.train.images.sum()))
"""


def can_mount(folder: Path) -> bool:
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0


@pytest.mark.long
def test_a_read_only_disk_is_read_from(tmp_path: Path) -> None:
    root, data_dir = pictures(tmp_path / "pets"), tmp_path / "data"
    data_dir.mkdir()
    expected = load(root, tmp_path / "elsewhere")
    if not can_mount(data_dir):
        pytest.skip("mounting a read-only disk needs privileges")
    try:
        assert_same(load(root, data_dir), expected)
        assert not list(data_dir.iterdir())
    finally:
        subprocess.run(["umount", str(data_dir)], check=True)


def loader(root: Path, data_dir: Path, slow: float = 0.0) -> subprocess.Popen[str]:
    """A process that has imported everything and loads when it is sent a line."""
    command = [sys.executable, "-c", LOADER, str(root), str(data_dir), str(slow)]
    return start(command, Path.cwd(), stdin=subprocess.PIPE, stderr=None)


def start_all(processes: Iterable[subprocess.Popen[str]]) -> None:
    started = list(processes)
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


@pytest.mark.long
def test_of_processes_that_start_together_one_decodes_even_after_one_was_killed(
    tmp_path: Path,
) -> None:
    root, data_dir = pictures(tmp_path / "pets"), tmp_path / "data"
    data_dir.mkdir()
    killed, *others = [loader(root, data_dir, 600), *(loader(root, data_dir, 1) for _ in range(2))]
    try:
        start_all([killed])
        while not (data_dir / "decoding").exists():
            time.sleep(0.01)
        start_all(others)
        killed.kill()
        answers = [process.communicate(timeout=60)[0].split() for process in others]
    finally:
        for process in (killed, *others):
            process.kill()
            process.communicate()
    assert sorted(answer[0] for answer in answers) == ["0", "1"]
    source = load(root, data_dir)
    expected = [source.digest, str(int(source.train.images.sum()))]
    assert [answer[1:] for answer in answers] == [expected] * 2
    assert len(cache(data_dir)) == 1
    assert not list((data_dir / ".decoded").glob("*.part"))
