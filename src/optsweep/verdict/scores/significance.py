"""The mean difference of two candidates at shared seeds, with how far chance may move it.

`over_seeds` takes one difference a seed, `over_seeds_and_samples` one a seed and test sample. Both
give a `Mean`, from which every test and interval is computed, so that none contradicts another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from optsweep.verdict.scores.intervals import NO_SPREAD, t_quantile


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, or over seeds and test samples.

    `variance` is that of the mean, with `df` degrees of freedom (Student's t). `seed_variance` is
    the variance between seeds, on the same test samples, with `seeds` - 1 degrees of freedom;
    `sample_variance` between samples, where each is averaged over many seeds, 0 where unknown.

    Every test and interval is the wider of two: that of `variance`, and Student's over the seeds.
    So nothing is surer about new test samples than about those that were used.
    """

    mean: float
    variance: float
    df: float
    seeds: int
    seed_variance: float
    samples: int | None = None
    sample_variance: float = 0.0

    @property
    def has_spread(self) -> bool:
        """Whether there is any spread to judge chance by."""
        return self.variance > NO_SPREAD**2

    @property
    def errors(self) -> Sequence[tuple[float, float]]:
        """The two variances of the mean that count, each with its degrees of freedom."""
        return (self.variance, self.df), (self.seed_variance / self.seeds, self.seeds - 1)

    @property
    def floor(self) -> float:
        """The variance of the mean that any number of seeds leaves."""
        return self.sample_variance / self.samples if self.samples else 0.0

    def p_differs(self) -> float:
        """The two-sided p value of no difference (Student's t test); 1 without any spread."""
        if not self.has_spread:
            return 1.0
        return 2 * self._tail(abs(self.mean))

    def p_equivalent(self, margin: float) -> float:
        """The p value of a difference of `margin` or more; 1 without any spread.

        Two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics, 1987).
        """
        if not self.has_spread:
            return 1.0
        return self._tail(margin - abs(self.mean))

    def _tail(self, distance: float) -> float:
        """The larger probability of an error beyond `distance` on one side."""
        return max(
            float(special.stdtr(df, -distance / math.sqrt(variance)))
            for variance, df in self.errors
            if variance > 0
        )

    def interval(self, level: float) -> tuple[float, float] | None:
        """The interval, which leaves out 0 where `p_differs` is below 1 - level."""
        if not self.has_spread:
            return None
        reach = self.reach(level)
        return self.mean - reach, self.mean + reach

    def reach(self, level: float) -> float:
        """How far chance may move the mean to either side."""
        return max(t_quantile(level, df) * math.sqrt(variance) for variance, df in self.errors)


def over_seeds(values: NDArray[np.float64]) -> Mean:
    """The mean of at least two values [S], one a seed: Student's (Biometrika, 1908)."""
    seeds = len(values)
    spread = float(values.var(ddof=1))
    return Mean(float(values.mean()), spread / seeds, seeds - 1, seeds, spread)


def over_seeds_and_samples(values: NDArray[Any]) -> Mean:
    """The mean of `values` [S, N], S seeds of at least two by N test samples.

    A two-way layout of random effects without replication. The variance of the mean is
    (MS_seed + MS_sample - MS_rest) / (S N), and no less than either mean square alone gives
    (Cornfield and Tukey, Annals of Mathematical Statistics, 1956). Its degrees of freedom are
    Satterthwaite's (Biometrics Bulletin, 1946), and no fewer than S - 1.
    """
    seeds, samples = values.shape
    mean = float(values.mean())
    by_seed = float(samples * np.square(values.mean(1) - mean).sum())
    by_sample = float(seeds * np.square(values.mean(0) - mean).sum())
    total = float(np.square(values, dtype=np.float64).sum()) - values.size * mean**2
    rest = max(total - by_seed - by_sample, 0.0)
    squares = by_seed / (seeds - 1), by_sample / (samples - 1)
    noise = rest / ((seeds - 1) * (samples - 1))
    both = squares[0] + squares[1] - noise
    largest = max(both, *squares)
    if largest == squares[0] or largest <= 0:
        df = float(seeds - 1)
    elif largest == squares[1]:
        df = float(samples - 1)
    else:
        parts = squares[0] ** 2 / (seeds - 1), squares[1] ** 2 / (samples - 1)
        df = both**2 / (sum(parts) + noise**2 / ((seeds - 1) * (samples - 1)))
    return Mean(
        mean,
        largest / values.size,
        max(df, seeds - 1),
        seeds,
        squares[0] / samples,
        samples,
        max(squares[1] - noise, 0.0) / seeds,
    )


def two_networks(differences: NDArray[Any]) -> tuple[int, int, float]:
    """Two networks on one test set, by their `differences` [N] of 1, 0 and -1.

    Returns how many samples the first alone has right, how many the second alone, and the p value
    of McNemar's exact test (Psychometrika, 1947), which speaks of these two networks only.
    """
    first, second = int((differences > 0.5).sum()), int((differences < -0.5).sum())
    p = 2 * float(special.bdtr(min(first, second), first + second, 0.5)) if first + second else 1.0
    return first, second, min(p, 1.0)
