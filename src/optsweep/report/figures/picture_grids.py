"""Pictures of a run's data, and of what the model takes it for.

Each function is given numpy arrays and returns a `Figure`, as those of `run.py`.
"""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from optsweep.report.figures.drawing import (
    INCH,
    PLAIN,
    fitted,
    legible,
    new_figure,
    width_of,
)

Images = NDArray[np.uint8]
Labels = NDArray[np.integer[Any]]

UNKNOWN = -1  # the true class of a picture that has no name
_WRONG, _RIGHT = "#D55E00", "0.45"
_SIDE, _GAP = 1.05, 0.1  # a picture and the space beside it, in inches
_LINE = 11  # points from one line of a caption to the next


def sample_grid(
    images: Images, labels: Labels, classes: Sequence[str], *, count: int = 24, peak: int = 255
) -> Figure:
    """The first `count` images, each under the name of its class.

    Args:
        images: uint8 `[N, C, H, W]`; three channels are red, green and blue, of any other
            number the first is shown in grey.
        labels: integers `[N]`, indices into `classes`.
        peak: the value that is white.
    """
    names = legible(classes)
    figure, cells = _grid(images[:count], peak, lines=1)
    for axes, label in zip(cells, class_indices(labels[:count], classes), strict=True):
        _caption(axes, names[label])
    return figure


def prediction_grid(
    images: Images,
    true: Labels,
    predicted: Labels,
    classes: Sequence[str],
    *,
    count: int = 24,
    peak: int = 255,
) -> Figure:
    """The first `count` images as they come, each under its true class and the predicted one.

    A wrong prediction has a cross and a frame, a right one a tick. An image whose true class is
    unknown stands under the predicted one alone.

    Args:
        images, peak: as for `sample_grid`.
        true, predicted: integers `[N]`, indices into `classes`; a true one may be `UNKNOWN`.
    """
    guessed, given = class_indices(predicted[:count], classes), np.asarray(true[:count])
    known = given != UNKNOWN
    expected = class_indices(np.where(known, given, guessed), classes)
    wrong, names = expected != guessed, legible(classes)
    heading = f"true class above, predicted below: {wrong.sum()} of these {known.sum()} wrong"
    is_bare = len(known) > 0 and not known.any()
    heading, lines = ("predicted class", 1) if is_bare else (heading, 2)
    figure, cells = _grid(images[:count], peak, lines=lines, heading=heading)
    for place, axes in enumerate(cells):
        mark, color = ("✗ ", _WRONG) if wrong[place] else ("✓ ", _RIGHT)
        if known[place]:
            _caption(axes, names[expected[place]], line=1)
        else:
            mark, color = "", "black"
        _caption(axes, names[guessed[place]], mark=mark, color=color)
        if wrong[place]:
            axes.spines[:].set(color=_WRONG, linewidth=3)
    return figure


def class_indices(labels: Labels, classes: Sequence[str]) -> NDArray[np.int64]:
    """The labels, integers `[N]`, as indices into `classes`.

    Raises:
        ValueError: a label is not the number of a class.
    """
    indices = np.asarray(labels, dtype=np.int64)
    strangers = indices[(indices < 0) | (indices >= len(classes))]
    if strangers.size:
        raise ValueError(f"label {strangers[0]}: there are {len(classes)} classes, from 0 on")
    return indices


def _grid(images: Images, peak: int, *, lines: int, heading: str = "") -> tuple[Figure, list[Axes]]:
    """A figure of all images, each with space for a caption of so many lines above it."""
    rows = max(1, ceil(len(images) / 8))
    columns = max(1, ceil(len(images) / rows))
    tall = _SIDE * float(np.clip(images.shape[2] / images.shape[3], 0.25, 4))
    row = tall + 0.15 + lines * _LINE / INCH
    top = 0.3 if heading else 0
    width = max(columns * (_SIDE + _GAP) + _GAP, 4.6 if heading else 0)
    height = rows * row + top + _GAP
    figure = new_figure(width, height)
    figure.text(_GAP / width, 1 - 0.2 / height, heading, fontsize=10)
    cells = []
    for place, image in enumerate(images):
        left = _GAP + place % columns * (_SIDE + _GAP)
        bottom = height - top - (place // columns + 1) * row
        axes = figure.add_axes((left / width, bottom / height, _SIDE / width, tall / height))
        pixels = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
        axes.imshow(np.clip(pixels / peak, 0, 1), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set(color="0.8", linewidth=0.5)
        cells.append(axes)
    return figure, cells


def _caption(axes: Axes, name: str, *, line: int = 0, mark: str = "", color: str = "black") -> None:
    """Writes a name above a picture, `line` lines up."""
    text = mark + fitted(name, _SIDE * INCH - width_of(mark, 8), 8)
    offset = (0, 4 + line * _LINE)
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(text, (0.5, 1), offset, ha="center", fontsize=8, color=color, **place, **PLAIN)
