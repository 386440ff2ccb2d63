"""Sweeps of hundreds and thousands of trivial runs: what a run costs, and what is kept of it.

Each sweep is a command of its own in a folder of its own, as are the report that is made again from
MLflow and `resume=true` on the finished sweep.
"""

import csv
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.shared import Options, Result
from benchmarks.sweeps import HERE, new_project, run_in, take

_FEW = 20  # runs: what their sweep takes besides is imports, the store's first start and pictures


@dataclass(frozen=True)
class Swept:
    """What a sweep took.

    `seconds` are those of its command, `report` and `resumed` those of the report from MLflow and
    of the same line with `resume=true`; `training` is the sum over its runs. `memory` is the
    launching process's peak; `store` is MLflow's, artifacts included, `page` the report. Bytes all.
    """

    seconds: float
    training: float
    report: float
    resumed: float
    memory: int
    store: int
    page: int


def many(options: Options) -> Result:
    """Hundreds to thousands of trivial runs: what a run costs, beside Hydra's empty job.

    A run's cost is what the sweep takes beyond one of 20 runs, so that imports, the store's first
    start and the report's pictures do not count. Rounds are whole: each sweep, then an empty job.
    """
    counts = [count for count in options.runs if count > _FEW]
    rounds = [
        ({count: _swept(count) for count in (_FEW, *counts)}, _empty_job())
        for _ in range(options.rounds)
    ]

    def of(what: Callable[[Swept], float], count: int) -> float:
        return median(what(taken[count]) for taken, _ in rounds)

    def more(what: Callable[[Swept], float], count: int) -> float:
        """Of each run beyond the few."""
        return (of(what, count) - of(what, _FEW)) / (count - _FEW)

    def row(name: str, value: Callable[[int], float], digits: int = 0) -> list[str]:
        return [name, *(f"{value(count):.{digits}f}" for count in counts)]

    cores = os.cpu_count() or 1  # as many workers train side by side
    empty = median(each for _, each in rounds)

    def beyond(count: int) -> float:
        return more(lambda one: one.seconds - one.training / cores, count)

    rows = [
        ["runs", *(f"{count:,}" for count in counts)],
        row("wall time, s", lambda count: of(lambda one: one.seconds, count), 1),
        row("a run, ms", lambda count: 1e3 * more(lambda one: one.seconds, count), 1),
        row("of which beyond its training, ms", lambda count: 1e3 * beyond(count), 1),
        row("an empty job, Hydra's launcher basic, ms", lambda count: 1e3 * empty),
        row("beyond its training / an empty job", lambda count: beyond(count) / empty, 2),
        row("launching process, MB", lambda count: of(lambda one: one.memory, count) / 2**20),
        row("of it a run, KB", lambda count: more(lambda one: one.memory, count) / 2**10),
        row("store and artifacts, MB", lambda count: of(lambda one: one.store, count) / 2**20),
        row("the report's page, MB", lambda count: of(lambda one: one.page, count) / 2**20, 1),
        row("the report from MLflow, s", lambda count: of(lambda one: one.report, count), 1),
        row("a thousand runs of it, s", lambda count: 1e3 * more(lambda one: one.report, count), 2),
        row("resume=true on the whole, s", lambda count: of(lambda one: one.resumed, count), 1),
        row("a thousand of it, s", lambda count: 1e3 * more(lambda one: one.resumed, count), 2),
    ]
    title = f"digits, softmax, 1 epoch, tracked in MLflow, medians of {options.rounds}"
    return title, rows, f"a run, KB, a thousand: beyond those of a sweep of {_FEW} runs."


def _swept(count: int) -> Swept:
    """A sweep of `count` runs, its report from MLflow, and `resume=true`."""
    with new_project() as project:
        typed = ("-m", "model=softmax", "epochs=1", "figures=none", f"seed=range({count})")
        folder = "hydra.sweep.dir=outputs/sweep"
        taken = run_in(project, *typed, folder)
        kept = [project / "mlflow.db", *(project / "mlartifacts").rglob("*")]
        with (project / "outputs/sweep/table.csv").open(newline="") as file:
            training = sum(float(row["seconds"]) for row in csv.DictReader(file))
        return Swept(
            taken.seconds,
            training,
            take(project, [sys.executable, "experiments/report.py"]).seconds,
            run_in(project, *typed, folder, "resume=true").seconds,
            taken.memory,
            sum(path.stat().st_size for path in kept),
            (project / "outputs/sweep/report.html").stat().st_size,
        )


def _empty_job() -> float:
    """Seconds of an empty job under Hydra's own launcher and sweeper, by the slope."""
    seconds = []
    for count in (20, 120):
        with TemporaryDirectory() as folder:
            plain = ["hydra/launcher=basic", "hydra/sweeper=basic", f"hydra.sweep.dir={folder}/out"]
            command = [sys.executable, str(HERE / "empty_job.py"), "-m", f"seed=range({count})"]
            seconds.append(take(Path(folder), [*command, *plain]).seconds)
    return (seconds[1] - seconds[0]) / 100
