"""Loss and accuracy of all runs of a sweep over the epochs, as one picture.

Runs differ in place (a column of panels for each optimizer) and colour (the learning
rate); only the best are named, so that three runs and five thousand are equally legible.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from optsweep.records.grouping import optimizer_of
from optsweep.records.run import RunRecord, SweepRecord, ranking_split
from optsweep.records.values import label
from optsweep.report.figures.drawing import (
    DRAWABLE,
    INCH,
    PLAIN,
    Floats,
    fitted,
    new_figure,
    space_apart,
)
from optsweep.report.figures.style import (
    DIVERGED,
    MANY,
    Hue,
    quieten,
    split_words,
    write_key,
    write_title,
)
from optsweep.report.figures.ticks import AccuracyLocator
from optsweep.verdict.ranking import ranked_runs

METRICS = ("loss", "accuracy")

_WIDTH, _LEFT, _LABELS = 11.0, 0.75, 0.85  # inches; of the labels beside a panel
_HEAD, _TITLE, _FOOT, _GAP = 0.8, 0.36, 0.55, 0.14
_MOST_PANELS = 12


@dataclass(frozen=True)
class _Curves:
    """One run's `(epoch, value)` points `[E, 2]` for each metric, NaN where none can be drawn."""

    run: RunRecord
    points: Mapping[str, Floats]

    @classmethod
    def of(cls, run: RunRecord) -> "_Curves":
        return cls(run, {metric: _points(run, f"{_split(run)}/{metric}") for metric in METRICS})

    def finite(self, metric: str) -> Floats:
        points = self.points[metric]
        return points[np.isfinite(points[:, 1])]


def _split(run: RunRecord) -> str:
    return ranking_split(dict.fromkeys(run.history, 0.0))


def _points(run: RunRecord, key: str) -> Floats:
    points = np.array(sorted(dict(run.history.get(key, ())).items()), dtype=float).reshape(-1, 2)
    points[~(np.abs(points[:, 1]) < DRAWABLE), 1] = np.nan
    return points


@dataclass(frozen=True)
class _Layout:
    """Where each panel lies, in inches: loss above accuracy in a column for each optimizer.

    More than four optimizers make several bands of columns; one has its two panels side by side.
    """

    panels: int

    @property
    def lone(self) -> bool:
        return self.panels == 1

    @property
    def bands(self) -> int:
        return ceil(self.panels / 4)

    @property
    def columns(self) -> int:
        return 2 if self.lone else ceil(self.panels / self.bands)

    @property
    def tall(self) -> float:
        return 2.9 if self.lone else 1.9

    @property
    def wide(self) -> float:
        space = _WIDTH - _LEFT - self.columns * _LABELS
        return space / self.columns - (0.55 if self.lone else 0.05)

    @property
    def band(self) -> float:
        return self.tall + _FOOT if self.lone else _TITLE + 2 * self.tall + _GAP + _FOOT

    @cached_property
    def height(self) -> float:
        return _HEAD + self.bands * self.band

    def axes(self, figure: Figure, number: int, row: int) -> Axes:
        """Axes for an optimizer's loss (row 0) or accuracy (row 1)."""
        band, column = (0, row) if self.lone else divmod(number, self.columns)
        step = (_WIDTH - _LEFT) / self.columns
        top = _HEAD + band * self.band
        if not self.lone:
            top += _TITLE + row * (self.tall + _GAP)
        return figure.add_axes(
            (
                (_LEFT + column * step) / _WIDTH,
                1 - (top + self.tall) / self.height,
                self.wide / _WIDTH,
                self.tall / self.height,
            )
        )


def learning_curves(sweep: SweepRecord) -> Figure:
    """Loss and accuracy of every run by epoch, on the split that runs are ranked by.

    All panels share their axes. There are at most twelve optimizers, of more the best. The best
    run of a panel is thick and named (of up to three runs each is named); a cross ends the line
    of one that diverged, a bar that of one that was pruned or stopped early.
    """
    panels = _panels(sweep)
    shown = [curves for panel in panels.values() for curves in panel]
    hue = Hue.of(sweep)
    layout = _Layout(max(len(panels), 1))
    figure = new_figure(_WIDTH, layout.height)
    write_title(figure, _heading(sweep, panels))
    write_key(figure, hue)
    epochs = _range(curves.points["accuracy"][:, 0] for curves in shown)
    for row, metric in enumerate(METRICS):
        sound = [curves for curves in shown if not curves.run.diverged] or shown
        values = _range(curves.finite(metric)[:, 1] for curves in sound)
        for number, (name, panel) in enumerate(panels.items()):
            axes = layout.axes(figure, number, row)
            _scale(axes, metric, epochs, values)
            _style(axes, metric, first=layout.lone or number % layout.columns == 0)
            _draw(axes, panel, metric, hue)
            if not layout.lone and row == 0:
                axes.tick_params(labelbottom=False)
                axes.set_xlabel("")
                heading = fitted(name, layout.wide * INCH, 10)
                axes.set_title(heading, loc="left", fontsize=10, fontweight="bold", **PLAIN)
    return figure


def _panels(sweep: SweepRecord) -> dict[str, list[_Curves]]:
    """The runs that have a curve, ranked, by optimizer; those as typed, of many the best."""
    panels: dict[str, list[_Curves]] = {}
    for run in ranked_runs([run for run in sweep.runs if run.history]):
        panels.setdefault(optimizer_of(run), []).append(_Curves.of(run))
    best = dict(list(panels.items())[:_MOST_PANELS])
    typed = [label(name) for name in sweep.grid.get("optimizer", ())]
    return {name: best[name] for name in dict.fromkeys([*typed, *best]) if name in best}


def _heading(sweep: SweepRecord, panels: Mapping[str, Sequence[_Curves]]) -> str:
    drawn = [c.run for panel in panels.values() for c in panel if len(c.points["accuracy"])]
    splits, count = dict.fromkeys(map(_split, drawn)), len(drawn)
    names = {optimizer_of(run) for run in sweep.runs if run.history}
    few = f", the best {len(panels)} of {len(names)} optimizers" * (len(panels) < len(names))
    runs = f"{count} run{'s' * (count != 1)}"
    return f"Loss and accuracy ({split_words(splits)}) of {runs} by epoch{few}"


def _range(values: Iterable[Floats]) -> tuple[float, float]:
    every = np.concatenate([*values, np.zeros(0)])
    return (float(every.min()), float(every.max())) if every.size else (0.0, 1.0)


def _scale(
    axes: Axes, metric: str, epochs: tuple[float, float], values: tuple[float, float]
) -> None:
    margin = 0.5 if epochs[0] == epochs[1] else 0
    axes.set_xlim(epochs[0] - margin, epochs[1] + margin)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
    low, high = values
    if metric == "loss" and high > 20 * low > 0:
        axes.set_yscale("log")
        axes.set_ylim(low / (high / low) ** 0.05, high * (high / low) ** 0.05)
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        # Plain numbers, because matplotlib writes powers of ten as mathtext.
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
        axes.set_ylim(low - margin, high + margin)
        locator = AccuracyLocator if metric == "accuracy" else MaxNLocator
        axes.yaxis.set_major_locator(locator(nbins=5))
        axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)


def _style(axes: Axes, metric: str, *, first: bool) -> None:
    axes.tick_params(which="both", labelsize=9, labelleft=first, color="0.7", left=first)
    axes.set_xlabel("epoch", fontsize=9)
    axes.set_ylabel(metric if first else "", fontsize=9)
    axes.yaxis.set_label_coords(-0.52 * axes.figure.dpi / axes.bbox.width, 0.5)
    quieten(axes)


def _draw(axes: Axes, ranked: Sequence[_Curves], metric: str, hue: Hue) -> None:
    """All runs as thin lines, the worst first, and on top of them those that are named."""
    crowd = (6 / max(len(ranked), 6)) ** 0.5
    lines = LineCollection(
        [curves.points[metric] for curves in reversed(ranked)],
        colors=[hue.line(curves.run) for curves in reversed(ranked)],
        linewidths=0.7 + 0.8 * crowd,
        alpha=max(0.25, 0.9 * crowd),
        rasterized=len(ranked) > MANY,
    )
    axes.add_collection(lines, autolim=False)
    _mark(axes, ranked, metric, hue)
    best = [curves for curves in ranked[: 3 if len(ranked) <= 3 else 1] if not curves.run.diverged]
    for curves in best:
        for colour, width in (("white", 4.0), (hue.line(curves.run), 2.2)):
            axes.plot(*curves.points[metric].T, color=colour, linewidth=width)
    _name_ends(axes, [curves for curves in best if len(curves.finite(metric))], metric, hue)


def _mark(axes: Axes, ranked: Sequence[_Curves], metric: str, hue: Hue) -> None:
    """A dot for a line of one point; a cross where a run diverged, a bar where it ended early."""
    marks: dict[str, list[tuple[float, float, str]]] = {"o": [], DIVERGED["marker"]: [], "|": []}
    for curves in ranked:
        points = curves.finite(metric)
        run = curves.run
        if len(points) and (run.diverged or run.ending or len(points) == 1):
            epoch, value = points[-1]
            mark = DIVERGED["marker"] if run.diverged else "|" if run.ending else "o"
            marks[mark].append((epoch, value, hue.line(curves.run)))
    for marker, entries in marks.items():
        if entries:
            epochs, values, colours = zip(*entries, strict=True)
            inside = np.clip(values, *axes.get_ylim())
            size, alpha = (24, 1) if len(entries) <= 30 else (12, 0.4)
            style: dict[str, Any] = {"marker": marker, "clip_on": False, "zorder": 3}
            axes.scatter(epochs, inside, size, colours, alpha=alpha, linewidths=1.2, **style)


def _name_ends(axes: Axes, shown: Sequence[_Curves], metric: str, hue: Hue) -> None:
    """Writes what is swept beside the end of each line, one text below the other."""
    to_axes = axes.transData - axes.transAxes
    ends = [(curves, curves.finite(metric)[-1]) for curves in shown]
    words = [_words(curves.run, float(end[1])) for curves, end in ends]
    high = max(map(len, words), default=1) * 10 * axes.figure.dpi / (INCH * axes.bbox.height)
    # Places of the texts' middles, as shares of the space that leaves all of them inside.
    depths = [(1 - to_axes.transform(end)[1] - high / 2) / (1 - high) for _, end in ends]
    order = sorted(range(len(ends)), key=depths.__getitem__)
    places = space_apart([float(depths[i]) for i in order], high / (1 - high))
    for index, place in zip(order, places, strict=True):
        curves, end = ends[index]
        text = "\n".join(fitted(line, _LABELS * INCH - 8, 8) for line in words[index])
        style: dict[str, Any] = {"va": "center", "fontsize": 8, "color": hue.text(curves.run)}
        colour = hue.line(curves.run)
        leader = {"arrowstyle": "-", "linestyle": ":", "linewidth": 0.7, "color": colour}
        leader |= {"relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 0}
        at = (1.02, 1 - high / 2 - place * (1 - high))
        axes.annotate(text, end, at, "data", "axes fraction", leader, **style, **PLAIN)


def _words(run: RunRecord, value: float) -> list[str]:
    """What distinguishes a run in its panel, a line each; its value where nothing does."""
    swept = [value for key, value in run.swept.items() if key not in ("optimizer", "seed")]
    return [label(each, 3) for each in swept[:3]] or [f"{value:.4g}"]
