"""A sweep as the store holds it, long after its folder is gone.

`read_sweep` is given a store and a sweep's id and returns the `SweepRecord` that the report is made
from. Runs and metric histories are read in bulk, many runs in one query.
"""

import contextlib
import json
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from optsweep.errors import SettingsError, TrackingError
from optsweep.records.correct_samples import CORRECT, read_all_correct
from optsweep.records.merging import common
from optsweep.records.param_values import choices, value_of
from optsweep.records.run import SCORES, RunRecord, SweepRecord
from optsweep.records.values import distinct, identity
from optsweep.system.project_folder import command
from optsweep.tracking.errors import explained
from optsweep.tracking.history import _IN_A_QUERY, histories
from optsweep.tracking.store import Store

_SECONDS = "epoch_seconds"
_FAILURES = 20  # failed runs whose output is looked for, at a file each


def latest_sweep(store: Store, key: str = "sweep") -> str:
    """The id of the sweep that was started last, which `key=latest` asked for.

    Raises:
        SettingsError: the experiment holds none.
    """
    sweeps = _sweeps(store, 1)
    if not sweeps:
        raise SettingsError(
            f"{key}=latest: the experiment holds no sweep yet; start one with "
            f"{command()} -m optimizer=sgd,adam lr=1e-3,1e-1"
        )
    return str(sweeps[0].info.run_id)


def read_sweep(store: Store, run_id: str) -> SweepRecord:
    """What the store holds of a sweep: its own runs and those that it reused.

    Runs are in the order of the grid. A run that never started is not in the store.

    Raises:
        SettingsError: the experiment holds no such run, or the run is not a sweep.
        TrackingError: the store fails.
    """
    parent = _parent(store, run_id)
    runs = {run.info.run_id: run for run in store.find(kind="run", parent=run_id)}
    reused = _reused(parent.data.tags)
    runs |= {run.info.run_id: run for run in _by_id(store, reused - runs.keys())}
    params = parent.data.params
    grid = {key[5:]: choices(text) for key, text in params.items() if key.startswith("grid.")}
    records = _records(store, list(runs.values()), grid, reused, run_id)
    target = value_of(parent.data.tags.get("optsweep.target", ""))
    # With the choices that the runs have besides, where a list was cut.
    ran = {key: [run.swept[key] for run in records if key in run.swept] for key in grid}
    order = _keys(parent.data.tags) or _typed(params)
    places = {key: order.index(key) if key in order else len(order) for key in grid}
    keys = sorted(grid, key=places.__getitem__)
    grid = {key: distinct([*grid[key], *ran[key]]) for key in keys}
    return SweepRecord(
        run_id=run_id,
        overrides=_overrides(params.get("overrides", "")),
        grid=grid,
        runs=_in_grid_order(records, grid),
        environment=_environment(parent.data.tags),
        common=common(records, grid),
        target=target if isinstance(target, float) else None,
        extended=_extended(parent.data.tags),
        confirm_seeds=confirm_seeds_of(parent.data.tags),
        looks=looks_of(parent.data.tags),
        margin=_margin(parent.data.tags),
        compare=parent.data.tags.get("optsweep.compare") or None,
        search={key[7:]: text for key, text in params.items() if key.startswith("search.")},
    )


def finished_records(store: Store, runs: Sequence[Run]) -> list[RunRecord]:
    """The records of runs that an earlier sweep finished, in the order given."""
    ids = [run.info.run_id for run in runs]
    found = {record.run_id: record for record in _records(store, runs, {}, set(ids))}
    return [found[run_id] for run_id in ids]


def _sweeps(store: Store, count: int) -> list[Run]:
    with explained(store.uri):
        return list(
            store.client.search_runs(
                [store.experiment_id],
                "tags.`optsweep.kind` = 'sweep'",
                order_by=["attributes.start_time DESC"],
                max_results=count,
            )
        )


def _parent(store: Store, run_id: str) -> Run:
    found = _by_id(store, [run_id]) if re.fullmatch(r"[\w-]+", run_id) else []
    if found and found[0].data.tags.get("optsweep.kind") == "sweep":
        return found[0]
    if found and (sweep := found[0].data.tags.get("mlflow.parentRunId")):
        raise SettingsError(f"sweep={run_id} is a run of a sweep; type sweep={sweep}")
    what = "is a run and not a sweep" if found else "is no run of this experiment"
    recent = [f"sweep={run.info.run_id} ({run.info.run_name})" for run in _sweeps(store, 3)]
    there = f"the latest are {', '.join(recent)}" if recent else "there is none yet"
    raise SettingsError(f"sweep={run_id} {what}; type the id of a sweep: {there}")


def _by_id(store: Store, run_ids: Iterable[str]) -> list[Run]:
    ids, runs = sorted(run_ids), list[Run]()
    with explained(store.uri):
        for first in range(0, len(ids), _IN_A_QUERY):
            quoted = ", ".join(f"'{each}'" for each in ids[first : first + _IN_A_QUERY])
            wanted = f"attributes.run_id IN ({quoted})"
            runs += store.client.search_runs([store.experiment_id], wanted, max_results=1000)
    return runs


def _reused(tags: Mapping[str, str]) -> set[str]:
    """The ids in the tag `optsweep.reused`, and where one tag did not take all, in those after it.

    They are looked for one by one: MLflow cuts a tag at 8,000 characters, in the middle of an id.
    """
    texts = [text for key, text in tags.items() if re.fullmatch(r"optsweep\.reused(\.\d+)?", key)]
    return {found for text in texts for found in re.findall(r'"([\w-]+)"', text)}


def _environment(tags: Mapping[str, str]) -> dict[str, str]:
    prefix = "optsweep.env."
    found = {key.removeprefix(prefix): text for key, text in tags.items() if key.startswith(prefix)}
    commit = tags.get("mlflow.source.git.commit")
    return found if commit is None else {**found, "commit": commit}


def confirm_seeds_of(tags: Mapping[str, str]) -> list[int]:
    """The seeds that confirm, in a sweep's tags."""
    return _numbers(tags, "confirm_seeds")


def looks_of(tags: Mapping[str, str]) -> list[int]:
    """The numbers of seeds at which it is looked, in a sweep's tags."""
    return _numbers(tags, "looks")


def _numbers(tags: Mapping[str, str], name: str) -> list[int]:
    """The integers in a tag that a sweep wrote; none where others wrote it."""
    with contextlib.suppress(ValueError):
        found = json.loads(tags.get(f"optsweep.{name}", "[]"))
        if isinstance(found, list) and all(isinstance(each, int) for each in found):
            return found
    return []


def _margin(tags: Mapping[str, str]) -> float:
    found = value_of(tags.get("optsweep.margin", ""))
    return found if isinstance(found, float) and 0 < found < 1 else SweepRecord.margin


def _extended(tags: Mapping[str, str]) -> list[str]:
    with contextlib.suppress(ValueError):  # where MLflow has cut the tag
        return [str(name) for name in json.loads(tags.get("optsweep.extended", "[]"))]
    return []


def _overrides(text: str) -> list[str]:
    """The words as typed; a guess where they were joined without quotes."""
    with contextlib.suppress(ValueError):
        words = shlex.split(text)
        if shlex.join(words) == text:
            return words
    return text.split(" ") if text else []


def _keys(tags: Mapping[str, str]) -> list[str]:
    """The swept keys in the order in which they were typed, which parameters do not keep."""
    with contextlib.suppress(ValueError):  # where MLflow has cut the tag
        return [str(key) for key in json.loads(tags.get("optsweep.swept", "[]"))]
    return []


def _typed(params: Mapping[str, str]) -> list[str]:
    """These keys by the overrides, of a sweep from before they were kept."""
    words = _overrides(params.get("overrides", ""))
    return [word.partition("=")[0].lstrip("+~").partition("@")[0] for word in words]


def _in_grid_order(
    records: Sequence[RunRecord], grid: Mapping[str, Sequence[Any]]
) -> list[RunRecord]:
    places = {key: {identity(v): n for n, v in enumerate(values)} for key, values in grid.items()}
    return sorted(
        records,
        key=lambda record: [places[key].get(identity(record.swept.get(key)), -1) for key in grid],
    )


def _records(
    store: Store, runs: Sequence[Run], grid: Mapping[str, Any], reused: set[str], sweep: str = ""
) -> list[RunRecord]:
    known = {name for run in runs for name in run.data.metrics}
    names = [name for name in (*SCORES, _SECONDS) if name in known]
    points = histories(store, [run.info.run_id for run in runs], names)
    ordered = sorted(runs, key=lambda run: (run.info.start_time or 0, run.info.run_id))
    records = [_record(run, points[run.info.run_id], grid, reused) for run in ordered]
    _learn_correct(store, [run.data.tags for run in ordered], records, sweep)
    for record in [record for record in records if record.status == "FAILED"][:_FAILURES]:
        record.output = record.output or _output(store, record)
    return records


def _learn_correct(
    store: Store, tags: Sequence[Mapping[str, str]], records: Sequence[RunRecord], sweep: str
) -> None:
    """Which test samples runs had right, from their sweeps' files and that of `sweep`."""
    keys = [own.get("optsweep.fingerprint", "") for own in tags]
    ids = {own.get("mlflow.parentRunId", "") for own in tags} | {sweep}
    known = [each for each in _by_id(store, ids - {""}) if "optsweep.correct" in each.data.tags]
    for each in known:
        with (
            contextlib.suppress(TrackingError, OSError),
            _fetched(store, each.info.run_id, CORRECT) as path,
        ):
            read_all_correct(list(zip(keys, records, strict=True)), path)


def _record(
    run: Run, history: dict[str, list[tuple[int, float]]], grid: Mapping[str, Any], reused: set[str]
) -> RunRecord:
    tags = run.data.tags
    params = {key: value_of(text) for key, text in run.data.params.items()}
    tagged = {key: value_of(tags[name]) for key in grid if (name := f"optsweep.{key}") in tags}
    known = tagged | params
    swept = {key: known[key] for key in grid if key in known}
    diverged = tags.get("optsweep.diverged") == "true"
    epoch_seconds = history.pop(_SECONDS, [])
    if diverged:
        _fill(history)
    record = RunRecord(
        name=str(run.info.run_name),
        run_id=run.info.run_id,
        status=run.info.status,
        params=params,
        swept=swept,
        history=history,
        seconds=sum(seconds for _, seconds in epoch_seconds),
        epoch_seconds=epoch_seconds,
        diverged=diverged,
        pruned=tags.get("optsweep.pruned") == "true",
        stopped_early=tags.get("optsweep.stopped_early") == "true",
        reused=run.info.run_id in reused,
        stack=int(tags.get("optsweep.stack", "1")),
        error=tags.get("optsweep.error", ""),
        output=tags.get("optsweep.output", ""),
    )
    record.metrics = record.final_metrics()
    return record


def _fill(history: dict[str, list[tuple[int, float]]]) -> None:
    """Puts NaN where a diverged run's loss was, which the store does not hold."""
    epochs = sorted({epoch for points in history.values() for epoch, _ in points})
    for name in list(history):
        history.setdefault(name.replace("/accuracy", "/loss"), [])
    for name, points in history.items():
        values = dict(points)
        history[name] = [(epoch, values.get(epoch, nan)) for epoch in epochs]


def _output(store: Store, record: RunRecord) -> str:
    """The last lines that a failed run printed, or its traceback, from its artifacts."""
    with (
        contextlib.suppress(TrackingError, OSError),
        _fetched(store, record.run_id, "error.txt") as path,
    ):
        text = path.read_text(encoding="utf-8", errors="replace")
        return text.removeprefix(record.error).strip()
    return ""


@contextlib.contextmanager
def _fetched(store: Store, run_id: str, name: str) -> Iterator[Path]:
    """One of a run's artifacts, for as long as the block runs.

    Raises:
        FileNotFoundError: the store has no such file.
        TrackingError: it fails, or does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield store.download(run_id, "", name, Path(folder))
