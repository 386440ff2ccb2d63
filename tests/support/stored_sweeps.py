"""Made-up sweeps in a real store, as optsweep logs its own."""

import math
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Metric, Param

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.tracking.store import Store


def keep(store: Store, sweep: SweepRecord, **tags: str) -> tuple[str, list[str]]:
    """Stores a sweep; returns its id and the ids of its runs."""
    grid = {f"grid.{key}": ",".join(map(str, values)) for key, values in sweep.grid.items()}
    params = {"overrides": " ".join(sweep.overrides), "runs": len(sweep.runs), **grid}
    given = {"optsweep.kind": "sweep", **{f"optsweep.{key}": text for key, text in tags.items()}}
    given |= {f"optsweep.env.{key}": text for key, text in sweep.environment.items()}
    parent = create(store, "the sweep", given, params)
    ids = [keep_run(store, run, parent) for run in sweep.runs]
    store.client.set_terminated(parent)
    return parent, ids


def create(store: Store, name: str, tags: Mapping[str, str], params: Mapping[str, Any]) -> str:
    run = store.client.create_run(store.experiment_id, run_name=name, tags=dict(tags))
    entries = [Param(key, str(value)) for key, value in params.items()]
    store.client.log_batch(run.info.run_id, params=entries)
    return str(run.info.run_id)


def keep_run(store: Store, run: RunRecord, parent: str) -> str:
    tags = {"optsweep.kind": "run", "mlflow.parentRunId": parent}
    if run.diverged:
        tags["optsweep.diverged"] = "true"
    if run.error:
        tags["optsweep.error"] = run.error
    run_id = create(store, run.name, tags, run.params)
    points = {**run.history, "epoch_seconds": run.epoch_seconds}
    metrics = [
        Metric(name, value, 1000 + epoch, epoch)
        for name, entries in points.items()
        for epoch, value in entries
        if math.isfinite(value)
    ]
    store.client.log_batch(run_id, metrics=metrics)
    if run.output:
        store.client.log_text(run_id, f"{run.error}\n\n{run.output}", "error.txt")
    store.client.set_terminated(run_id, run.status)
    return run_id
