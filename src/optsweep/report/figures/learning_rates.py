"""How a sweep's accuracy depends on the learning rate, optimizer by optimizer, as one picture.

A point is a run, a line the mean over seeds, a band reaches from the lowest seed to the highest;
which rates diverged is said in a strip below. A search, whose rates are all different, has points
and no lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan, nan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from optsweep.records.grouping import Configuration, optimizer_of
from optsweep.records.run import SweepRecord
from optsweep.records.values import is_number, label
from optsweep.report.figures.best_rates import draw_best_rates
from optsweep.report.figures.drawing import INCH, PLAIN, fitted, new_figure, space_apart, width_of
from optsweep.report.figures.style import (
    DIVERGED,
    MANY,
    MOST_LINES,
    line_styles,
    lines_key,
    quieten,
    split_words,
    write_title,
)
from optsweep.report.figures.ticks import AccuracyLocator
from optsweep.verdict.ranking import ranked_configurations, ranking_splits

_WIDTH, _LEFT, _PLOT, _TALL, _LANE, _STRIP_TO_PLOT = 11.0, 0.75, 7.7, 3.1, 0.16, 0.12  # inches


@dataclass(frozen=True)
class _Line:
    """One optimizer's configurations by learning rate, and the style that marks them."""

    name: str
    configurations: Mapping[float, Sequence[Configuration]]
    colour: str = "black"
    dash: str = "-"

    def best(self, rate: float) -> float:
        """The best configuration's mean accuracy at a learning rate; NaN where none is sound."""
        means = [accuracy(configuration) for configuration in self.configurations[rate]]
        return max((mean for mean in means if not isnan(mean)), default=nan)

    @property
    def peak(self) -> tuple[float, float]:
        """The best mean accuracy, and the learning rate that gives it."""
        return max(
            ((self.best(rate), rate) for rate in self.configurations), key=lambda at: _low(at[0])
        )

    @property
    def diverged(self) -> dict[float, tuple[int, int]]:
        """How many runs diverged at each learning rate where any did, and of how many."""
        counts = {
            rate: (
                sum(s.diverged for s in configurations),
                sum(len(s.runs) for s in configurations),
            )
            for rate, configurations in self.configurations.items()
        }
        return {rate: count for rate, count in counts.items() if count[0]}


def _low(value: float) -> float:
    return -1.0 if isnan(value) else value


def accuracy(configuration: Configuration) -> float:
    """The mean accuracy that the configuration is ranked by; NaN where no run is sound."""
    mean = configuration.mean(f"{configuration.split}/accuracy")
    return nan if mean is None else mean


def learning_rates(
    sweep: SweepRecord, not_excluded: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """Accuracy over the learning rate: a line for each optimizer, a point for each run.

    Where more was swept, a line follows the best of it at each rate. In the strip below, a cross
    marks a rate at which runs diverged. Of more than fourteen lines the best are drawn. Of a search
    the points are drawn alone, hollow where a run was pruned. `not_excluded` are the rates of each
    line that may be the best, as they are typed: they get a bar below.
    """
    configurations = [
        configuration
        for configuration in ranked_configurations(sweep.runs, sweep.confirm_seeds)
        if is_number(configuration.swept.get("lr"))
    ]
    lines = _lines(sweep, configurations)
    lanes = [line for line in lines if line.diverged]
    strip = _LANE * len(lanes) + _STRIP_TO_PLOT * bool(lanes)
    height = 0.65 + _TALL + strip + 0.55
    figure = new_figure(_WIDTH, height)
    write_title(figure, _heading(sweep, lines, configurations))
    bottom = (0.55 + strip) / height
    axes = figure.add_axes((_LEFT / _WIDTH, bottom, _PLOT / _WIDTH, _TALL / height))
    draw = _scatter if sweep.search else _draw
    for line in lines:
        draw(axes, line)
    _scale(axes, [configuration.swept["lr"] for configuration in configurations])
    if any(not isnan(line.peak[0]) for line in lines):
        axes.yaxis.set_major_locator(AccuracyLocator(nbins=6))
    else:
        axes.set_yticks([])
        style: dict[str, Any] = {"ha": "center", "color": "0.35", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no run finished without diverging", **style)
    rates = [(line.colour, line.name, list(line.configurations)) for line in lines]
    draw_best_rates(axes, rates, not_excluded or {})
    axes.tick_params(labelsize=9, color="0.7", which="both")
    axes.set_ylabel("accuracy", fontsize=9)
    axes.set_xlabel("learning rate", fontsize=9)
    quieten(axes)
    _name_lines(axes, lines, at_peak=bool(sweep.search))
    if lanes:
        _draw_strip(figure, axes, lanes)
    return figure


def _lines(sweep: SweepRecord, configurations: Sequence[Configuration]) -> list[_Line]:
    """A line for each optimizer, or where it is not swept for each choice of what else is."""
    found: dict[str, dict[float, list[Configuration]]] = {}
    key = lines_key(sweep)
    for configuration in configurations:
        by_rate = found.setdefault(_name(configuration, key), {})
        by_rate.setdefault(configuration.swept["lr"], []).append(configuration)
    lines = [_Line(name, dict(sorted(by_rate.items()))) for name, by_rate in found.items()]
    best = sorted(lines, key=lambda line: -_low(line.peak[0]))[:MOST_LINES]
    styles = line_styles(line.name for line in best)
    rates = {line.name: line.configurations for line in best}
    return [_Line(name, rates[name], *style) for name, style in styles.items()]


def _name(configuration: Configuration, key: str) -> str:
    if key == "optimizer":
        return optimizer_of(configuration.runs[0])
    return label(configuration.swept.get(key), 4)


def _heading(
    sweep: SweepRecord, lines: Sequence[_Line], configurations: Sequence[Configuration]
) -> str:
    words = f"Accuracy ({split_words(ranking_splits(configurations))}) over the learning rate"
    every = {_name(configuration, lines_key(sweep)) for configuration in configurations}
    if len(lines) < len(every):
        words += f", the best {len(lines)} of {len(every)} {lines_key(sweep)}"
    elif lines_key(sweep) != "optimizer":
        words += f", a line for each {lines_key(sweep)}"
    if sweep.search:
        return f"{words}: the runs of a search"
    if "seed" in sweep.grid:
        words += ", mean over seeds"
    if any(len(each) > 1 for line in lines for each in line.configurations.values()):
        others = [key for key in sweep.grid if key not in ("lr", "seed", lines_key(sweep))]
        words += f", the best of {', '.join(others)}"
    return words


def _scale(axes: Axes, rates: Sequence[float]) -> None:
    low, high = min(rates, default=1), max(rates, default=1)
    if low <= 0:
        return
    axes.set_xscale("log")
    space = max((high / low) ** 0.04, 1.1)
    axes.set_xlim(low / space, high * space)
    few = sorted(set(rates))
    if len(few) <= 8 and all(b / a > 1.9 for a, b in pairwise(few)):
        axes.set_xticks(few, [label(rate, 3) for rate in few])
    else:
        axes.xaxis.set_major_locator(LogLocator(numticks=9))
        axes.xaxis.set_major_formatter(lambda rate, _: label(float(rate), 3))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw(axes: Axes, line: _Line) -> None:
    rates = list(line.configurations)
    means = [line.best(rate) for rate in rates]
    size = 5.5 if len(rates) <= 40 else 0
    axes.plot(
        rates, means, line.dash, marker="o", markersize=size, color=line.colour, linewidth=1.8
    )
    if len(rates) > 1 and (band := _band(line)):
        axes.fill_between(*band, color=line.colour, alpha=0.13, linewidth=0)
    several = {
        rate: each
        for rate, each in line.configurations.items()
        if len(each) > 1 or len(each[0].runs) > 1
    }
    if points := _points(several, "sound"):
        alpha = max(0.15, min(0.6, 20 / len(points)))
        x, y = zip(*points, strict=True)
        style: dict[str, Any] = {"color": line.colour, "linewidths": 0, "zorder": 1.5}
        many = len(points) > MANY
        axes.scatter(x, y, 14, alpha=alpha, rasterized=many, **style)


def _scatter(axes: Axes, line: _Line) -> None:
    """A point for each run at its last accuracy: full where it is sound, hollow where pruned."""
    for is_full in (False, True):
        if points := _points(line.configurations, "sound" if is_full else "pruned"):
            x, y = zip(*points, strict=True)
            full = line.colour if is_full else "none"
            style: dict[str, Any] = {"facecolors": full, "edgecolors": line.colour}
            size = 30 if len(line.configurations) <= 40 else 14
            axes.scatter(x, y, size, linewidths=1.1, rasterized=len(points) > MANY, **style)


def _points(
    configurations: Mapping[float, Sequence[Configuration]], kind: str
) -> list[tuple[float, float]]:
    """The rate and the last accuracy of each run of that kind."""
    return [
        (rate, run.metrics[f"{configuration.split}/accuracy"])
        for rate, each in configurations.items()
        for configuration in each
        for run in configuration.runs
        if getattr(run, kind) and f"{configuration.split}/accuracy" in run.metrics
    ]


def _band(line: _Line) -> tuple[list[float], list[float], list[float]] | None:
    """The rates, and the lowest and the highest seed of the best configuration at each.

    None where no configuration has several seeds.
    """
    found: list[tuple[float, float, float]] = []
    several = False
    for rate, configurations in line.configurations.items():
        best = max(configurations, key=lambda configuration: _low(accuracy(configuration)))
        values = best.values(f"{best.split}/accuracy")
        found.append((rate, min(values, default=nan), max(values, default=nan)))
        several = several or len(values) > 1
    rates, lows, highs = (list(each) for each in zip(*found, strict=True))
    return (rates, lows, highs) if several else None


def _name_lines(axes: Axes, lines: Sequence[_Line], at_peak: bool) -> None:
    """Names each line at the right, with its peak, a dotted line leading to its last point.

    Or to its peak, where there is no line.
    """
    to_axes = axes.transData - axes.transAxes
    ends = []
    for line in lines:
        sound = [
            (rate, line.best(rate)) for rate in line.configurations if not isnan(line.best(rate))
        ]
        if sound:
            end = line.peak[::-1] if at_peak else sound[-1]
            ends.append((1 - float(to_axes.transform(end)[1]), end, line))
    ends.sort(key=lambda end: end[0])
    places = space_apart([end[0] for end in ends], 13 / (_TALL * INCH))
    for place, (_, end, line) in zip(places, ends, strict=True):
        leader = {"arrowstyle": "-", "linestyle": ":", "linewidth": 0.8, "color": line.colour}
        leader |= {"relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 0}
        peak, rate = line.peak
        value = f"  {peak:.4f} at {label(rate, 3)}"
        space = (_WIDTH - _LEFT - _PLOT - 0.25) * INCH
        text = fitted(line.name, space - width_of(value, 9), 9) + value
        style: dict[str, Any] = {"va": "center", "fontsize": 9, "color": line.colour, **PLAIN}
        axes.annotate(text, end, (1.02, 1 - place), "data", "axes fraction", leader, **style)


def _draw_strip(figure: Figure, above: Axes, lanes: Sequence[_Line]) -> None:
    """A lane for each line that diverged, with crosses, and how many of several runs they are."""
    height = float(figure.get_size_inches()[1])
    tall = _LANE * len(lanes)
    place = (_LEFT / _WIDTH, 0.55 / height, _PLOT / _WIDTH, tall / height)
    axes = figure.add_axes(place, sharex=above)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    few = max(len(line.configurations) for line in lanes) <= 10
    for lane, line in enumerate(lanes):
        rates = list(line.diverged)
        style: dict[str, Any] = {"color": line.colour, "markersize": 6, "clip_on": False}
        axes.plot(rates, [lane] * len(rates), DIVERGED["marker"], **style)
        for rate, (count, of) in line.diverged.items():
            if few and of > 1:
                style = {"fontsize": 7, "va": "center_baseline", "color": "0.35"}
                words = f"{count} of {of}"
                axes.annotate(words, (rate, lane), (7, 0), "data", "offset points", **style)
    axes.set_yticks([(len(lanes) - 1) / 2], ["diverged"], fontsize=9)
    axes.tick_params(labelsize=9, color="0.7", which="both")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("learning rate", fontsize=9)
    axes.set_facecolor(DIVERGED["strip"])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("0.7")
    above.tick_params(labelbottom=False, which="both", bottom=False)
    above.set_xlabel("")
