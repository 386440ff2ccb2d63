"""What happens on a node of a Ray cluster: a task runs as in any other worker.

The task arrives in an `Errand`; its records and its runs' files return in a `Parcel`.
"""

import io
import logging
import os
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optsweep.errors import StackFailed
from optsweep.execution.executor import Task
from optsweep.records.run import RunRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Errand:
    """What a node is given: the task, how to run it, and what it needs of this process."""

    task: Task
    timeout: float | None
    shared: bool
    environment: Mapping[str, str]
    path: Sequence[str]


@dataclass(frozen=True)
class Parcel:
    """What a run sends back: its records, or how its stack failed; and its folders' files."""

    outcome: list[RunRecord] | StackFailed
    folders: Mapping[str, bytes]


def run_errand(errand: Errand) -> Parcel:
    """Runs an errand's task on a node, as any other worker does."""
    os.environ.update(errand.environment)
    sys.path.extend(entry for entry in errand.path if entry not in sys.path)
    from optsweep.execution.worker import attached, log_to_output, run_task
    from optsweep.runs.checkpoint_store import StoredProgress, fetch, forget_stored

    log_to_output()
    task, shared = errand.task, errand.shared
    store = attached(task.uri, task.experiment_id)
    progress = None
    if not shared:
        for job in task.jobs:
            fetch(store, job)
        progress = StoredProgress(store, task.jobs)
    outcome: list[RunRecord] | StackFailed
    try:
        outcome = run_task(task, errand.timeout, progress)
        if not shared:
            forget_stored(
                store, [record.run_id for record in outcome if record.status == "FINISHED"]
            )
    except StackFailed as failure:
        outcome = failure
    folders = {} if shared else {str(job.folder): _pack(job.folder) for job in task.jobs}
    return Parcel(outcome, folders)


def _pack(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder, arcname=".")
    return packed.getvalue()


def unpack(files: bytes, folder: Path) -> None:
    """Unpacks the files of a run into its folder, unsafe ones aside.

    Raises:
        OSError: the folder is full or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter=_safe)


def _safe(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """What may be unpacked; a link that leaves its folder, or a device, stays on its node."""
    try:
        return tarfile.data_filter(member, path)
    except tarfile.FilterError as error:
        log.warning("%s is not copied from its node: %s", member.name, error)
        return None
