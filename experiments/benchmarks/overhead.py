"""What a run costs beside its epochs."""

from concurrent.futures import ProcessPoolExecutor
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmarks.shared import Options, Result, composed, timed
from optsweep.sweep.single_run import run_single
from optsweep.tracking.store import Store


def overhead(options: Options) -> Result:
    """A run's time outside of its epochs, after the imports, on a store that exists.

    Each round is a process of its own, as a run from the shell is: what a process does once (find
    Hydra's plugins, load MLflow's tables) is counted, imports are not.
    """
    with TemporaryDirectory() as folder:
        Store.open(_uri(Path(folder)), "benchmark")
        context = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
            tasks = [(Path(folder), number, options.threads) for number in range(options.rounds)]
            rounds = list(pool.map(_phases, *zip(*tasks, strict=True)))
    phases = [(name, f"{median(p[name] for p in rounds):.3f} s") for name in rounds[0]]
    outside = median(sum(p.values()) for p in rounds)
    return (
        f"digits, mlp, 3 epochs, no pictures, rounds: {len(rounds)}, medians",
        [("", "seconds"), *phases, ("outside of the epochs", f"{outside:.3f} s")],
    )


def _phases(folder: Path, number: int, threads: int) -> dict[str, float]:
    """Seconds of each phase of a run, in the order in which the command goes through them."""
    overrides = ["epochs=3", "device=cpu", f"threads={threads}", "tracking.experiment=benchmark"]
    overrides += [f"tracking.uri={_uri(folder)}", f"data_dir={folder}"]
    overrides += ["figures=none"]
    composing, job = timed(lambda: composed(overrides, folder / str(number)))
    opening, store = timed(lambda: Store.open(job.settings.tracking_uri, job.settings.experiment))
    running, record = timed(lambda: run_single(job, store, Console(file=StringIO())))
    return {
        "compose the config, check it, load the data": composing,
        "open the store": opening,
        "build, track, keep weights": running - record.seconds,
    }


def _uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"
