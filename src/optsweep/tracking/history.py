"""Metric histories of many runs, read in bulk.

`histories` is given run ids and metric names and returns each run's points; `logged` returns one
run's epochs as the journal holds them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from optsweep.tracking.errors import explained
from optsweep.tracking.sending.outbox import ticket_of
from optsweep.tracking.store import Store
from optsweep.tracking.timeouts import bounded, seconds
from optsweep.training.epoch_journal import Entry

Point = tuple[str, int, float]  # run id, step, value
_IN_A_QUERY = 500  # runs whose points, or whose ids, go into one query of a database
_SERVER_RUNS, _SERVER_POINTS = 100, 25_000  # as many as a server answers for at once
_BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"  # where the MLflow UI asks a server


def histories(
    store: Store, run_ids: Sequence[str], names: Iterable[str]
) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Each run's `(step, value)` points by metric, ascending; of one step's the last logged.

    A database is asked once for each metric and 500 runs, a server for each metric and 100; any
    other kind of store for each metric and run.
    """
    found: dict[str, dict[str, dict[int, float]]] = {run_id: {} for run_id in run_ids}
    with explained(store.uri):
        for name in names:
            for run_id, step, value in _points(store, run_ids, name):
                found[run_id].setdefault(name, {})[step] = value
    return {
        run_id: {name: sorted(points.items()) for name, points in metrics.items()}
        for run_id, metrics in found.items()
    }


def _points(store: Store, run_ids: Sequence[str], name: str) -> Iterator[Point]:
    """The metric's points of all the runs, each run's in the order in which they were logged."""
    tracking_store = store.client._tracking_client.store
    in_bulk: Callable[[Sequence[str]], Iterable[Point]] | None = None
    size = _IN_A_QUERY
    if hasattr(tracking_store, "get_metric_history_bulk"):

        def in_bulk(ids: Sequence[str]) -> Iterable[Point]:
            longest = seconds("get_metric_history", uri=store.uri)
            bulk = tracking_store.get_metric_history_bulk
            rows = bounded(longest, bulk, ids, name, 2**31 - 1)
            return [(row.run_id, row.step, row.value) for row in rows]

    elif store.uri.startswith("http"):
        size = _SERVER_RUNS

        def in_bulk(ids: Sequence[str]) -> Iterable[Point]:
            return _from_server(store, ids, name)

    for first in range(0, len(run_ids), size):
        ids = run_ids[first : first + size]
        yield from in_bulk(ids) if in_bulk else _one_by_one(store, ids, name)


def _from_server(store: Store, ids: Sequence[str], name: str) -> list[Point]:
    """The points of many runs from a server, in one request; run by run if it cannot."""
    answer = bounded(
        seconds("get_metric_history"),
        http_request,
        get_default_host_creds(store.uri),  # type: ignore[no-untyped-call]
        _BULK,
        "GET",
        params={"run_id": list(ids), "metric_key": name, "max_results": _SERVER_POINTS},
    )
    try:
        rows = answer.json()["metrics"] if answer.ok else None
    except (ValueError, KeyError):
        rows = None
    if rows is None or (len(rows) >= _SERVER_POINTS and len(ids) == 1):
        return _one_by_one(store, ids, name)
    if len(rows) >= _SERVER_POINTS:  # more than it returns at once
        half = len(ids) // 2
        return _from_server(store, ids[:half], name) + _from_server(store, ids[half:], name)
    return [(row["run_id"], int(row["step"]), float(row["value"])) for row in rows]


def _one_by_one(store: Store, ids: Sequence[str], name: str) -> list[Point]:
    return [
        (run_id, point.step, point.value)
        for run_id in ids
        for point in store.client.get_metric_history(run_id, name)
    ]


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
