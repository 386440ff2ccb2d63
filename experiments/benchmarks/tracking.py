"""How long runs wait for a tracking server that they share."""

import os
import time
from concurrent.futures import ProcessPoolExecutor
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmarks.shared import Options, Result, composed
from optsweep.sweep.single_run import run_single
from optsweep.system.redaction import redact
from optsweep.tracking.address import sqlite_path
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import TrackedRun
from optsweep.training.epoch_journal import Entry

_RUNS = 8
_EPOCHS = 4


def tracking(options: Options) -> Result:
    """What eight runs at once wait for the store of MLFLOW_TRACKING_URI, beside their epochs.

    Each is fashion_mlp in a process of its own, with one thread. The time that `log_epoch` takes
    is all that training waits; the store is a server over PostgreSQL, or whatever is given.
    """
    with TemporaryDirectory() as folder:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/mlflow.db"
        Store.open(uri, "benchmark")
        tasks = [(Path(folder) / str(seed), uri, seed, options) for seed in range(_RUNS)]
        with ProcessPoolExecutor(_RUNS, mp_context=get_context("spawn")) as pool:
            runs = list(pool.map(_waits, *zip(*tasks, strict=True)))
    waits = [wait for run in runs for wait, _ in run]
    epochs = [epoch for run in runs for _, epoch in run]
    kind = "sqlite" if sqlite_path(uri) else redact(uri)
    return (
        f"fashion_mlp, {_RUNS} runs at once, {_EPOCHS} epochs each, one thread each, store: {kind}",
        [
            ("", "median", "longest"),
            ("an epoch", f"{median(epochs):.2f} s", f"{max(epochs):.2f} s"),
            ("of it waiting for the store", f"{median(waits):.3f} s", f"{max(waits):.3f} s"),
            ("share", f"{sum(waits) / sum(epochs):.1%}", ""),
        ],
    )


def _waits(folder: Path, uri: str, seed: int, options: Options) -> list[tuple[float, float]]:
    """For each epoch of a run: seconds that it waited for the store, and that it took."""
    waits: list[float] = []
    entries: list[Entry] = []
    log_epoch = TrackedRun.log_epoch

    def watched(self: TrackedRun, entry: Entry) -> None:
        began = time.perf_counter()
        log_epoch(self, entry)
        waits.append(time.perf_counter() - began)
        entries.append(entry)

    TrackedRun.log_epoch = watched  # type: ignore[method-assign]
    overrides = ["preset=fashion_mlp", f"epochs={_EPOCHS}", "threads=1", "device=cpu", "lr=1e-2"]
    overrides += [f"seed={seed}", f"tracking.uri={uri}", "tracking.experiment=benchmark"]
    overrides += [f"data_dir={options.data_dir}", "figures=none"]
    if options.samples is not None:
        overrides += [f"dataset.limit={options.samples}"]
    job = composed(overrides, folder)
    run_single(job, Store.open(uri, "benchmark"), Console(file=StringIO()))
    seconds = [entry.metrics["epoch_seconds"] for entry in entries]
    return list(zip(waits, seconds, strict=True))
