"""What a search draws from: intervals of numbers, and choices.

A dimension knows its values as texts, as they are typed after the equals sign. `evenly_spread`
gives the points that a search begins with, evenly over the whole space; `every` a discrete space's
all.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from optsweep.errors import SettingsError
from optsweep.records.search_intervals import is_wide
from optsweep.records.values import is_number

BEGINNING = 8  # trials that are spread evenly, a power of two, before anything is concluded
_DIGITS = 4  # of a number that is drawn: it can be read in a table and typed again


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, whole where both ends are; `log`: searched by ratios.

    `key` is as typed, with its plus signs.
    """

    key: str
    low: float
    high: float
    log: bool

    @property
    def whole(self) -> bool:
        """Whether only integers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def text(self, value: float) -> str:
        """A number of the interval as it is typed, to four digits."""
        if self.whole:
            return str(round(value))
        return repr(min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high))

    def at(self, share: float) -> float:
        """The number at a share, 0 to 1, of the way from the low end to the high one."""
        if self.log:
            return float(math.exp(_between(math.log(self.low), math.log(self.high), share)))
        return _between(self.low, self.high, share)

    @property
    def probes(self) -> Sequence[str]:
        """The texts that are tried before a search begins."""
        return self.text(self.low), self.text(self.high)

    def __str__(self) -> str:
        inner = f"interval({self.low:g},{self.high:g})"
        inner = f"int({inner})" if self.whole else inner
        scale = "log" if self.log else "linear"
        return inner if self.log == is_wide(self.low, self.high) else f"tag({scale},{inner})"


@dataclass(frozen=True)
class Choice:
    """One of several values; `key` and `values` are as typed.

    `step` is the distance of integers from a range, which have an order.
    """

    key: str
    values: tuple[str, ...]
    step: int | None = None

    @property
    def probes(self) -> Sequence[str]:
        """The texts that are tried before a search begins."""
        return self.values

    def at(self, share: float) -> str:
        """The value at a share, 0 to 1, of the way through them."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def __str__(self) -> str:
        return ",".join(self.values)


Dimension = Interval | Choice


def interval(given: str, key: str, low: float, high: float, tags: Sequence[str]) -> Interval:
    """An interval, checked; `given` is how it was typed.

    It is searched by ratios where it is positive and spans more than a decade, unless the tag
    `linear` says otherwise, and where the tag `log` asks for it.

    Raises:
        SettingsError: it holds no two numbers, or ratios are asked for where they do not exist.
    """
    if not (is_number(low) and is_number(high)):
        raise SettingsError(f"{given}: both ends must be finite; type {key}=interval(1e-5,1)")
    if low == high:
        raise SettingsError(f"{given}: its ends are one number; type {key}={low:g}")
    if low > high:
        raise SettingsError(
            f"{given}: the low end comes first; type {key}=interval({high:g},{low:g})"
        )
    if "log" in tags and low <= 0:
        raise SettingsError(
            f"{given}: only what is above 0 has ratios; type {key}=interval({low:g},{high:g})"
        )
    log = "log" in tags or ("linear" not in tags and is_wide(low, high))
    return Interval(key, low, high, log)


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def probes(space: Sequence[Dimension]) -> list[dict[str, str]]:
    """Points that hold every choice and every end of the space at least once."""
    first = {dimension.key: dimension.probes[0] for dimension in space}
    others = [{**first, each.key: value} for each in space for value in each.probes[1:]]
    return [first, *others]


def typed(point: Mapping[str, str]) -> list[str]:
    """A point as overrides."""
    return [f"{key}={value}" for key, value in point.items()]


def size(space: Sequence[Dimension]) -> int | None:
    """How many points a space has; None where it holds an interval."""
    counts = [len(each.values) for each in space if isinstance(each, Choice)]
    return math.prod(counts) if len(counts) == len(space) else None


def every(space: Sequence[Dimension]) -> Iterator[dict[str, str]]:
    """All points of a space of choices, the last dimension's values changing first."""
    choices = [each for each in space if isinstance(each, Choice)]
    for values in itertools.product(*(each.values for each in choices)):
        yield {each.key: value for each, value in zip(choices, values, strict=True)}


def evenly_spread(space: Sequence[Dimension], seed: int) -> list[dict[str, float | str]]:
    """The points that a search begins with, by a scrambled Sobol sequence (Owen, 1998)."""
    from scipy.stats import qmc

    shares = qmc.Sobol(len(space), rng=seed).random_base2(int(math.log2(BEGINNING)))
    return [
        {each.key: each.at(float(share)) for each, share in zip(space, row, strict=True)}
        for row in shares
    ]
