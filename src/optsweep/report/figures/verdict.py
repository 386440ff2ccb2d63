"""A workload's answer as one picture: each candidate's score, and what lies between them.

Left, the candidates' judged accuracies with their intervals and a point for each seed; right, the
differences of every pair with theirs, between the lines of the margin that matters. Colour marks
what is decided: an interval leaves zero out where the corrected test decides, but what chose a
configuration decides nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from optsweep.records.run import SweepRecord
from optsweep.records.values import label, points
from optsweep.report.figures.drawing import INCH, PLAIN, fitted, new_figure, width_of
from optsweep.report.figures.style import PALETTE, quieten, split_words, write_title
from optsweep.report.figures.ticks import AccuracyLocator
from optsweep.verdict.scores.answer import Candidate, Comparison, Workload
from optsweep.verdict.sweep_sentences import at
from optsweep.verdict.verdict import Verdict, WorkloadDetails

_SCORES = (
    "each candidate's {} on the data that judges, at its chosen configuration: mean and "
    "95 % interval over seeds. Small points are single seeds."
)
_DIFFERENCES = (
    " Right: differences paired by seed, with intervals that hold for all pairs together; blue "
    "where one beats the other, green where they are equivalent, grey where that is open. Dotted "
    "lines are the margin within which a difference does not matter."
)

_BLUE, _GREEN, _GREY = PALETTE[0], PALETTE[2], "0.55"
_MOST_ROWS = 20
_ROW, _ABOVE, _BELOW = 0.27, 0.6, 0.55  # inches
_WIDTH, _NAMES = 11.0, 165  # inches, and points for a name


def has_picture(workload: Workload) -> bool:
    """Whether there is anything to be seen: two candidates, or two seeds."""
    scored = [each.score for each in workload.candidates if each.score]
    return len(scored) > 1 or any(each.seeds > 1 for each in scored)


def caption(workload: Workload, what: str = "accuracy") -> tuple[str, str]:
    """The picture's title, and what there is to see in it; `what` is what scores are called."""
    scores = _SCORES.format(what)
    if any(each.low is not None for each in workload.comparisons):
        return "Scores and differences", f"Left: {scores}{_DIFFERENCES}"
    return "Scores", f"{scores[0].upper()}{scores[1:]}"


def picture(
    verdict: Verdict, workload: Workload, details: WorkloadDetails, sweep: SweepRecord
) -> Figure:
    """A workload of a sweep: its accuracies on the data that judges."""
    metric = f"{details.judged_on}/accuracy"
    seeds = {
        each.name: _scores(details.candidate(each.name).run_ids, metric, sweep)
        for each in workload.candidates
    }
    title = f"Accuracy on {split_words([details.judged_on])} data, by candidate"
    return drawn(workload, verdict.answer.margin, seeds, title)


def drawn(
    workload: Workload,
    margin: float,
    seeds: Mapping[str, Sequence[float]],
    title: str,
    what: str = "accuracy",
) -> Figure:
    """The scores and, where there are several seeds, the differences; twenty of each at most.

    `seeds` are each candidate's scores at single seeds, `what` says what scores are called. They
    are shares of 1, whose differences are in points, or numbers of any unit.
    """
    standings = [each for each in workload.candidates if each.score][:_MOST_ROWS]
    pairs = [each for each in workload.comparisons if each.low is not None][:_MOST_ROWS]
    rows = max(len(standings), len(pairs))
    height = _ABOVE + _ROW * rows + _BELOW
    figure = new_figure(_WIDTH, height)
    names = [fitted(at(each.name, each.chosen), _NAMES, 9) for each in standings]
    left = max(width_of(name, 9) for name in names) / INCH + 0.35
    versus = [fitted(f"{each.first} - {each.second}", _NAMES, 9) for each in pairs]
    beside = max((width_of(name, 9) for name in versus), default=0.0) / INCH + 0.3
    space = _WIDTH - left - 0.75 - (beside + 1.0 if pairs else 0.0)
    wide = space * (0.5 if pairs else 1.0)
    tall = _ROW * rows
    write_title(figure, title)

    def panel(from_left: float, labels: Sequence[str]) -> Axes:
        place = (from_left / _WIDTH, _BELOW / height, wide / _WIDTH, tall / height)
        axes = figure.add_axes(place)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), labels, fontsize=9, **PLAIN)
        axes.tick_params(labelsize=9, color="0.7")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        quieten(axes)
        return axes

    axes = panel(left, names)
    axes.set_xlabel(fitted(what, _NAMES, 9), fontsize=9, **PLAIN)
    if workload.is_share:
        axes.xaxis.set_major_locator(AccuracyLocator(nbins=5))
    for row, each in enumerate(standings):
        _draw_score(axes, row, each, seeds.get(each.name, ()), workload.is_share)
    if pairs:
        unit = 100 if workload.is_share else 1
        axes = panel(left + wide + 0.75 + beside, versus)
        axes.set_xlabel("difference in points" if workload.is_share else "difference", fontsize=9)
        axes.axvline(0, color="0.4", linewidth=1)
        for end in (-margin, margin):
            axes.axvline(unit * end, color="0.6", linewidth=1, linestyle=":")
        for row, pair in enumerate(pairs):
            _draw_difference(axes, row, pair, unit)
    return figure


def _scores(run_ids: Sequence[str], metric: str, sweep: SweepRecord) -> list[float]:
    own = [run for run in sweep.runs if run.run_id in run_ids and run.sound]
    return [run.metrics[metric] for run in own if metric in run.metrics]


def _draw_score(
    axes: Axes, row: int, standing: Candidate, seeds: Sequence[float], is_share: bool
) -> None:
    assert standing.score is not None
    if len(seeds) > 1:
        axes.scatter(seeds, [row] * len(seeds), 14, _BLUE, alpha=0.35, linewidths=0)
    if standing.score.low is not None and standing.score.high is not None:
        axes.plot([standing.score.low, standing.score.high], [row, row], color=_BLUE, linewidth=2)
    axes.scatter([standing.score.mean], [row], 40, _BLUE, zorder=3)
    mean = standing.score.mean
    _beside(axes, row, f"{mean:.4f}" if is_share else label(mean, 4))


def _draw_difference(axes: Axes, row: int, pair: Comparison, unit: int) -> None:
    assert pair.low is not None and pair.high is not None and pair.difference is not None
    decided = {"beats": _BLUE, "beats_within_margin": _BLUE, "equivalent": _GREEN}
    colour = decided.get(pair.outcome, _GREY)
    axes.plot([unit * pair.low, unit * pair.high], [row, row], color=colour, linewidth=2)
    axes.scatter([unit * pair.difference], [row], 40, colour, zorder=3)
    _beside(axes, row, label(pair.difference, 3) if unit == 1 else points(pair.difference))


def _beside(axes: Axes, row: int, text: str) -> None:
    style: dict[str, Any] = {"fontsize": 8, "va": "center_baseline", "color": "0.3"}
    axes.text(1.015, row, text, transform=axes.get_yaxis_transform(), **style)
