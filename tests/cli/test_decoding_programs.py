"""Decoding in real processes: on all cores, killed in the middle, and in bounded memory."""

import io
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from optsweep.data.decoding import unfinished
from optsweep.data.decoding.worker import DONE, Rows
from support.command import copy_project, run
from support.environment import environment
from support.pictures import cache, load

LOADER = """
import sys
from pathlib import Path
from optsweep.data.folder import image_folder
root, data_dir, size = sys.argv[1:]
source = image_folder(data_dir=Path(data_dir), path=root, size=int(size))
print(source.digest)
"""


def photos(root: Path, count: int, side: int) -> Path:
    """So many files of `side` x `side` pixels in two classes, of which no two are the same."""
    written = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(written, "JPEG")
    for number in range(count):
        folder = root / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}.jpg").write_bytes(written.getvalue() + number.to_bytes(4, "big"))
    return root


def loader(root: Path, data_dir: Path, size: int = 8) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", LOADER, str(root), str(data_dir), str(size)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def rows_in(data_dir: Path) -> tuple[Path, Rows] | None:
    """The unfinished file, and its rows once it has any; the file stays open."""
    for path in (data_dir / ".decoded").glob("*.unfinished"):
        file = path.open("r+b", buffering=0)
        if layout := unfinished.found(file.fileno()):
            OPEN.append(file)
            return path, layout.rows(file.fileno())
        file.close()
    return None


OPEN: list[io.FileIO] = []


@pytest.mark.long
def test_a_kill_while_programs_decode_loses_nothing_that_is_done(tmp_path: Path) -> None:
    root, data_dir = photos(tmp_path / "pets", 1500, 400), tmp_path / "data"
    killed = loader(root, data_dir)
    try:
        while (found := rows_in(data_dir)) is None:
            assert killed.poll() is None
            time.sleep(0.01)
        _, rows = found
        while (done := int((rows.states() == DONE).sum())) < 500:
            assert killed.poll() is None
            time.sleep(0.01)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    time.sleep(1)  # its programs end with the files that they were given
    states = rows.states()
    assert done <= (states == DONE).sum() < 1500
    first = int(np.flatnonzero(states == DONE)[0])
    rows.write(first, b"\7" * rows.width, b"\0" * 16)  # who decodes it again would overwrite it
    again = loader(root, data_dir)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0 and errors == ""
    assert len(cache(data_dir)) == 1
    source = load(root, data_dir, size=8)
    pool = source.train.pool
    assert (pool[first] == 7).all()
    others = torch.arange(1500) != first
    assert (pool[others] == pool[(first + 1) % 1500]).all(), "all files show the same"
    assert not list((data_dir / ".decoded").glob("*.unfinished"))


@pytest.mark.long
def test_a_sweep_shows_how_many_pictures_are_decoded(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    root = photos(tmp_path / "pets", 1500, 400)
    given = ["dataset=image_folder", f"dataset.path={root}", "dataset.size=8", "epochs=1"]
    result = run(project, "-m", *given, "lr=0.1,0.01", "figures=none", "model=softmax")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^decoding pictures: [\d,]+ of 1,500$", result.stdout, re.MULTILINE)
    assert len(re.findall(r"^decoded 1,500 pictures in [\d.]+ s$", result.stdout, re.M)) == 1


def peak_memory(process: "subprocess.Popen[str]") -> int:
    """The most bytes that a process had of its own, beside files that are mapped."""
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if found := re.search(r"RssAnon:\s+(\d+) kB", status):
            peak = max(peak, int(found[1]) * 1024)
        time.sleep(0.005)
    return peak


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    peaks = []
    for count in (100, 600):
        root = photos(tmp_path / str(count), count, 16)
        process = loader(root, tmp_path / "data", 512)
        peaks.append(peak_memory(process))
        assert process.returncode == 0
    assert sum(file.stat().st_size for file in cache(tmp_path / "data")) > 700 * 512 * 512 * 3
    assert peaks[1] < 1.2 * peaks[0], "600 pictures take 472 MB on disk, 100 take 79"
