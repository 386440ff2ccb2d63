"""Which configuration stands for each candidate, and which others may be the best as well.

`entrants` is given one workload's rows. What chose among several configurations never judges: the
runs that judge are those of the phase `confirm`, or all where there was nothing to choose.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from optsweep.verdict.scores.intervals import LEVEL, NO_SPREAD
from optsweep.verdict.scores.rows import Row, RowError

_CELLS = 1_000_000  # differences that are held in memory at once


@dataclass(frozen=True)
class Scale:
    """How scores count: the `sign` makes higher better, and lost runs have a score too."""

    sign: float
    lost_score: float
    lost_choice: float
    is_share: bool  # of test samples, within [0, 1]

    def score(self, row: Row) -> float:
        """The score that judges."""
        return self.sign * (self.lost_score if row.score is None else row.score)

    def choice(self, row: Row) -> float:
        """The score that chooses."""
        given = row.score if row.chosen_by is None else row.chosen_by
        return self.sign * (self.lost_choice if row.score is None or given is None else given)


@dataclass(frozen=True)
class Runs:
    """A configuration's runs by seed."""

    label: str
    tune: dict[str, Row] = field(default_factory=dict)
    confirm: dict[str, Row] = field(default_factory=dict)

    @property
    def all(self) -> list[Row]:
        """Every run, of either phase."""
        return [*self.tune.values(), *self.confirm.values()]

    @property
    def is_pruned(self) -> bool:
        """Whether a search ended one of the runs early: it has no score to compare."""
        return any(row.status == "pruned" for row in self.all)

    @property
    def is_lost(self) -> bool:
        """Whether no run finished."""
        return all(row.score is None for row in self.all)


@dataclass(frozen=True)
class Entrant:
    """A candidate: its configurations, the chosen one, and the runs that judge it, by seed.

    `is_fair` says that what judges did not choose. `not_excluded` are the configurations that may
    be the best, the chosen one first.
    """

    name: str
    configurations: Sequence[Runs]
    chosen: Runs | None
    chosen_by: float | None
    judged: Mapping[str, Row]
    is_fair: bool
    not_excluded: Sequence[str]

    @property
    def confirmed(self) -> Mapping[str, Row]:
        """The runs that confirm the chosen configuration, by seed."""
        return self.chosen.confirm if self.chosen else {}


def scale_of(rows: Sequence[Row], higher: bool, lost: float | None) -> Scale:
    """How the rows of a workload count; `lost` is the worst finished score where it is None."""
    scores = [row.score for row in rows if row.score is not None]
    choices = [
        row.score if row.chosen_by is None else row.chosen_by
        for row in rows
        if row.score is not None
    ]
    worst = min if higher else max
    return Scale(
        sign=1.0 if higher else -1.0,
        lost_score=worst(scores, default=0.0) if lost is None else lost,
        lost_choice=worst(choices, default=0.0) if lost is None else lost,
        is_share=higher and all(0 <= score <= 1 for score in scores),
    )


def entrants(rows: Iterable[tuple[int, Row]], scale: Scale) -> list[Entrant]:
    """The candidates in the order of the rows, which come with their numbers.

    Raises:
        RowError: a run is given twice, or is to confirm at a seed that has chosen.
    """
    found: dict[str, dict[str, Runs]] = {}
    numbered = list(rows)
    for index, row in numbered:
        runs = found.setdefault(row.candidate, {})
        own = runs.setdefault(row.configuration, Runs(row.configuration))
        phase = own.tune if row.phase == "tune" else own.confirm
        if row.seed in phase:
            raise RowError(index, "seed", f"{_named(row)} has seed {row.seed} twice")
        phase[row.seed] = row
    _check_fresh(numbered, found)
    return [_entrant(name, list(runs.values()), scale) for name, runs in found.items()]


def _named(row: Row) -> str:
    return f"{row.candidate} {row.configuration}".strip()


def _check_fresh(rows: Iterable[tuple[int, Row]], found: Mapping[str, Mapping[str, Runs]]) -> None:
    tuned = {
        name: {seed for each in runs.values() for seed in each.tune}
        for name, runs in found.items()
        if len(runs) > 1
    }
    for index, row in rows:
        if row.phase == "confirm" and row.seed in tuned.get(row.candidate, ()):
            raise RowError(
                index,
                "seed",
                f"seed {row.seed} of {row.candidate} was used to tune; runs that confirm need "
                "other seeds",
            )


def _entrant(name: str, configurations: Sequence[Runs], scale: Scale) -> Entrant:
    """A candidate with its choice, which is among the configurations that were confirmed, if any.

    Where only runs that confirm are there, they choose too.
    """
    has_tuned = any(each.tune for each in configurations)
    chance = [each for each in configurations if not each.is_pruned and not each.is_lost]
    tuned = {
        each.label: {seed: scale.choice(row) for seed, row in own.items()}
        for each in chance
        if (own := each.tune if has_tuned else each.confirm)
    }
    able = not_excluded(tuned)
    means = {label: float(np.mean(list(tuned[label].values()))) for label in tuned}
    confirmed = [each for each in chance if each.confirm]
    several = len(configurations) > 1
    pool = confirmed or chance
    pool = [each for each in pool if each.label in able] or pool
    chosen = max(pool, key=lambda each: means.get(each.label, -np.inf), default=None)
    is_fair = not several or (has_tuned and bool(confirmed))
    judged: dict[str, Row] = {}
    if chosen:
        judged = chosen.confirm if several and confirmed else chosen.tune | chosen.confirm
    by = means.get(chosen.label) if chosen else None
    first = [chosen.label] if chosen and chosen.label in able else []
    others = sorted(
        (label for label in able if label not in first), key=lambda label: -means[label]
    )
    return Entrant(
        name=name,
        configurations=configurations,
        chosen=chosen,
        chosen_by=None if by is None else scale.sign * by,
        judged=judged,
        is_fair=is_fair,
        not_excluded=[*first, *others],
    )


def not_excluded(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The configurations that may be the best, by scores by seed; higher is better.

    One is excluded where another is better by a one-sided paired t test at 0.05 / (K - 1): so the
    best of K is kept with 95 % (comparison with the best: Edwards and Hsu, Journal of the American
    Statistical Association, 1983, here with Bonferroni's bound in place of equal variances).
    """
    if len(scores) < 2:
        return list(scores)
    seeds = list(dict.fromkeys(seed for own in scores.values() for seed in own))
    values = np.array([[own.get(seed, np.nan) for seed in seeds] for own in scores.values()])
    most = max(1, _CELLS // values.size)
    best = np.concatenate(
        [
            _may_be_best(values, values[start : start + most])
            for start in range(0, len(values), most)
        ]
    )
    return [label for label, is_able in zip(scores, best, strict=True) if is_able]


def _may_be_best(values: NDArray[np.float64], some: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of `some` [M, S] none of `values` [K, S] is better than; missing scores are NaN."""
    ahead = values[None] - some[:, None]
    is_there = ~np.isnan(ahead)
    count = is_there.sum(2)
    ahead = np.where(is_there, ahead, 0.0)
    mean = ahead.sum(2) / np.maximum(count, 1)
    squares = np.where(is_there, (ahead - mean[..., None]) ** 2, 0.0).sum(2)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    testable = (count > 1) & (deviation > NO_SPREAD)
    t = np.sqrt(count) * mean / np.where(testable, deviation, 1.0)
    p = special.stdtr(np.maximum(count - 1, 1), -t)
    is_worse = testable & (p < (1 - LEVEL) / (len(values) - 1))
    return np.asarray(~is_worse.any(1))
