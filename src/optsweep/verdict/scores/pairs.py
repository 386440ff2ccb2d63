"""Two candidates at the seeds that both have, and what a decision about them hangs on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from optsweep.verdict.scores.answer import Networks
from optsweep.verdict.scores.choice import Entrant, Scale
from optsweep.verdict.scores.rows import Row
from optsweep.verdict.scores.significance import (
    Mean,
    over_seeds,
    over_seeds_and_samples,
    two_networks,
)

FAILED = ("failed", "pruned")


@dataclass(frozen=True)
class Pair:
    """Two candidates before their family is decided.

    `means` are what a decision needs, all of them: with lost runs counted, and, where runs failed,
    without these too, as a failure may say nothing about a candidate. None: it cannot be computed.
    """

    first: Entrant
    second: Entrant
    seeds: Sequence[str]
    difference: float | None
    means: Sequence[Mean | None]
    these: Mean | None
    sound: Mean | None
    networks: Networks | None

    @property
    def is_fair(self) -> bool:
        """Whether what judges chose neither of the two."""
        return self.first.is_fair and self.second.is_fair

    def p_differs(self) -> float:
        """The p value of no difference."""
        return max(1.0 if mean is None else mean.p_differs() for mean in self.means)

    def p_equivalent(self, margin: float) -> float:
        """The p value of a difference of `margin` or more."""
        return max(1.0 if mean is None else mean.p_equivalent(margin) for mean in self.means)

    @property
    def weakest(self) -> Mean | None:
        """The mean on which the decision hangs."""
        known = [mean for mean in self.means if mean is not None]
        if len(known) < len(self.means):
            return None
        return max(known, key=Mean.p_differs)


def pair_of(first: Entrant, second: Entrant, scale: Scale) -> Pair:
    """The differences of two candidates at shared seeds, the better one first."""
    shared = [seed for seed in first.judged if seed in second.judged]
    runs = [(first.judged[seed], second.judged[seed]) for seed in shared]
    networks = None
    if len(runs) == 1 and has_samples(chain(*runs)):
        networks = Networks(*two_networks(_by_sample(runs, scale)[0]))
    differences = _by_seed(runs, scale)
    if differences.sum() < 0:
        return pair_of(second, first, scale)
    means = [mean_of(runs, scale)]
    unfailed = [pair for pair in runs if not any(row.status in FAILED for row in pair)]
    if len(unfailed) < len(runs):
        kept = mean_of(unfailed, scale)
        means.append(kept if kept and kept.mean >= 0 else None)
    sound = [pair for pair in runs if all(row.score is not None for row in pair)]
    return Pair(
        first=first,
        second=second,
        seeds=shared,
        difference=float(differences.mean()) if runs else None,
        means=means,
        these=over_seeds(differences) if len(runs) > 1 else None,
        sound=mean_of(sound, scale) if len(sound) < len(runs) else None,
        networks=networks,
    )


def mean_of(runs: Sequence[tuple[Row, Row]], scale: Scale) -> Mean | None:
    """The mean difference over seeds, and over samples where these are known; None for one seed."""
    if len(runs) < 2:
        return None
    if has_samples(chain(*runs)):
        return over_seeds_and_samples(_by_sample(runs, scale))
    return over_seeds(_by_seed(runs, scale))


def _by_seed(runs: Sequence[tuple[Row, Row]], scale: Scale) -> NDArray[np.float64]:
    return np.array([scale.score(ours) - scale.score(theirs) for ours, theirs in runs])


def has_samples(rows: Iterable[Row]) -> bool:
    """Whether it is known of each finished run which test samples it had right."""
    finished = [row for row in rows if row.score is not None]
    sizes = {None if row.correct is None else len(row.correct) for row in finished}
    return len(sizes) == 1 and None not in sizes


def _by_sample(runs: Sequence[tuple[Row, Row]], scale: Scale) -> NDArray[np.float32]:
    """The differences [S, N] in being right."""
    ours, theirs = zip(*runs, strict=True)
    both = right([*ours, *theirs], scale)
    return both[: len(runs)] - both[len(runs) :]


def right(rows: Sequence[Row], scale: Scale) -> NDArray[np.float32]:
    """How right each run was at each test sample, [S, N]; a lost run counts as chance at all."""
    size = max(len(row.correct) for row in rows if row.correct is not None)
    lost = np.full(size, scale.lost_score, np.float32)
    return np.array(
        [
            lost if row.correct is None or row.score is None else row.correct.astype(np.float32)
            for row in rows
        ]
    )
