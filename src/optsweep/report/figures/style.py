"""What the pictures of a sweep share: words, titles, frames, and colours for swept values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import SPLIT_NAMES, ascending, label, printable
from optsweep.report.figures.drawing import INCH, PLAIN, fitted, width_of

MANY = 300  # lines or points beyond which a vector picture holds them as pixels

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color), which colour-blind readers can
# distinguish.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

MOST_LINES = 2 * len(PALETTE)  # that differ in colour or dash

# What diverged is drawn as: a cross in the colour of its line, on a grey strip; a grey cell.
DIVERGED = {"marker": "x", "strip": "0.97", "cell": "0.93"}

_MAP, _ONE_COLOUR = matplotlib.colormaps["viridis"], "#3b528b"


def split_words(splits: Iterable[str]) -> str:
    """The splits that runs are ranked by, in words; more than one where sweeps were merged."""
    return " or ".join(SPLIT_NAMES[split] for split in splits)


def title(key: str) -> str:
    """How a swept value is called on an axis."""
    return "learning rate" if key == "lr" else printable(key)


def write_title(figure: Figure, text: str) -> None:
    """The picture's title, cut to its width."""
    width, height = figure.get_size_inches()
    style: dict[str, Any] = {"va": "center_baseline", "fontsize": 12, **PLAIN}
    figure.text(0.2 / width, 1 - 0.3 / height, fitted(text, (width - 0.4) * INCH, 12), **style)


def quieten(axes: Axes) -> None:
    """A light grid behind the data, and a frame of two sides."""
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("0.7")


def lines_key(sweep: SweepRecord) -> str:
    """What lines stand for: optimizers, or where only something else is swept, that."""
    others = [key for key in sweep.grid if key not in ("lr", "seed")]
    return "optimizer" if "optimizer" in others or not others else others[0]


def line_styles(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Each name's colour and dash, by name, so that a sweep that is continued keeps them."""
    styles = [(colour, dash) for dash in ("-", "--") for colour in PALETTE]
    return dict(zip(sorted(names), styles, strict=False))


def shades(choices: Sequence[Any]) -> list[str]:
    """A shade for each of the choices, in their order.

    Evenly, lest one wild rate leave all others alike; neither too light for a line on white nor,
    inverted, too dark for one on black.
    """
    return [to_hex(_MAP(place)) for place in np.linspace(0.77, 0.05, len(choices))]


@dataclass(frozen=True)
class Hue:
    """Which swept value the colours stand for, and the colour of each of its choices."""

    key: str
    choices: Sequence[Any]
    colours: Mapping[str, str]

    @classmethod
    def of(cls, sweep: SweepRecord) -> "Hue":
        """The learning rate where it is swept, else the first value but optimizer and seed."""
        keys = [key for key in sweep.grid if key not in ("optimizer", "seed")]
        if not keys:
            return cls("", (), {})
        key = "lr" if "lr" in keys else keys[0]
        choices = ascending(sweep.grid[key])
        return cls(key, choices, dict(zip(map(label, choices), shades(choices), strict=True)))

    def line(self, run: RunRecord) -> str:
        """The run's colour."""
        return self.colours.get(label(run.swept.get(self.key)), _ONE_COLOUR)

    def text(self, run: RunRecord) -> str:
        """The run's colour, darker, to be read on white."""
        red, green, blue = to_rgb(self.line(run))
        return to_hex((0.7 * red, 0.7 * green, 0.7 * blue))


def write_key(figure: Figure, hue: Hue) -> None:
    """What the colours say, in a line below the title."""
    width, height = figure.get_size_inches()
    x, entries = 0.2, _key(hue)
    space = (width - 2.2) * INCH / max(len(entries) - 1, 1) - 0.46 * INCH
    for text, colour in entries:
        if colour:
            corner = (x / width, 1 - 0.63 / height)
            figure.add_artist(Rectangle(corner, 0.2 / width, 0.07 / height, color=colour))
            x += 0.26
        shown = fitted(text, space if colour else 1.5 * INCH, 9)
        style: dict[str, Any] = {"va": "center_baseline", "color": "0.25", **PLAIN}
        figure.text(x / width, 1 - 0.6 / height, shown, fontsize=9, **style)
        x += width_of(shown, 9) / INCH + 0.2


def _key(hue: Hue) -> list[tuple[str, str]]:
    """What the colours stand for, then each choice with its colour; of more than eight some."""
    if not hue.key:
        return []
    last, most = len(hue.choices) - 1, min(len(hue.choices), 8)
    few = [hue.choices[round(place * last / max(most - 1, 1))] for place in range(most)]
    named_choices = [(label(choice, 3), hue.colours[label(choice)]) for choice in few]
    return [(title(hue.key), ""), *named_choices]
