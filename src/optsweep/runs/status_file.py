"""The status file: how far a run is, in its folder, for the launching process to read.

`StatusFileProgress` writes it in a worker, `read_status` reads it. It holds the run's id in MLflow,
the last epoch and its scores.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from optsweep.runs.progress import scores
from optsweep.system import files
from optsweep.training.stack import Slices

STATUS_FILE = ".progress.json"  # in a run's folder, while a worker runs it


class StatusFileProgress:
    """A worker's progress: a status file of a few bytes in the folder of each run.

    In a stack the first run's file says how far all of them are.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._status: dict[str, object] = {}

    def __enter__(self) -> "StatusFileProgress":
        return self

    def __exit__(self, *raised: object) -> None:
        """The file stays: the run's id is read there if the worker dies."""

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Writes the runs' ids, by which they are found in MLflow should this process die."""
        for folder, run_id in reversed(list(run_ids.items())):
            self._path = folder / STATUS_FILE
            self._status = {"run_id": run_id, "epoch": 0, "scores": ""}
            self._write()

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Passes an epoch's batches on."""
        return iter(batches)

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Writes the last epoch and its scores."""
        self._status |= {"epoch": epoch, "scores": scores(metrics)}
        self._write()

    def _write(self) -> None:
        files.write(self._path, json.dumps(self._status), durable=False)


def read_status(path: Path) -> dict[str, object]:
    """A worker's status; empty where there is none that can be read."""
    try:
        status = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    kinds = {"run_id": str, "epoch": int, "scores": str}
    sound = isinstance(status, dict) and all(
        isinstance(status.get(key), kinds[key]) for key in kinds
    )
    return status if sound else {}
