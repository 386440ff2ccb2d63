"""Whole sweeps, from Enter to prompt, beside what people write by hand.

Every contestant is a command of its own in a folder of its own: imports, the first start of the
store, folders and reports are all counted.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.shared import ROOT, Options, Result

HERE = Path(__file__).resolve().parent
GRID = ("optimizer=sgd,adam,rmsprop", "lr=1e-4,1e-3,1e-2,1e-1", "epochs=3")
_LIVE = "optsweep.sweep.display.live_report"  # whose log says what the page cost
_LIBRARIES = "import torch, torchvision, mlflow"
_OWN = "import optsweep.cli.main, optsweep.sweep.sweep, optsweep.report.figures.sweep"
README_LINE = ("-m", "optimizer=sgd,adam", "lr=1e-3,1e-1")


@dataclass(frozen=True)
class Taken:
    """What a command took: seconds from start to end, and its process's peak memory in bytes.

    `printed` is what it said.
    """

    seconds: float
    memory: int
    printed: str


def sweep(options: Options) -> Result:
    """A 12-run sweep on Fashion-MNIST, beside a plain Hydra script with the tutorials' loop."""
    ours, plain = [], []
    for _ in range(options.rounds):
        with new_project() as project:
            arguments = ["-m", *GRID, "dataset=fashion_mnist", "val_fraction=0"]
            ours.append(run_in(project, *arguments, f"data_dir={options.data_dir}").seconds)
            uri = f"uri=sqlite:///{project}/plain.db"
            folder = f"hydra.sweep.dir={project}/plain"
            script = str(HERE / "plain_sweep.py")
            more = [f"data_dir={options.data_dir}", uri, folder]
            plain.append(take(project, [sys.executable, script, "-m", *GRID, *more]).seconds)
    rows = [
        ("", "seconds", "a run"),
        ("plain Hydra script, launcher basic", *_both(plain, 12)),
        ("optsweep", *_both(ours, 12)),
        ("optsweep / plain", f"{median(ours) / median(plain):.2f}", ""),
    ]
    return f"{' '.join(GRID)}, medians of {options.rounds}", rows


def _both(seconds: Sequence[float], runs: int) -> tuple[str, str]:
    return f"{median(seconds):.1f} s", f"{median(seconds) / runs:.1f} s"


def start(options: Options) -> Result:
    """The README's line, first start of the store included, beside importing its libraries."""
    libraries, own, line = list[float](), list[float](), list[float]()
    for _ in range(options.rounds):
        with new_project() as project:
            for code, seconds in ((_LIBRARIES, libraries), (_OWN, own)):
                seconds.append(take(project, [sys.executable, "-c", code]).seconds)
            line.append(run_in(project, *README_LINE).seconds)
    rows = [
        ("", "seconds"),
        (_LIBRARIES, f"{median(libraries):.1f} s"),
        ("import all that the launching process does", f"{median(own):.1f} s"),
        (f"run.py {' '.join(README_LINE)}", f"{median(line):.1f} s"),
        ("line / libraries", f"{median(line) / median(libraries):.2f}"),
        ("line / all that it imports", f"{median(line) / median(own):.2f}"),
    ]
    return f"from Enter to prompt, medians of {options.rounds}", rows


def report(options: Options) -> Result:
    """What it costs a sweep of 1,000 runs that its report renews itself while they train."""
    rounds = []
    for _ in range(options.rounds):
        with new_project() as project:
            overrides = ("model=softmax", "epochs=1", "figures=none", "seed=range(1000)")
            said = run_in(project, "-m", *overrides, f"hydra.verbose={_LIVE}").printed
            written = re.search(r"(\d+) writes took ([\d.]+) of ([\d.]+) seconds", said)
            if written is None:
                raise RuntimeError(f"the sweep does not say what its report cost:\n{said[-2000:]}")
            rounds.append([float(number) for number in written.groups()])
    writes, upkeep, seconds = (median(each) for each in zip(*rounds, strict=True))
    rows = [
        ("", "result"),
        ("writes of the page", f"{writes:.0f}"),
        ("one write", f"{1e3 * upkeep / writes:.0f} ms"),
        ("all of them", f"{upkeep:.2f} s"),
        ("the sweep, from its first run to its end", f"{seconds:.1f} s"),
        ("share of it", f"{upkeep / seconds:.2%}"),
    ]
    title = f"1,000 runs of digits, softmax, 1 epoch, medians of {options.rounds}"
    return title, rows


@contextmanager
def new_project() -> Iterator[Path]:
    """A copy of the project with nothing in it yet: no store, no data, no outputs."""
    with TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        for name in ("conf", "experiments"):
            shutil.copytree(ROOT / name, project / name)
        yield project


def run_in(project: Path, *arguments: str) -> Taken:
    """Runs `run.py` with these arguments in a project."""
    return take(project, [sys.executable, str(project / "experiments/run.py"), *arguments])


def take(folder: Path, command: Sequence[str]) -> Taken:
    """Runs a command and measures its own process's memory, not its children's.

    Raises:
        RuntimeError: the command failed; the message ends with what it printed.
    """
    own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    began = time.perf_counter()
    with (folder / "printed.txt").open("w+") as printed:
        process = subprocess.Popen(
            command, cwd=folder, env=own, stdout=printed, stderr=subprocess.STDOUT
        )
        memory = 0
        while process.poll() is None:
            memory = max(memory, _resident(process.pid))
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        printed.seek(0)
        said = printed.read()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{said[-2000:]}")
    return Taken(seconds, memory, said)


def _resident(pid: int) -> int:
    """A process's resident memory in bytes; 0 where /proc does not say."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0
