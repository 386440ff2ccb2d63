"""Awkward names, and where a drawn text lies."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import BboxBase

AWKWARD = [
    "n01440764_tench_Tinca_tinca_a_folder_with_a_long_name_1",
    "n01440764_tench_Tinca_tinca_a_folder_with_a_long_name_2",
    r"$\frac{1$ and \$ and $x_1$",
    "two\nlines\tand\rmore",
    "naïve café ☕",
    "犬と猫 🙂",
    "a\x00b\udcff",
    "W" * 255,
    "العربية",
    " ",
]


def box(text: Text) -> BboxBase:
    return Text.get_window_extent(text)  # an annotation's own has its arrow in it


def refuse_crossing(figure: Figure, texts: list[Text]) -> None:
    """No two of the texts overlap, and none leaves the figure, by more than a pixel."""
    boxes = np.array([box(text).extents for text in texts])
    low, high = boxes[:, :2] + 1, boxes[:, 2:] - 1
    outside = (low < 0).any(axis=1) | (high > figure.bbox.max).any(axis=1)
    assert not outside.any(), [texts[i].get_text() for i in np.flatnonzero(outside)]
    crossing = ((low[:, None] < high[None]) & (low[None] < high[:, None])).all(axis=2)
    pairs = np.argwhere(np.triu(crossing, 1))
    assert not len(pairs), [(texts[a].get_text(), texts[b].get_text()) for a, b in pairs]
