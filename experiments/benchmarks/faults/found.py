"""What a store holds of a sweep, and how it differs from what an undisturbed one left."""

import math
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

# (run name, metric, step) -> its values, as often as they are stored.
Points = dict[tuple[str, str, int], list[float]]


def points(database: Path, experiment: str) -> Points:
    """All points of an experiment's runs but those of time.

    The sweep's own run is left out: a sweep that is resumed is summarized again.
    """
    ask = """SELECT runs.name, metrics.key, metrics.step, metrics.value, metrics.is_nan
        FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid
        JOIN experiments ON experiments.experiment_id = runs.experiment_id
        JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'optsweep.kind'
        WHERE experiments.name = ? AND tags.value = 'run'
        AND metrics.key NOT IN ('epoch_seconds', 'samples_per_second')"""
    found: Points = {}
    for name, key, step, value, is_nan in _rows(database, ask, experiment):
        found.setdefault((name, key, step), []).append(math.nan if is_nan else value)
    return found


def statuses(database: Path, experiment: str) -> Counter[str]:
    """How many runs of an experiment, sweeps too, have which status."""
    ask = """SELECT runs.status FROM runs
        JOIN experiments ON experiments.experiment_id = runs.experiment_id
        WHERE experiments.name = ?"""
    return Counter(status for (status,) in _rows(database, ask, experiment))


def _rows(database: Path, ask: str, experiment: str) -> list[tuple[Any, ...]]:
    if not database.exists():
        return []
    with sqlite3.connect(database, timeout=60) as connection:
        return connection.execute(ask, [experiment]).fetchall()


def differences(found: Points, expected: Points) -> Counter[str]:
    """How many points are lost, doubled, and different from those that were expected."""
    counts: Counter[str] = Counter()
    for key in found.keys() | expected.keys():
        values, wanted = found.get(key, []), expected.get(key, [])
        counts["points lost"] += not values
        counts["points doubled"] += max(0, len(values) - max(1, len(wanted)))
        counts["points different"] += bool(values) and set(values) != set(wanted)
    return counts
