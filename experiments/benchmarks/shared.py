"""What the parts of the benchmark share: options, a checked job, a clock, results, a header."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from optsweep.cli.compat.hydra import VERSION_BASE
from optsweep.cli.compat.omegaconf import register_resolver
from optsweep.cli.jobs import new_job
from optsweep.config.settings import Settings
from optsweep.runs.job import Job
from optsweep.system import environment

ROOT = Path(__file__).resolve().parent.parent.parent
register_resolver("project_root", lambda: str(ROOT))

Row = Sequence[str]
# What a part measured: paragraphs and tables in their order; a table begins with its header.
Result = Sequence[str | Sequence[Row]]
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What the command line says; a part reads what concerns it."""

    rounds: int
    threads: int
    samples: int | None
    data_dir: Path
    preset: str = ""
    runs: tuple[int, ...] = ()


def composed(overrides: list[str], folder: Path) -> Job:
    """The job of a run in `folder`, composed and checked as the command does it from the shell."""
    with initialize_config_dir(str(ROOT / "conf"), **VERSION_BASE):
        config = compose("config", overrides, return_hydra_config=True)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True)
    assert isinstance(values, dict)
    given = {str(key): value for key, value in values.items()}
    settings = Settings.from_config(given, config.hydra.runtime.choices)
    return new_job(settings, given, folder, overrides, {})


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that `work` takes, and what it returns."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def aligned(rows: Sequence[Row]) -> str:
    """Rows as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("   ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def as_text(result: Result) -> str:
    """A result for the terminal: paragraphs and aligned tables."""
    return "\n\n".join(each if isinstance(each, str) else aligned(each) for each in result)


def header(options: Options) -> str:
    """Where and when a result was measured, and how busy the machine was before."""
    about = environment.describe()
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    machine = f"{about['cpu']}, {about['cores']} cores, {load}{options.threads} threads"
    commit = environment.git_commit(ROOT) or "unknown"
    return f"{machine}\ntorch {about['torch']}, {date.today()}, commit {commit}"
