"""What all pictures have in common: how large they are, and text that fits into them.

Class names and swept values are a person's own: of any length and script, with signs that mean
something elsewhere. They are measured here, shortened and drawn as they are.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
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
UNWRITTEN = " (#n: the class with the number n, from 0; no font has its name)"
DRAWABLE = 1e30  # larger values are as good as infinite, and overflow an axis

# matplotlib brings DejaVu, which lacks Chinese, Japanese and Korean among others. The families of
# installed fonts that have what is to be written are added as it is met.
_FONTS = ["DejaVu Sans"]
_NO_LETTERS = ("Last Resort", ".LastResort", "Adobe Blank")  # fonts that draw every sign as a box
# Class names are a user's folder names: a `$` in them is no formula.
PLAIN: dict[str, Any] = {"parse_math": False, "fontfamily": _FONTS}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, which can be written without a display."""
    figure = Figure((width, height), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def width_of(text: str, size: float) -> float:
    """How wide the text is at that size, both in points."""
    font = FontProperties(family=list(_FONTS), size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0]


def fitted(name: str, width: float, size: float) -> str:
    """The name on one line, no wider than `width` points; its middle gives way to an ellipsis.

    Folder names often differ at their ends only. A sign that no font has becomes a square.
    """
    line = unicodedata.normalize("NFC", " ".join(name.split()))
    text = "".join(sign if _is_drawable(sign) else "□" for sign in line)
    if width_of(text, size) <= width:
        return text
    cuts = [text[: (n + 1) // 2] + "…" + text[len(text) - n // 2 :] for n in range(len(text))]
    return cuts[max(0, bisect_right(cuts, width, key=lambda cut: width_of(cut, size)) - 1)]


def legible(names: Sequence[str]) -> list[str]:
    """The names, and in place of those of which no font has a letter or digit their number: `#3`.

    They are counted from 0, as classes are.
    """
    letters = [[sign for sign in unicodedata.normalize("NFC", n) if sign.isalnum()] for n in names]
    return [
        name if not own or any(map(_is_drawable, own)) else f"#{number}"
        for number, (name, own) in enumerate(zip(names, letters, strict=True))
    ]


@cache
def _is_drawable(sign: str) -> bool:
    """Whether a font has a shape for the sign; one that was not used so far is used from now on."""
    if any(_has(findfont(family), sign) for family in _FONTS):
        return True
    if unicodedata.category(sign)[0] in "CZ":  # a control sign, a surrogate, no letter
        return False
    for font in fontManager.ttflist:  # half a millisecond each, once for a sign
        if font.style == "normal" and not font.name.startswith(_NO_LETTERS):
            with suppress(OSError, RuntimeError):  # a font that was removed, or is broken
                if _has(font.fname, sign) and _has(findfont(font.name), sign):
                    _FONTS.append(font.name)
                    return True
    return False


def _has(path: str, sign: str) -> bool:
    return get_font([path]).get_char_index(ord(sign)) != 0


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
