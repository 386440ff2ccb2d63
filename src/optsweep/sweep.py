"""A sweep: many jobs planned, carried out one after another, ranked and shown.

`carry_out` is given jobs that `run.ready` has checked. One parent run in MLflow holds the sweep:
the overrides as typed, the grid, the table and the best run's id, params and scores. A run that
fails is told of at once and again in the table; the others go on.
"""

import csv
import io
import json
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optsweep.run import Job, Result, keep_figures, load_dataset, load_weights, run, source_tags
from optsweep.tracking import Store, TrackedRun, ui_command

_SCORES = ("val/accuracy", "val/loss", "test/accuracy", "test/loss", "train/accuracy", "train/loss")

_SHORT = {"accuracy": "acc.", "loss": "loss"}


@dataclass(frozen=True)
class Sweep:
    """What is to be swept: the overrides as typed, the jobs, and the sweep's folder."""

    overrides: Sequence[str]
    jobs: Sequence[Job]
    folder: Path
    figures: str

    @property
    def grid(self) -> dict[str, list[Any]]:
        """Each swept value's choices, in the order in which they were typed."""
        grid: dict[str, list[Any]] = {}
        for job in self.jobs:
            for key, value in job.swept.items():
                choices = grid.setdefault(key, [])
                if value not in choices:
                    choices.append(value)
        return grid


def carry_out(sweep: Sweep, store: Store, console: Console) -> list[Result]:
    """Runs all jobs and concludes with the table; results come in the jobs' order."""
    tags = {"optsweep.kind": "sweep", "optsweep.folder": str(sweep.folder), **source_tags()}
    params = {"overrides": " ".join(sweep.overrides), "runs": len(sweep.jobs)}
    params |= {f"grid.{key}": ",".join(map(str, values)) for key, values in sweep.grid.items()}
    results: list[Result] = []
    with store.start(" ".join(sweep.overrides) or "sweep", params=params, tags=tags) as parent:
        try:
            for number, job in enumerate(sweep.jobs, start=1):
                console.print(f"[bold]run {number}/{len(sweep.jobs)}[/]  {escape(job.name)}")
                results.append(_attempt(job, store, parent, sweep.figures == "all", console))
        finally:
            _conclude(sweep, rank(results), parent, console, store)
    return results


def _attempt(job: Job, store: Store, parent: TrackedRun, figures: bool, console: Console) -> Result:
    try:
        return run(job, store, console=console, parent=parent.run_id, figures=figures)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        (job.folder / "error.txt").write_text(traceback.format_exc())
        console.print(f"[red]failed[/]  {escape(job.name)}: {escape(reason)}")
        return Result(job, "", status="FAILED", error=reason)


def rank(results: Sequence[Result]) -> list[Result]:
    """The best first: by validation accuracy, then validation loss, of the last epoch.

    Runs without validation are ranked by test. Diverged runs come after all others, then failed
    ones. Equal runs keep their order.
    """

    def key(result: Result) -> tuple[int, float, float]:
        state = 2 if result.status != "FINISHED" else 1 if result.diverged else 0
        split = ranking_split(result.metrics)
        accuracy = result.metrics.get(f"{split}/accuracy", 0.0)
        return state, -accuracy, result.metrics.get(f"{split}/loss", 0.0)

    return sorted(results, key=key)


def ranking_split(metrics: Mapping[str, float]) -> str:
    """The split that runs are ranked by: validation where there is one, else test."""
    return "val" if "val/accuracy" in metrics else "test"


def _conclude(
    sweep: Sweep, ranked: Sequence[Result], parent: TrackedRun, console: Console, store: Store
) -> None:
    """The table on the terminal, in the folder and in MLflow; the best run, with its pictures."""
    rows = [_row(result) for result in ranked]
    console.print(_table(sweep, ranked))
    sweep.folder.mkdir(parents=True, exist_ok=True)
    path = sweep.folder / "table.csv"
    path.write_text(_csv(rows))
    parent.log_file(path)
    parent.log_text("grid.json", json.dumps(sweep.grid, indent=1))
    best = ranked[0] if ranked and ranked[0].status == "FINISHED" else None
    if best is not None:
        _keep_best(best, parent, figures=sweep.figures == "best")
        console.print(_sentence(best))
    console.print(f"folder  {sweep.folder}", highlight=False, soft_wrap=True)
    console.print(f"MLflow  {ui_command(store.uri)}", highlight=False, soft_wrap=True)


def _keep_best(best: Result, parent: TrackedRun, *, figures: bool) -> None:
    settings = best.job.settings
    parent.tag(best_run_id=best.run_id, best_run=best.job.name)
    parent.log_params({f"best.{key}": value for key, value in settings.params().items()})
    parent.log_metrics({f"best/{name}": value for name, value in best.metrics.items()})
    if figures:
        data = load_dataset(settings)
        own = TrackedRun(parent.store, best.run_id)
        keep_figures(best, data, load_weights(best.job, data), own)


def _sentence(best: Result) -> str:
    split = ranking_split(best.metrics)
    judged = f"test accuracy {best.metrics.get('test/accuracy', float('nan')):.4f}"
    if split == "val":
        judged = f"validation accuracy {best.metrics['val/accuracy']:.4f}, {judged}"
    else:
        judged += "; ranked by test, as val_fraction=0 leaves no validation data"
    return f"[bold]best[/]    {escape(best.job.name)}: {judged}"


def _row(result: Result) -> dict[str, Any]:
    notes = ["diverged"] * result.diverged + [result.error] * bool(result.error)
    scores = {name: result.metrics.get(name) for name in _SCORES}
    return {
        "run": result.job.name,
        **result.job.swept,
        **scores,
        "seconds": round(result.seconds, 3),
        "status": result.status,
        "notes": "; ".join(notes),
        "run_id": result.run_id,
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _table(sweep: Sweep, ranked: Sequence[Result]) -> Table:
    """Fits 80 columns with two swept values: four digits a score, names over two lines."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    shown = [name for name in _SCORES if any(name in result.metrics for result in ranked)]
    for key in sweep.grid:
        table.add_column(key, overflow="fold", min_width=5)
    for name in shown:
        split, score = name.split("/")
        table.add_column(f"{split}\n{_SHORT[score]}", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("notes", overflow="fold")
    for result in ranked:
        row = _row(result)
        scores = ["" if row[name] is None else f"{row[name]:.4f}" for name in shown]
        swept = [escape(str(result.job.swept.get(key, ""))) for key in sweep.grid]
        table.add_row(*swept, *scores, f"{result.seconds:.1f} s", escape(row["notes"]))
    return table
