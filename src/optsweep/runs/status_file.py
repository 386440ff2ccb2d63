"""How far a run is, in a small file of its folder that the launching process reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from optsweep.runs.progress import scores
from optsweep.system import files
from optsweep.training.stack import Slices

STATUS_FILE = ".progress.json"  # in a run's folder, while it is carried out by a worker


class StatusFileProgress:
    """A worker's progress: a note of a few bytes in the folder of each run.

    Of runs that are trained together the first one's note says how far they are.
    """

    def __init__(self) -> None:
        self._path = Path()
        self._note: dict[str, object] = {}

    def __enter__(self) -> "StatusFileProgress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The note stays: who finds the run dead reads its id there."""

    def started(self, run_ids: Mapping[Path, str]) -> None:
        """Notes the runs' ids, by which they are found in MLflow should this process die."""
        for folder, run_id in reversed(list(run_ids.items())):
            self._path = folder / STATUS_FILE
            self._note = {"run_id": run_id, "epoch": 0, "scores": ""}
            self._write()

    def watch(self, batches: Sequence[slice]) -> Slices:
        """Hands an epoch's batches on."""
        return iter(batches)

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Notes what an epoch gave."""
        self._note |= {"epoch": epoch, "scores": scores(metrics)}
        self._write()

    def _write(self) -> None:
        files.write(self._path, json.dumps(self._note), durable=False)


def read_status(path: Path) -> dict[str, object]:
    """A worker's note; empty where there is none that can be read."""
    try:
        note = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    kinds = {"run_id": str, "epoch": int, "scores": str}
    sound = isinstance(note, dict) and all(isinstance(note.get(key), kinds[key]) for key in kinds)
    return note if sound else {}
