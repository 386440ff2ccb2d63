"""Which learning rates may be the best, as bars at the foot of the picture of their accuracies."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from matplotlib.axes import Axes

from optsweep.records.values import label

_TALL = 0.03  # of the axes' height, for each bar and the space below it


def draw_best_rates(
    axes: Axes,
    lines: Sequence[tuple[str, str, Sequence[float]]],
    not_excluded: Mapping[str, Sequence[str]],
) -> None:
    """A bar for each line, of a colour, a name and rates, over those of its rates that may be best.

    The accuracies are moved up, so that none lies behind a bar.
    """
    shown = [line for line in lines if not_excluded.get(line[1])]
    low, high = axes.get_ylim()
    axes.set_ylim(low - (high - low) * _TALL * (len(shown) + 2 * bool(shown)), high)
    for place, (colour, name, rates) in enumerate(shown):
        foot = _TALL * (place + 0.7)
        height = [foot if label(rate) in not_excluded[name] else nan for rate in rates]
        across = axes.get_xaxis_transform()
        axes.plot(rates, height, color=colour, linewidth=2.5, alpha=0.5, transform=across)
        axes.scatter(rates, height, 22, colour, marker="s", linewidths=0, transform=across)
    if shown:
        style: dict[str, Any] = {
            "fontsize": 7,
            "va": "center",
            "color": "0.35",
            "transform": axes.transAxes,
        }
        axes.text(0.005, _TALL * (len(shown) + 0.7), "may be the best", **style)
