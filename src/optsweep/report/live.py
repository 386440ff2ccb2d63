"""The page of a sweep while it runs: how far it is, its runs in hand, and what is known so far.

`live_page` is given what became of the runs so far and a `Glance` at those that run. The page
reloads itself until the sweep has ended. It gives no verdict: who judges again and again while
runs come in finds a winner between equals.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from optsweep.records.run import SweepRecord, ranking_split
from optsweep.records.values import SPLIT_NAMES
from optsweep.report.tables import table_values
from optsweep.report.templates import template
from optsweep.report.terminal_table import counts, score, sentence

SHOWN = 12  # runs in hand whose curves a page shows
RELOADING = 'http-equiv="refresh"'  # in a page that reloads itself
_RELOAD = 5  # seconds
_WIDTH, _HEIGHT = 100, 40  # of a chart, in units of its own
_POINTS = 100  # of a line, at most


@dataclass(frozen=True)
class RunInHand:
    """A run that is trained: its name, its epochs in all, its points (epoch, value) so far."""

    name: str
    epochs: int
    history: Mapping[str, Sequence[tuple[int, float]]]

    @property
    def epoch(self) -> int:
        """The last epoch that was logged."""
        return max((points[-1][0] for points in self.history.values() if points), default=0)


@dataclass(frozen=True)
class Glance:
    """How far a sweep is.

    `runs` is how many it is to have, `in_hand` how many are trained, of which `shown` are the
    first; `waiting` were given to workers or a cluster, and have not begun as far as is known here.
    `seconds` have gone by since it began, about `left` remain.
    """

    runs: int
    in_hand: int
    waiting: int
    shown: Sequence[RunInHand]
    seconds: float
    left: float | None
    ended: bool = False


@dataclass(frozen=True)
class _Chart:
    """A run's curves of one metric: the top of its scale, and a polyline's points by split."""

    metric: str
    top: float
    lines: Mapping[str, str]


@dataclass(frozen=True)
class _Card:
    """A run in hand as the page shows it."""

    run: RunInHand
    scores: str
    charts: Sequence[_Chart]


def live_page(sweep: SweepRecord, glance: Glance) -> str:
    """The page as HTML; `sweep` holds all runs, also those that have not ended."""
    ended = [run for run in sweep.runs if run.status != "SCHEDULED"]
    known = replace(sweep, runs=ended)
    todo = glance.runs - len(ended) - glance.in_hand
    resuming = replace(sweep, overrides=[*sweep.overrides, "resume=true"])
    return template("live.html.j2").render(
        **table_values(known),
        glance=glance,
        sentences=sentence(known).split("\n") if ended else [],
        kinds={**counts(known), "in hand": glance.in_hand, "to do": max(todo, 0)},
        reused=sum(run.reused for run in ended),
        cards=[_card(run) for run in glance.shown],
        width=_WIDTH,
        height=_HEIGHT,
        reload=None if glance.ended else _RELOAD,
        now=time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        resuming=resuming.command,
        has_csv=False,
    )


def _card(run: RunInHand) -> _Card:
    last = {name: points[-1][1] for name, points in run.history.items() if points}
    split = ranking_split(last)
    if f"{split}/loss" not in last:  # the epoch made the run diverge
        split = "train"
    scores = [
        f"{metric} {score(last[f'{split}/{metric}'])}"
        for metric in ("loss", "accuracy")
        if f"{split}/{metric}" in last
    ]
    charts = [_chart(run, metric) for metric in ("loss", "accuracy")] if last else []
    return _Card(run, f"{SPLIT_NAMES[split]} {', '.join(scores)}" if scores else "", charts)


def _chart(run: RunInHand, metric: str) -> _Chart:
    """Accuracies from 0 to 1, losses from 0 to the largest, over all epochs that are to come."""
    found = {
        split: [
            (epoch, value)
            for epoch, value in run.history.get(f"{split}/{metric}", ())
            if isfinite(value)
        ]
        for split in ("train", "val", "test")
    }
    if found["val"]:
        del found["test"]  # validation ranks the runs
    values = [value for points in found.values() for _, value in points]
    top = 1.0 if metric == "accuracy" else max(values, default=0.0) or 1.0
    lines = {split: _line(points, run.epochs, top) for split, points in found.items() if points}
    return _Chart(metric, top, lines)


def _line(points: Sequence[tuple[int, float]], epochs: int, top: float) -> str:
    """The points of a polyline; a single one twice, which draws a dot."""
    kept = points[:: len(points) // _POINTS + 1]
    kept = [*kept, points[-1]]
    return " ".join(
        f"{_WIDTH * epoch / max(epochs, 1):.1f},{_HEIGHT * (1 - value / top):.1f}"
        for epoch, value in kept
    )
