"""What would run: `plan=true`.

`forecast` says it of a sweep, by the plan that the sweep itself would run by, and `forecast_run` of
a single run. Neither creates anything: a store that is not there stays so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from rich.console import Console

from optsweep.config.settings import Settings
from optsweep.records.grouping import Configuration
from optsweep.records.run import RunRecord
from optsweep.records.values import ascending, distinct, is_number, label, printable
from optsweep.runs.job import Job
from optsweep.sweep.resume import earlier_sweeps
from optsweep.sweep.sweep import Sweep, planned, record_of
from optsweep.tracking.store import Run, Store
from optsweep.verdict.candidates import Candidate, candidates, is_of
from optsweep.verdict.scores.phrases import counted

_MOST = 12  # values of a key on one line
# What decides how long a run takes, beside its optimizer: groups, their options and values.
_LIKE = ("dataset", "model", "loss", "batch_size", "val_fraction", "device", "precision")


def forecast(sweep: Sweep, asked: Settings, console: Console) -> Iterator[str]:
    """What a sweep would run, in lines; `asked` is what is asked of it as a whole."""
    if sweep.search:
        trials, space = counted(sweep.search.n_trials, "run"), sweep.search.texts.items()
        yield f"plan    {trials} of a search by {sweep.search.sampler}"
        yield printable(f"        from {' '.join(f'{key}={text}' for key, text in space)}")
        return
    store = Store.existing(asked.tracking_uri, asked.experiment)
    earlier = earlier_sweeps(store, sweep.identity)[:1] if store and sweep.resume else []
    parent_id = earlier[0].info.run_id if earlier else None
    planner, first = planned(sweep, store, console, parent_id, "")
    todo = {place for group in first.todo for place in group}
    reused = f": {first.reused} reused, {len(todo)} to run" if first.reused else ""
    yield f"plan    {counted(len(first.jobs), 'run')}{reused}"
    done = {id(record) for place, record in enumerate(first.records) if place not in todo}
    found = candidates(record_of(sweep, first.records))
    yield from (printable(f"        {_line(candidate, done)}") for candidate in found)
    yield from _stages(sweep, len(found))
    yield from _time([first.jobs[place] for place in sorted(todo)], store, planner.workers)


def forecast_run(job: Job) -> Iterator[str]:
    """What a single run would train, in lines."""
    yield printable(f"plan    1 run: {job.name}")
    yield from _time([job], Store.existing(job.settings.tracking_uri, job.settings.experiment), 1)


def _line(candidate: Candidate, done: set[int]) -> str:
    """A candidate's runs and the values that they have: `adam: 5 runs, lr=1e-4,1e-3`."""
    runs = [run for each in candidate.configurations for run in each.runs]
    reused = sum(id(run) in done for run in runs)
    of = f" ({reused} reused)" if reused else ""
    values = [
        f"{key}={','.join(map(label, choices))}"
        for key, choices in _values(candidate.configurations, runs).items()
        if 0 < len(choices) <= _MOST
    ]
    name = " ".join(filter(None, [candidate.workload, candidate.name]))
    return ", ".join(
        [f"{name}: {counted(len(runs), 'run')}{of}", *([" ".join(values)] if values else [])]
    )


def _values(
    configurations: Sequence[Configuration], runs: Iterable[RunRecord]
) -> Mapping[str, Sequence[object]]:
    """The numbers of the runs by key, and of what else they have several of."""
    keys = dict.fromkeys(key for run in runs for key in run.swept)
    found = {key: distinct(run.swept[key] for run in runs if key in run.swept) for key in keys}
    return {
        key: ascending(choices)
        for key, choices in found.items()
        if len(choices) > 1 or is_number(choices[0])
    }


def _stages(sweep: Sweep, count: int) -> Iterator[str]:
    """What the sweep may add, as far as it is known before."""
    if sweep.extend:
        steps = f"{sweep.extend} step{'s' * (sweep.extend > 1)}"
        yield f"        then up to {steps} beyond the grid on each side (extend)"
    if sweep.confirm_seeds:
        seeds = f"{'up to ' * bool(sweep.looks)}{len(sweep.confirm_seeds)} fresh seeds"
        yield f"        then {seeds} for each of {count} candidates (confirm)"


def _time(jobs: Sequence[Job], store: Store | None, workers: int) -> Iterator[str]:
    """The time that the jobs take, where runs like them have finished."""
    earlier = store.find(kind="run", status="FINISHED") if store and jobs else []
    taken = [seconds_of(job.settings, earlier) for job in jobs]
    known = [each for each in taken if each is not None]
    if len(known) == len(jobs) > 0:
        seconds = max(sum(known) / max(1, workers), max(known))
        side_by_side = f", {workers} at a time" if workers > 1 else ""
        yield f"time    about {_duration(seconds)}{side_by_side}, by what runs like these took"


def seconds_of(settings: Settings, earlier: Sequence[Run]) -> float | None:
    """Seconds that such a run takes, by those that are like it, its optimizer's before others."""
    wanted = {key: str(value) for key, value in settings.params().items() if is_of(key, _LIKE)}
    like = [
        run
        for run in earlier
        if "epoch_seconds" in run.data.metrics
        and {key: text for key, text in run.data.params.items() if is_of(key, _LIKE)} == wanted
    ]
    own = [run for run in like if run.data.params.get("optimizer") == settings.optimizer.name]
    times = [run.data.metrics["epoch_seconds"] for run in own or like]
    return settings.epochs * median(times) if times else None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
