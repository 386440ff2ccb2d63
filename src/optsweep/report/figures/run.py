"""Pictures of a run: its curves, its mistakes.

Each function is given numpy arrays and returns a `Figure`; `save` writes one to a PNG file. Nobody
imports pyplot, whose current figure is shared by all threads: so pictures are drawn in any thread
and without a display.
"""

import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from optsweep.report.figures.drawing import (
    DRAWABLE,
    INCH,
    PLAIN,
    UNWRITTEN,
    Floats,
    fitted,
    legible,
    new_figure,
    space_apart,
    width_of,
)
from optsweep.report.figures.picture_grids import Labels, class_indices
from optsweep.report.figures.style import PALETTE
from optsweep.report.figures.ticks import AccuracyLocator
from optsweep.system import files

_SPLITS = dict(zip(("train", "val", "test"), PALETTE, strict=False))
_OTHER_SPLITS = PALETTE[3:]
_QUIET = "0.45"


def learning_curves(
    history: Mapping[str, Sequence[tuple[int, float]]], *, title: str = ""
) -> Figure:
    """Loss and accuracy by epoch, side by side, each line labelled at its end.

    A label gives the last value: that of a diverged run reads `train nan`. A loss that spans more
    than two decades has a logarithmic axis.

    Args:
        history: `(epoch, value)` points by `split/metric`, such as `val/accuracy`. Of one epoch's
            points the last counts. Other metrics than loss and accuracy are passed over.
    """
    panels: dict[str, dict[str, Floats]] = {"loss": {}, "accuracy": {}}
    for key, points in history.items():
        split, _, metric = key.rpartition("/")
        if metric in panels and points:
            panels[metric][split] = np.array(sorted(dict(points).items()), dtype=float)
    every = [curve for curves in panels.values() for curve in curves.items()]
    epochs = np.concatenate([points[:, 0] for _, points in every] or [np.ones(1)])
    colours = dict(zip(dict(every), cycle(_OTHER_SPLITS), strict=False)) | _SPLITS

    figure = new_figure(11, 4)
    figure.text(0.85 / 11, 0.93, fitted(title, 9 * INCH, 12), fontsize=12, **PLAIN)
    for panel, (metric, curves) in enumerate(panels.items()):
        axes = figure.add_axes(((0.85 + 5.45 * panel) / 11, 0.15, 3.5 / 11, 0.7))
        _style_panel(axes, metric, epochs.min(), epochs.max())
        if curves:
            _draw_curves(axes, curves, colours)
            _fit_height(axes, may_be_logarithmic=metric == "loss")
            _label_ends(axes, curves, colours)
        else:
            axes.set_yticks([])
            axes.text(0.5, 0.5, f"no {metric}", ha="center", color=_QUIET, transform=axes.transAxes)
    return figure


def confusion_matrix(true: Labels, predicted: Labels, classes: Sequence[str]) -> Figure:
    """How often each true class (row) was taken for each class (column).

    Numbers are counts of images, blank for none, and left out where they would be too small to
    read; the colour is the share of the row. Of more than 100 classes every n-th is named.

    Args:
        true, predicted: integers `[N]`, indices into `classes`.
    """
    size = len(classes)
    names = legible(classes)
    pairs = class_indices(true, classes) * size + class_indices(predicted, classes)
    counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, where=totals > 0, out=np.full((size, size), np.nan))
    right, total = int(np.trace(counts)), len(pairs)
    verdict = f"accuracy {right / total:.4f} ({right} of {total})" if total else "no images"

    cell = INCH * min(1.5, max(6 / size, 0.15), 15 / size)
    figure, axes, bar = _matrix_axes(names, cell)
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="0.88")
    image = axes.imshow(shares, cmap=colours, vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, cax=bar, ticks=[0, 0.5, 1], label="share of the row")
    for each in (axes, bar):
        each.tick_params(length=0)
        each.spines[:].set_color("0.8")
    axes.set_title(verdict, loc="left", fontsize=11)
    axes.set_xlabel("predicted" if names == [*classes] else f"predicted{UNWRITTEN}", fontsize=10)
    axes.set_ylabel("true" if totals.all() else "true (grey: no images)", fontsize=10)
    _write_counts(axes, counts, shares, cell)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes `figure` as a PNG file: the whole of it, or nothing.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    with files.replacing(Path(path)) as unfinished:
        # Without the version of matplotlib, equal pictures are equal files.
        figure.savefig(unfinished, format="png", dpi="figure", metadata={"Software": None})


def _style_panel(axes: Axes, metric: str, first: float, last: float) -> None:
    margin = 0.5 if first == last else 0
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))
    axes.set_xlabel("epoch", fontsize=10)
    axes.set_ylabel(metric, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")


def _draw_curves(axes: Axes, curves: Mapping[str, Floats], colours: Mapping[str, str]) -> None:
    """Draws each split's `(epoch, value)` points `[E, 2]`: a line where neighbours are finite."""
    for split, points in curves.items():
        drawn = _drawn(points)
        lonely = drawn & ~np.append(False, drawn[:-1]) & ~np.append(drawn[1:], False)
        values = np.where(drawn, points[:, 1], np.nan)
        style: dict[str, Any] = {"color": colours[split], "linewidth": 1.8, "clip_on": False}
        axes.plot(points[:, 0], values, "o-", markevery=lonely, markersize=5, **style)


def _fit_height(axes: Axes, *, may_be_logarithmic: bool) -> None:
    low, high = axes.dataLim.intervaly
    if low > high:  # no value was finite
        axes.set_yticks([])
    elif may_be_logarithmic and high > 100 * low > 1 / DRAWABLE:
        axes.set_yscale("log")
        # Plain numbers, because matplotlib writes powers of ten as mathtext.
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif not may_be_logarithmic:
        axes.yaxis.set_major_locator(AccuracyLocator("auto", steps=[1, 2, 2.5, 5, 10]))


def _drawn(points: Floats) -> NDArray[np.bool_]:
    """Which points `[E, 2]` can be drawn: neither NaN nor next to infinite."""
    return np.abs(points[:, 1]) < DRAWABLE


def _label_ends(axes: Axes, curves: Mapping[str, Floats], colours: Mapping[str, str]) -> None:
    """Names each curve and its last value at the right edge, with a thin line to its end."""
    corner = (axes.get_xlim()[1], axes.get_ylim()[1])
    ends = {split: tuple([corner, *points[_drawn(points)]][-1]) for split, points in curves.items()}
    to_axes = axes.transData - axes.transAxes
    depths = {split: 1 - float(to_axes.transform(end)[1]) for split, end in ends.items()}
    downwards = sorted(depths, key=depths.__getitem__)
    space = axes.bbox.height / axes.figure.dpi * INCH
    line = min(12, space / len(curves))
    size = 0.75 * line
    places = space_apart([depths[split] for split in downwards], line / space)
    for split, place in zip(downwards, places, strict=True):
        value, colour = f" {curves[split][-1, 1]:.3g}", colours[split]
        text = fitted(split, 76 - width_of(value, size), size) + value
        # Dotted where it crosses the panel, lest it be taken for a part of the curve.
        dash = "-" if ends[split][0] == corner[0] else ":"
        leader = {"arrowstyle": "-", "linestyle": dash, "linewidth": 0.7, "color": colour}
        leader |= {"relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 0}
        style: dict[str, Any] = {"color": colour, "fontsize": size, "va": "center", **PLAIN}
        at = (1.03, 1 - place)
        axes.annotate(text, ends[split], at, "data", "axes fraction", leader, **style)


def _matrix_axes(classes: Sequence[str], cell: float) -> tuple[Figure, Axes, Axes]:
    """Axes of one cell of `cell` points a class, with names fitted, and axes for a colour bar."""
    every = ceil(len(classes) / 100)
    size = min(9.0, 0.75 * cell * every)
    names = [fitted(name, 100, size) for name in classes[::every]]
    longest = max(width_of(name, size) for name in names)
    upright = longest > 0.9 * cell * every
    side, left, bottom = cell * len(classes), longest + 34, (longest if upright else size) + 34
    width, height = left + side + 76, bottom + side + 26
    figure = new_figure(width / INCH, height / INCH)
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    bar = figure.add_axes(((left + side + 12) / width, bottom / height, 9 / width, side / height))
    ticks = range(0, len(classes), every)
    axes.set_xticks(ticks, names, rotation=90 if upright else 0, fontsize=size, **PLAIN)
    axes.set_yticks(ticks, names, fontsize=size, **PLAIN)
    return figure, axes, bar


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: Floats, cell: float) -> None:
    size = min(11.0, 0.8 * cell / width_of(str(counts.max()), 1))
    if size < 5:
        return
    for row, column in np.argwhere(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        text = axes.text(column, row, str(counts[row, column]), color=color, fontsize=size)
        text.set(ha="center", va="center_baseline")
