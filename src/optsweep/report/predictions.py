"""What a model says of pictures: a table on the terminal, a CSV file and a picture.

Given `Predictions`, each function shows them, beside the true classes where these are known.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from optsweep.records.values import printable
from optsweep.report.figures.picture_grids import UNKNOWN, prediction_grid
from optsweep.report.figures.run import save
from optsweep.system import files

MOST_ROWS = 40  # that a terminal is shown
MOST_PICTURES = 24


@dataclass(frozen=True)
class Predictions:
    """The predicted class of each picture, how probable it is, and the true one where it is known.

    `true` and `predicted` are names of `classes`.
    """

    names: Sequence[str]
    predicted: Sequence[str]
    probabilities: Sequence[float]
    true: Sequence[str | None]
    classes: Sequence[str]

    @property
    def known(self) -> list[bool]:
        """Of each picture that has a true class, whether it was predicted."""
        pairs = zip(self.true, self.predicted, strict=True)
        return [expected == given for expected, given in pairs if expected is not None]

    @property
    def summary(self) -> str:
        """The accuracy on pictures whose class is known; else how many pictures there are."""
        count, right = len(self.names), self.known
        if not right:
            return f"{count:,} picture{'s' * (count != 1)}, whose true classes are not known"
        rest = count - len(right)
        how = "pictures have" if rest > 1 else "picture has"
        unknown = f"; {rest:,} {how} no known class" if rest else ""
        return f"accuracy {sum(right) / len(right):.4f} ({sum(right):,} of {len(right):,}){unknown}"


def table(found: Predictions) -> Table:
    """The first pictures with their predicted class, its probability, and the true class."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("picture", overflow="fold")
    shown.add_column("predicted", overflow="fold")
    shown.add_column("probability", justify="right")
    if found.known:
        shown.add_column("true", overflow="fold")
    for name, predicted, probability, true in _rows(found)[:MOST_ROWS]:
        cells = [Text(printable(name)), Text(printable(predicted)), Text(f"{probability:.4f}")]
        if found.known:
            is_wrong = true is not None and true != predicted
            cells.append(Text(printable(true or "-"), style="bold red" if is_wrong else ""))
        shown.add_row(*cells)
    return shown


def write_csv(found: Predictions, path: Path) -> None:
    """All predictions, a line for each picture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "predicted", "probability", "true"])
    writer.writerows(
        (name, predicted, f"{probability:.6g}", true or "")
        for name, predicted, probability, true in _rows(found)
    )
    files.write(path, text.getvalue(), durable=False)


def draw(found: Predictions, images: NDArray[np.uint8], peak: int, path: Path) -> None:
    """Draws the first pictures under their true and their predicted classes into a PNG file.

    `images` are uint8 `[M, C, H, W]`, of which `peak` is white: the first of the predictions'.
    """
    number = {name: index for index, name in enumerate(found.classes)}
    true = [UNKNOWN if name is None else number[name] for name in found.true[: len(images)]]
    predicted = [number[name] for name in found.predicted[: len(images)]]
    grid = prediction_grid(
        images, np.array(true), np.array(predicted), found.classes, count=MOST_PICTURES, peak=peak
    )
    save(grid, path)


def _rows(found: Predictions) -> list[tuple[Any, ...]]:
    return list(zip(found.names, found.predicted, found.probabilities, found.true, strict=True))
