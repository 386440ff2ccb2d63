"""How fast a folder of small pictures is decoded, on one core and on all."""

import io
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks.shared import Options, Result, Row
from optsweep.system.cores import cores

COUNT, SIDE = 60_000, 32
LOADER = """
import os, sys, time
from pathlib import Path
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[3])])
from optsweep.data import image_folder
began = time.perf_counter()
image_folder(data_dir=Path(sys.argv[2]), path=sys.argv[1])
print(time.perf_counter() - began)
"""


def decode(options: Options) -> Result:
    """60,000 JPGs of 32x32 pixels decoded on one core, and on all that this process may use.

    The time is that of the dataset's function, from files that were just written to the dataset
    mapped from disk; Python's start and imports are not counted.
    """
    count, usable = options.samples or COUNT, cores()
    seconds: dict[int, list[float]] = {1: [], usable: []}
    with TemporaryDirectory() as folder:
        root = Path(folder) / "pictures"
        _draw(root, count)
        for number in range(options.rounds):
            for share in seconds:
                data_dir = Path(folder) / f"{number}-{share}"
                seconds[share].append(_seconds(root, data_dir, share))
    alone = median(seconds[1])
    rows: list[Row] = [("cores", "seconds", "pictures a second", "times as fast")]
    for share, times in seconds.items():
        took = median(times)
        rows.append((str(share), f"{took:.2f}", f"{count / took:.0f}", f"{alone / took:.2f}"))
    about = f"{count:,} JPGs of {SIDE}x{SIDE}, rounds: {options.rounds}, medians"
    return about, rows


def _seconds(root: Path, data_dir: Path, share: int) -> float:
    command = [sys.executable, "-c", LOADER, str(root), str(data_dir), str(share)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    return float(done.stdout.split()[-1])


def _draw(root: Path, count: int) -> None:
    """Ten classes of pictures that look like nothing, but compress as photos do."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        written = io.BytesIO()
        picture.save(written, "JPEG")
        folder = root / str(number % 10)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(written.getvalue())
