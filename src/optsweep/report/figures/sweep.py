"""Pictures of a sweep: those that make sense for what was swept.

`sweep_figures` is given a `SweepRecord` and returns figures by name; `run.save` writes them.
The curves are in `curves.py` and `learning_rates.py`; here are the map of two swept values and
the ranking, which stands in where no learning rate was swept.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from optsweep.records.grouping import Configuration
from optsweep.records.run import SweepRecord
from optsweep.records.search_intervals import read_interval
from optsweep.records.values import ascending, identity, is_number, label, named
from optsweep.report.figures.curves import learning_curves
from optsweep.report.figures.drawing import INCH, PLAIN, fitted, new_figure, width_of
from optsweep.report.figures.learning_rates import accuracy, learning_rates
from optsweep.report.figures.style import (
    DIVERGED,
    PALETTE,
    quieten,
    split_words,
    title,
    write_title,
)
from optsweep.report.figures.ticks import AccuracyLocator
from optsweep.verdict.ranking import ranked_configurations, ranking_splits
from optsweep.verdict.scores.phrases import counted

# Each picture's title and what there is to see in it.
CAPTIONS = {
    "learning_curves": (
        "Learning curves",
        "Loss and accuracy of every run by epoch, panels by optimizer, all on the same axes. The "
        "best run of a panel is thick and named; a cross ends the line of one that diverged.",
    ),
    "learning_rates": (
        "Sensitivity to the learning rate",
        "Accuracy over the learning rate, with each line's peak. Where a point stands for several "
        "runs, these are the small points, and the band reaches from the lowest to the highest "
        "seed. A bar at the foot covers the rates that are not excluded as the best (95 %). A "
        "cross below marks a rate at which runs diverged.",
    ),
    "heat_map": (
        "Both swept values",
        "Accuracy for each pair of values. A cell without a finished run is hatched. A cell with "
        "lost runs says of how many runs it is the mean: 2 of 3.",
    ),
    "ranking": (
        "Ranking",
        "Accuracy of each configuration, the best first. Small points are single runs.",
    ),
}

# What is to be seen instead where a search was made.
_OF_A_SEARCH = {
    "learning_curves": (
        "Learning curves",
        f"{CAPTIONS['learning_curves'][1][:-1]}, a bar that of one that was pruned.",
    ),
    "learning_rates": (
        "Sensitivity to the learning rate",
        "Accuracy over the learning rate, a point for each run, with each optimizer's peak. A "
        "hollow one was pruned: its accuracy is that of the epoch after which it ended. A cross "
        "below marks a rate at which a run diverged.",
    ),
}

_BLUE, _ORANGE, *_ = PALETTE
_MOST_ROWS, _MOST_CELLS = 40, 60


def captions(sweep: SweepRecord) -> dict[str, tuple[str, str]]:
    """Each picture's title, and what there is to see in it."""
    found = CAPTIONS | (_OF_A_SEARCH if sweep.search else {})
    if not sweep.search and any(run.stopped_early for run in sweep.runs):
        title, text = CAPTIONS["learning_curves"]
        found["learning_curves"] = title, f"{text[:-1]}, a bar that of one that stopped early."
    return found


def sweep_figures(
    sweep: SweepRecord, not_excluded: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Figure]:
    """The pictures that make sense for this sweep, of one workload, by name.

    Learning curves where a run has two epochs; the learning rates where several were swept, else
    the ranking; the heat map where exactly two values were swept beside the seed.
    """
    figures: dict[str, Figure] = {}
    keys = [key for key in sweep.grid if key != "seed"]
    rates = {
        configuration for configuration in sweep.grid.get("lr", ()) if is_number(configuration)
    }
    scored = any(run.metrics for run in sweep.runs)
    if any(len(points) > 1 for run in sweep.runs for points in run.history.values()):
        figures["learning_curves"] = learning_curves(sweep)
    if len(rates) > 1 and scored:
        figures["learning_rates"] = learning_rates(sweep, not_excluded)
    elif len(sweep.runs) > 1 and scored:
        figures["ranking"] = ranking(sweep)
    drawn = any(map(read_interval, sweep.search.values()))  # a map of them would be empty
    few = not drawn and all(len(sweep.grid[key]) <= _MOST_CELLS for key in keys)
    if len(keys) == 2 and few and scored:
        figures["heat_map"] = heat_map(sweep)
    return figures


def heat_map(sweep: SweepRecord) -> Figure:
    """The mean accuracy for each pair of two swept values, the better the darker.

    A cell whose every run diverged says so in grey, one without a finished run is hatched; where
    single seeds diverged, the cell says of how many others it is the mean.
    """
    rows, columns = _sides(sweep)
    found = {
        _cell(configuration, rows, columns): configuration
        for configuration in ranked_configurations(sweep.runs)
    }
    down, across = ascending(sweep.grid[rows]), ascending(sweep.grid[columns])
    values = np.full((len(down), len(across)), np.nan)
    for row, first in enumerate(down):
        for column, second in enumerate(across):
            configuration = found.get((identity(first), identity(second)))
            values[row, column] = accuracy(configuration) if configuration else np.nan
    mean = ", mean over seeds" * ("seed" in sweep.grid)
    heading = f"Accuracy ({split_words(ranking_splits(found.values()))}){mean}"
    figure, axes, bar, cell = _map_axes(heading, (rows, down), (columns, across))
    shades = matplotlib.colormaps["Blues"].with_extremes(bad="white")
    image = axes.imshow(values, cmap=shades, aspect="auto", interpolation="nearest")
    if not np.isnan(values).all():
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        image.set_clim(max(0.0, low - 0.08 * (high - low)), high)  # the map begins with white
        figure.colorbar(image, cax=bar)
        bar.yaxis.set_major_locator(AccuracyLocator(nbins=5))
        bar.tick_params(labelsize=9, length=0)
        bar.spines[:].set_visible(False)
    else:
        bar.remove()
    for row, first in enumerate(down):
        for column, second in enumerate(across):
            _fill(axes, row, column, found.get((identity(first), identity(second))), values, cell)
    return figure


def _sides(sweep: SweepRecord) -> tuple[str, str]:
    """Which swept value goes down and which across: the learning rate across, like an axis."""
    first, second = (key for key in sweep.grid if key != "seed")
    return (second, first) if first == "lr" else (first, second)


def _cell(configuration: Configuration, rows: str, columns: str) -> tuple[str, str]:
    return identity(configuration.swept.get(rows)), identity(configuration.swept.get(columns))


def _map_axes(
    heading: str, rows: tuple[str, Sequence[Any]], columns: tuple[str, Sequence[Any]]
) -> tuple[Figure, Axes, Axes, tuple[float, float]]:
    """Axes of a cell for each pair, axes for a colour bar, and a cell's size in points."""
    wide = float(np.clip(7.0 / len(columns[1]), 0.28, 1.0)) * INCH
    tall = float(np.clip(6.0 / len(rows[1]), 0.28, 0.5)) * INCH
    names = [fitted(label(value, 4), 150, 9) for value in rows[1]]
    heads = [fitted(label(value, 4), 110, 9) for value in columns[1]]
    longest = max(width_of(name, 9) for name in names)
    deepest = max(width_of(name, 9) for name in heads)
    upright = deepest > 0.9 * wide
    left, below = longest + 36, (deepest if upright else 9) + 36
    across, down = wide * len(heads), tall * len(names)
    width = max(left + across + 84, width_of(heading, 12) + 30)
    height = below + down + 42
    figure = new_figure(width / INCH, height / INCH)
    axes = figure.add_axes((left / width, below / height, across / width, down / height))
    bar = figure.add_axes(((left + across + 14) / width, below / height, 9 / width, down / height))
    axes.set_xticks(range(len(heads)), heads, rotation=90 if upright else 0, fontsize=9, **PLAIN)
    axes.set_yticks(range(len(names)), names, fontsize=9, **PLAIN)
    axes.set_xlabel(fitted(title(columns[0]), across, 9), fontsize=9, **PLAIN)
    axes.set_ylabel(fitted(title(rows[0]), down, 9), fontsize=9, **PLAIN)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    write_title(figure, heading)
    return figure, axes, bar, (wide, tall)


def _fill(
    axes: Axes,
    row: int,
    column: int,
    configuration: Configuration | None,
    values: Any,
    cell: tuple[float, float],
) -> None:
    """Writes a cell's number, or what became of it, and separates it from its neighbours."""
    wide, tall = cell
    value = float(values[row, column])
    style: dict[str, Any] = {"facecolor": "none", "edgecolor": "white", "linewidth": 1.5}
    text, colour = f"{value:.3f}", "0.35"
    if isnan(value):
        diverged = configuration is not None and configuration.diverged
        text = "diverged" if diverged else ""
        style |= (
            {"facecolor": DIVERGED["cell"]} if diverged else {"hatch": "////", "edgecolor": "0.8"}
        )
        if diverged and width_of(text, 8) > 0.9 * wide:
            text = "✗"
    else:
        low, high = np.nanmin(values), np.nanmax(values)
        colour = "white" if value > low + 0.5 * (high - low) else "black"
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **style))
    size = min(10.0, 0.85 * wide / max(width_of(text, 1), 1e-9), 0.6 * tall)
    partly = (
        configuration is not None
        and configuration.sound
        and (configuration.diverged or configuration.failed)
    )
    if text and size >= 5:
        centre: dict[str, Any] = {"ha": "center", "va": "center_baseline", "color": colour}
        few = partly and configuration is not None and tall >= 26
        axes.text(column, row - 0.17 * bool(few), text, fontsize=size, **centre)
        if few and configuration is not None:
            note = f"{len(configuration.sound)} of {len(configuration.runs)}"
            axes.text(column, row + 0.27, note, fontsize=min(7, 0.8 * size), **centre)


def _unswept(configuration: Configuration) -> str:
    """The name of a configuration of which nothing was swept but seeds, if those."""
    runs = configuration.runs
    return runs[0].name if len(runs) == 1 else counted(len(runs), "run")


def ranking(sweep: SweepRecord) -> Figure:
    """The accuracy of each configuration, the best first, at most forty: its mean and its runs.

    One that diverged or never finished says so in the place of its points.
    """
    configurations = ranked_configurations(sweep.runs)
    shown = configurations[:_MOST_ROWS]
    names = [fitted(named(each.swept, 4) or _unswept(each), 260, 9) for each in shown]
    left = max(width_of(name, 9) for name in names) / INCH + 0.35
    row = 0.24
    height = 0.6 + row * len(shown) + 0.6
    figure = new_figure(11, height)
    split = split_words(ranking_splits(shown))
    first = f", the best {len(shown)}" * (len(shown) < len(configurations))
    mean = ", mean over seeds" * any(len(configuration.runs) > 1 for configuration in shown)
    all_of_them = counted(len(configurations), "configuration")
    heading = f"Accuracy ({split}) of {all_of_them}{first}{mean}"
    write_title(figure, heading)
    right = 1.9 if any(configuration.notes for configuration in shown) else 0.8
    place = (left / 11, 0.55 / height, (11 - left - right) / 11, row * len(shown) / height)
    axes = figure.add_axes(place)
    for number, configuration in enumerate(shown):
        _draw_row(axes, number, configuration)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks(range(len(shown)), names, fontsize=9, **PLAIN)
    axes.set_xlabel("accuracy", fontsize=9)
    axes.xaxis.set_major_locator(AccuracyLocator("auto", steps=[1, 2, 2.5, 5, 10]))
    axes.tick_params(labelsize=9, color="0.7")
    axes.tick_params(axis="y", length=0)
    quieten(axes)
    return figure


def _draw_row(axes: Axes, number: int, configuration: Configuration) -> None:
    value = accuracy(configuration)
    beside: dict[str, Any] = {"fontsize": 8, "va": "center_baseline", "color": "0.3"}
    if isnan(value):
        words = "diverged" if configuration.diverged else "never finished"
        words = "pruned" if configuration.pruned else words
        at: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "color": _ORANGE}
        axes.text(0.005, number, f"✗ {words}", **(beside | at))
        return
    points = configuration.values(f"{configuration.split}/accuracy")
    if len(points) > 1:
        axes.scatter(points, [number] * len(points), 12, _BLUE, alpha=0.4, linewidths=0)
    axes.scatter([value], [number], 36, _BLUE, zorder=3)
    text = f"{value:.4f}" + (f" ({configuration.notes})" if configuration.notes else "")
    right: dict[str, Any] = {"transform": axes.get_yaxis_transform(), **beside}
    axes.text(1.01, number, fitted(text, 125, 8), **right)
