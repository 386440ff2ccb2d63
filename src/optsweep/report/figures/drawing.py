"""What all pictures have in common: how large they are, and text that fits into them.

Class names and swept values are a person's own: of any length and script, with signs that mean
something elsewhere. They are measured here, shortened and drawn as they are.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray

Floats = NDArray[np.float64]

INCH = 72  # points
DRAWABLE = 1e30  # larger values are as good as infinite, and overflow an axis

# matplotlib brings DejaVu, which lacks Chinese, Japanese and Korean: the system may have them.
_ASIAN = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans GB", "Microsoft YaHei")
_FONTS = ["DejaVu Sans", *(name for name in _ASIAN if name in fontManager.get_font_names())]
# Class names are a user's folder names: a `$` in them is no formula.
PLAIN: dict[str, Any] = {"parse_math": False, "fontfamily": _FONTS}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, which can be written without a display."""
    figure = Figure((width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def width_of(text: str, size: float) -> float:
    """How wide the text is at that size, both in points."""
    font = FontProperties(family=_FONTS, size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0]


def fitted(name: str, width: float, size: float) -> str:
    """The name on one line, no wider than `width` points; its middle gives way to an ellipsis.

    Folder names often differ at their ends only. A sign that no font has becomes a square.
    """
    line = unicodedata.normalize("NFC", " ".join(name.split()))
    text = "".join(sign if ord(sign) in _drawable() else "□" for sign in line)
    if width_of(text, size) <= width:
        return text
    cuts = [text[: (n + 1) // 2] + "…" + text[len(text) - n // 2 :] for n in range(len(text))]
    return cuts[max(0, bisect_right(cuts, width, key=lambda cut: width_of(cut, size)) - 1)]


@cache
def _drawable() -> frozenset[int]:
    """Every code point that one of the fonts has a shape for."""
    charmaps = (get_font([findfont(name)]).get_charmap() for name in _FONTS)
    return frozenset(code for charmap in charmaps for code in charmap)


def space_apart(wanted: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1] at least `gap` apart, nearest (in squares) to `wanted`, which ascends.

    Isotonic regression by its min-max formula (Robertson, Wright and Dykstra, 1988).
    """
    loose = [place - gap * rank for rank, place in enumerate(wanted)]
    ends = range(1, len(loose) + 1)
    pooled = [
        max(min(fmean(loose[start:end]) for end in ends[rank:]) for start in range(rank + 1))
        for rank in range(len(loose))
    ]
    last = max(0.0, 1 - gap * (len(loose) - 1))
    return [min(max(place, 0), last) + gap * rank for rank, place in enumerate(pooled)]
