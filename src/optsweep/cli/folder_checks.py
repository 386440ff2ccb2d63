"""Folders that Hydra writes into: made once, refused where they are used, removed where empty."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from optsweep.errors import OptsweepError
from optsweep.system.folders import is_used, refuse_used

_HYDRAS = ("config.yaml", "hydra.yaml", "overrides.yaml")  # what Hydra writes into `.hydra`


def own_folder(config: DictConfig) -> None:
    """Gives the sweep a folder of its own, unless one was typed or it is planned alone."""
    if not is_typed(config) and not _runs_nothing(config):
        with read_write(config.hydra):  # which Hydra 1.4 gives as read-only
            config.hydra.sweep.dir = str(new_folder(Path(config.hydra.sweep.dir)))


def _runs_nothing(config: DictConfig) -> bool:
    """Whether the sweep is planned or checked alone."""
    return config.plan is True or config.check is True


def is_typed(config: DictConfig) -> bool:
    """Whether the sweep's folder was typed, and may hold anything."""
    return any(typed.startswith("hydra.sweep.dir=") for typed in config.hydra.overrides.hydra)


def new_folder(wanted: Path) -> Path:
    """Makes the folder, or one beside it with a number where another sweep was quicker."""
    folder, number = wanted, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        else:
            return folder


@contextmanager
def removing_refused_folder(folder: Path) -> Iterator[None]:
    """Removes what Hydra wrote for a run that is refused, and the folder where nothing is left."""
    try:
        yield
    except (OptsweepError, HydraException, OmegaConfBaseException):
        remove_unused(folder)
        raise


def remove_unused(folder: Path, parents: int = 0) -> None:
    """Removes a single run's folder that holds what Hydra wrote alone, unless it was typed.

    And so many folders above it, as far as they are empty then.
    """
    config, log = folder / ".hydra", folder / "optsweep.log"
    with suppress(OSError):
        if set(folder.iterdir()) <= {config, log} and not (log.exists() and log.stat().st_size):
            for path in (*(config / name for name in _HYDRAS), log):
                path.unlink(missing_ok=True)
            config.rmdir()
            if not any(typed.startswith("hydra.run.dir=") for typed in sys.argv[1:]):
                for each in (folder, *list(folder.parents)[:parents]):
                    each.rmdir()


@contextmanager
def sweep_folder(config: DictConfig) -> Iterator[None]:
    """Makes a sweep's folder, and in the end removes it again where it has stayed empty.

    A sweep that is only planned gets none.
    """
    if _runs_nothing(config):
        yield
        return
    folder = Path(config.hydra.sweep.dir)
    is_new = not is_typed(config) or not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):  # it holds something
                folder.rmdir()


def refuse_typed_folder(arguments: Sequence[str]) -> None:
    """Looks into a folder that was typed for a single run, before Hydra writes into it.

    Raises:
        FolderError: it holds something.
    """
    key = "hydra.run.dir"
    typed = dict(argument.partition("=")[::2] for argument in arguments)
    folder = Path(typed.get(key, "").strip("'\"")).absolute()
    resumed = typed.get("resume") == "true" and is_used(folder)
    many = {"-m", "--multirun"} & set(arguments)
    if key in typed and "${" not in typed[key] and not many and not resumed:
        refuse_used(folder, key)
