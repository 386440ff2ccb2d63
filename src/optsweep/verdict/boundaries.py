"""Whether a grid was wide enough: best values on its edge, and the steps that would extend it.

`boundaries` is given a candidate and flags each swept number whose best value has no neighbour on
one side. `next_steps` gives the values by which a sweep extends itself (`extend=N`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isclose, isfinite, log10
from typing import Literal

from optsweep.records.grouping import Configuration, optimizer_of
from optsweep.records.search_intervals import drawn_with, read_interval
from optsweep.records.values import is_number, label
from optsweep.verdict.candidates import Candidate, neighbours

# Numbers that a sweep may vary and nobody searches the best of: what changes no result, and
# budgets, of which more is dearer and, as a rule, better.
_NOT_SEARCHED = ("seed", "threads", "log_every", "checkpoint_every", "epochs", "patience")
# Numbers that are shares, and have to stay below 1.
_SHARES = (
    *("val_fraction", "momentum", "dampening", "alpha", "rho", "beta1", "beta2"),
    *("dropout", "label_smoothing", "pct_start", "factor"),
)
_NEAR = 0.05  # of an interval's width (by ratios, of its decades), that counts as its end
_DIGITS = 10  # to which a step is rounded: 0.01 times 10.000000000000002 is 0.1


@dataclass(frozen=True)
class Boundary:
    """A best value with nothing tried beyond it.

    `side` is the side on which nothing was tried; `next` the value of the grid's own next step
    there, None where there is none; `values` what was tried with it, ascending; `override` these
    values as they are typed, empty where other candidates have other values. `searched` is the
    interval of a search near whose end it lies, and `override` then a wider one.
    """

    contender: str
    key: str
    value: float
    side: Literal["low", "high"]
    next: float | None
    values: Sequence[float]
    override: str
    searched: str = ""


@dataclass(frozen=True)
class NextStep:
    """A configuration that is to be tried: `base` with another value of `key`."""

    base: Configuration
    key: str
    value: float


def boundaries(candidate: Candidate, search: Mapping[str, str] | None = None) -> list[Boundary]:
    """The edges on which the candidate's best configuration lies.

    Only values at which a run finished, diverging or not, count as tried. Of a `search`, which
    maps what was searched to what it was drawn from, it is the ends of that which count.
    """
    best, found = candidate.best, list[Boundary]()
    for key, value in best.swept.items() if best else ():
        if best is None or not is_number(value) or not _is_searched(key):
            continue
        drawn = drawn_with((search or {}).get(key, ""), optimizer_of(best.runs[0]))
        if ends := read_interval(drawn):
            found += _near_end(candidate.name, key, value, drawn, ends)
            continue
        configurations = neighbours(best, candidate.configurations, key)
        tried = [each for each, configuration in configurations.items() if _is_tried(configuration)]
        tried = _choices(drawn) or tried
        if len(tried) < 2 or value not in (tried[0], tried[-1]):
            continue
        side: Literal["low", "high"] = "low" if value == tried[0] else "high"
        if value == 0:  # the end of what there is, as of a weight decay
            continue
        beyond = next_value(key, tried, side)
        values = sorted([*tried, *([] if beyond is None else [beyond])])
        override = f"{key}={','.join(label(each, _DIGITS) for each in values)}"
        found.append(Boundary(candidate.name, key, value, side, beyond, values, override))
    return found


def _near_end(
    candidate: str, key: str, value: float, drawn: str, ends: tuple[float, float, bool]
) -> list[Boundary]:
    """A best value within a twentieth of one end of an interval; a decade further is to be typed.

    By differences, further is the interval's own width. Nothing beyond 0 is advised, nor 1 of a
    share: an interval that ends there has no edge on that side.
    """
    low, high, log = ends
    first, at, last = map(log10, (low, value, high)) if log else (low, value, high)
    share = (at - first) / (last - first)
    if _NEAR <= share <= 1 - _NEAR:
        return []
    whole, width = "int(" in drawn, high - low
    if share < _NEAR:
        side: Literal["low", "high"] = "low"
        beyond = low / 10 if log or 0 < low <= width else low - width
        beyond = max(beyond, 1.0 if whole and low > 0 else 0.0) if low >= 0 else beyond
        wider = drawn.replace(f"({low:g},", f"({_end(beyond, whole)},")
    else:
        side, beyond = "high", high * 10 if log else high + width
        beyond = min(beyond, 0.0) if high <= 0 else beyond
        beyond = min(beyond, (1 + high) / 2) if _is_share(key, [high]) else beyond
        wider = drawn.replace(f",{high:g})", f",{_end(beyond, whole)})")
    if wider == drawn:
        return []
    return [Boundary(candidate, key, value, side, None, (), f"{key}={wider}", drawn)]


def _end(value: float, whole: bool) -> str:
    """The end of an interval, as it is typed."""
    return f"{round(value) if whole else value:g}"


def _choices(text: str) -> list[float]:
    """The numbers among which a search chose, ascending; none where they are no numbers."""
    try:
        return sorted(map(float, text.split(",")))
    except ValueError:
        return []


def next_steps(
    candidates: Sequence[Candidate], typed: Sequence[Candidate], most: int
) -> list[NextStep]:
    """The configurations that extend each candidate's grid by a step beyond a best on its edge.

    `typed` are the candidates with the configurations that they had before the grid was extended;
    `most` the steps beyond these on any side. The step is taken from the best configuration alone,
    not from all that lie on the edge. Empty once every best value is inside, cannot be extended, or
    has been extended `most` times.
    """
    before = {(each.workload, each.name): each.configurations for each in typed}
    steps = []
    for candidate in candidates:
        own = before.get((candidate.workload, candidate.name), ())
        for edge in boundaries(candidate):
            best = candidate.best
            if best is None or edge.next is None:
                continue
            # Of a union, the grid that the best is of.
            first = list(neighbours(best, own, edge.key)) or _numbers(own, edge.key)
            if not first:
                continue
            values = neighbours(best, candidate.configurations, edge.key)
            beyond = [
                value
                for value in values
                if (value > max(first) if edge.side == "high" else value < min(first))
            ]
            if len(beyond) < most and not any(isclose(edge.next, value) for value in values):
                steps.append(NextStep(best, edge.key, edge.next))
    return steps


def _numbers(configurations: Sequence[Configuration], key: str) -> list[float]:
    values = [each.swept.get(key) for each in configurations]
    return [value for value in values if value is not None and is_number(value)]


def next_value(key: str, values: Sequence[float], side: Literal["low", "high"]) -> float | None:
    """The value after the last on one side of ascending `values`, by the grid's own step.

    That is the ratio of the last two values; their difference where values are not all positive,
    or where three or more lie at equal distances. None where it would leave the key's range: whole
    numbers stay above 0, a grid on one side of 0 stays there, and shares stay below 1.
    """
    outer, inner = (values[-1], values[-2]) if side == "high" else (values[0], values[1])
    by_ratio = min(values) > 0 and (len(values) < 3 or not _is_even(values))
    given = outer * (outer / inner) if by_ratio else outer + (outer - inner)
    beyond: float = float(f"{given:.{_DIGITS}g}")
    if all(isinstance(value, int) for value in values):
        beyond = round(given)
    if not isfinite(beyond) or beyond == outer or (_is_share(key, values) and beyond >= 1):
        return None
    low, high = values[0], values[-1]
    if (low > 0 >= beyond) or (low >= 0 > beyond) or (high <= 0 < beyond):
        return None
    return beyond


def _is_searched(key: str) -> bool:
    """Whether there is a best of this number, and not only more and less."""
    return key not in _NOT_SEARCHED and not key.startswith("dataset.")


def _is_share(key: str, values: Sequence[float]) -> bool:
    """Whether these ascending values of `key` are shares of 1."""
    return key.rpartition(".")[2] in _SHARES and values[-1] < 1


def _is_even(values: Sequence[float]) -> bool:
    """Whether ascending values lie at equal distances."""
    distances = [second - first for first, second in pairwise(values)]
    return all(isclose(distance, distances[0], rel_tol=1e-6) for distance in distances)


def _is_tried(configuration: Configuration) -> bool:
    return any(run.status == "FINISHED" for run in configuration.runs)
