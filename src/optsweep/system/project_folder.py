"""Where the user's project lies, and by which commands they start the program.

In a clone the project is the clone, and scripts of `experiments/` are typed. As installed it is the
folder in which `optsweep` was typed, and the options of the package's own conf/ come along. To a
program that calls the package's functions it is as installed, whatever started that program.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_FOLDER = "OPTSWEEP_PROJECT"  # in the environment, which workers inherit; set where installed
_CALLED: ContextVar[Path | None] = ContextVar("called", default=None)  # what a program named
PACKAGED = Path(__file__).resolve().parent.parent / "conf"


def use_installed() -> None:
    """Makes the current folder the project, from now on and in workers."""
    os.environ[_FOLDER] = str(Path.cwd())


@contextmanager
def called_in(folder: Path) -> Iterator[None]:
    """Makes a folder the project for a block, of a program that calls the package's functions."""
    kept = _CALLED.set(folder)
    try:
        yield
    finally:
        _CALLED.reset(kept)


def is_installed() -> bool:
    """Whether `optsweep` was typed or is called, rather than a script of a clone."""
    return _FOLDER in os.environ or _CALLED.get() is not None


def folder() -> Path:
    """The project's folder: relative to it, outputs/, data/ and mlflow.db."""
    if (called := _CALLED.get()) is not None:
        return called
    if is_installed():
        return Path(os.environ[_FOLDER])
    return Path(sys.argv[0]).resolve().parent.parent


def config_folders() -> list[Path]:
    """The folders that hold options; where two hold the same, the first counts."""
    own = folder() / "conf"
    return [*[own] * own.is_dir(), PACKAGED] if is_installed() else [own]


def command(script: str = "run") -> str:
    """What messages say is to be typed, before its arguments; as for `run`, `report` or `sync`."""
    if is_installed():
        return "optsweep" if script == "run" else f"optsweep {script}"
    return f"python experiments/{script}.py"


def typed_command() -> list[str]:
    """What the user typed to start this process, before its arguments."""
    return ["optsweep"] if is_installed() else ["python", sys.argv[0]]
