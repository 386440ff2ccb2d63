"""Awkward names, and where a drawn text lies."""

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
