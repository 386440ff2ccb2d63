"""The file of a study: opened by Optuna, and freed from what Optuna cannot read.

Optuna appends lines of JSON, each forced to the disk. What a crash or a power cut left in the
middle of a line, Optuna would glue its next line to, and then read nothing any more. Every
proposal is made from its number and from results that the store holds, so the lines that are
lost are written again as they were.
"""

import functools
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna


log = logging.getLogger(__name__)

NAME = "optsweep"  # of the study in the file
_KEYS = {"op_code", "worker_id"}  # of every line
_CREATE_STUDY, _LAST = 0, 9  # Optuna's first and last op_code


def drop_unreadable(path: Path) -> None:
    """Cuts the file at its first line that is none of Optuna's, and says so."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if not path.exists() or _readable(path) == path.stat().st_size:
        return
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # now nobody is in the middle of a line
    try:
        size = _readable(path)
        if lost := path.stat().st_size - size:
            os.truncate(path, size)
            log.warning("%s: its last %d bytes are torn or foreign, and left out", path, lost)
    finally:
        lock.release()


def _readable(path: Path) -> int:
    """How many bytes are whole lines of Optuna's."""
    size = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or not _is_optunas(line, first=not size):
                break
            size += len(line)
    return size


def _is_optunas(line: bytes, *, first: bool) -> bool:
    try:
        given = json.loads(line)
    except ValueError:
        return False
    if not isinstance(given, dict) or not given.keys() >= _KEYS:
        return False
    return bool(given["op_code"] in ([_CREATE_STUDY] if first else range(_LAST + 1)))


@functools.lru_cache(maxsize=4)
def open_study(path: str, first_rung: int, reduction: int) -> "optuna.Study":
    """The study in a file, which is made where there is none.

    With pruning, one of `reduction` trials continues after `first_rung` epochs.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(path)),
        study_name=NAME,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=first_rung, reduction_factor=reduction
        ),
    )
