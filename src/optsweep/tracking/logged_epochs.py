"""The epochs of a run that MLflow holds, for a journal that was lost or lies on another machine."""

import logging
import math
from collections.abc import Iterator

from optsweep.errors import TrackingError
from optsweep.runs.job import Job
from optsweep.tracking.errors import explained
from optsweep.tracking.outbox import ticket_of
from optsweep.tracking.store import Store
from optsweep.training.checkpoint import JOURNAL, forget
from optsweep.training.journal import Entry, Journal

log = logging.getLogger(__name__)


def journal_of(job: Job, store: Store) -> Journal:
    """The journal of a run that begins, or is resumed with what MLflow holds beyond its last epoch.

    Those epochs keep the times that they were logged at: logged again, MLflow keeps each once.
    """
    path = job.folder / JOURNAL
    if job.run_id is None:  # a folder that was used before holds what another run left
        forget(job.folder)
        path.unlink(missing_ok=True)
        return Journal(path)
    journal = Journal(path)
    try:
        missing = [entry for entry in logged(store, job.run_id) if entry.epoch > journal.last]
    except TrackingError as error:
        log.warning("%s; %s alone says which epochs were logged", error, path)
        return journal
    if missing:
        log.warning("%s lacks %d epochs, which MLflow holds", path, len(missing))
    for entry in missing:
        journal.keep(entry)
    return journal


def logged(store: Store, run_id: str) -> Iterator[Entry]:
    """The epochs of a run in their order; none where the store does not hold the run yet.

    Raises:
        TrackingError: the store does not answer.
    """
    run_id = store.id_of(run_id)
    if ticket_of(run_id):
        return
    metrics: dict[int, dict[str, float]] = {}
    times: dict[int, int] = {}
    batches: dict[int, dict[int, float]] = {}
    with explained(store.uri):
        for name in store.client.get_run(run_id).data.metrics:
            for point in store.client.get_metric_history(run_id, name):
                if name == "batch/loss":
                    batches.setdefault(point.timestamp, {})[point.step] = point.value
                else:
                    metrics.setdefault(point.step, {})[name] = point.value
                    times[point.step] = point.timestamp
    for epoch in sorted(metrics):
        if epoch:  # what is no number is not in MLflow
            metrics[epoch].setdefault("train/loss", math.nan)
        yield Entry(epoch, times[epoch], metrics[epoch], batches.get(times[epoch], {}))
