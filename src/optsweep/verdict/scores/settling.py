"""How many fresh seeds, and how many test samples, would settle a difference of the margin."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from optsweep.verdict.scores.intervals import variance_interval
from optsweep.verdict.scores.significance import Mean

POWER = 0.8  # with which equal candidates would be found equivalent
MOST_SEEDS = 1000  # beyond which no number of seeds is named
_HALVINGS = 40
_NODES = 200  # of the estimated spread, over which a power is averaged


def seeds_to_settle(mean: Mean, margin: float, alpha: float) -> tuple[int | None, int | None]:
    """The fewest and the most seeds that it may take, None for more than 1,000.

    That many would find two equal candidates equivalent within `margin` with a power of 0.8. It is
    a range, as the spread over seeds is known only within its 95 % interval. The spread over test
    samples counts in full at any number.
    """
    variances = variance_interval(mean.seed_variance, mean.seeds - 1)
    low, high = (_fewest(variance, mean.floor, margin, alpha) for variance in variances)
    return low, high


def samples_to_settle(mean: Mean, margin: float, alpha: float) -> int | None:
    """The test samples of which no seeds could do without; None where seeds can settle it.

    So many that their spread takes half of the variance which a power of 0.8 allows; the other
    half is for the seeds.
    """
    allowed = (margin / _reach(alpha)) ** 2
    if mean.floor < allowed or margin <= 0:
        return None
    return math.ceil(2 * mean.sample_variance / allowed)


def _fewest(seed_variance: float, floor: float, margin: float, alpha: float) -> int | None:
    """The fewest seeds that suffice for a variance over seeds, and one that seeds leave."""
    seeds = np.arange(2, MOST_SEEDS + 1)
    enough = margin >= _ratios(alpha) * np.sqrt(seed_variance + seeds * floor)
    return int(seeds[enough.argmax()]) if enough.any() else None


def _reach(alpha: float) -> float:
    """How many standard errors the margin is to be, where these are known."""
    return float(special.ndtri(1 - alpha) + special.ndtri((1 + POWER) / 2))


@lru_cache(maxsize=256)
def _ratios(alpha: float) -> NDArray[np.float64]:
    """The margin over the spread at which 2, 3, ... 1,000 seeds have the power.

    Found by halving for some numbers of seeds; between them the ratio times the root of the number
    hardly changes.
    """
    some = np.unique(np.geomspace(2, MOST_SEEDS, 120).round())
    low, high = np.zeros(len(some)), np.full(len(some), 1 / alpha)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = equivalence_power(middle, some, alpha) >= POWER
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    seeds = np.arange(2, MOST_SEEDS + 1)
    return np.asarray(np.interp(seeds, some, high * np.sqrt(some)) / np.sqrt(seeds))


def equivalence_power(
    ratio: NDArray[np.float64], seeds: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """The power of two one-sided t tests between equals, for margin over spread and seeds [R].

    It is the probability of the means that are found equivalent, averaged over the distribution
    of the estimated spread (Phillips, Journal of Pharmacokinetics and Biopharmaceutics, 1990).
    """
    df = (seeds - 1)[:, None]
    reach = special.stdtrit(df, 1 - alpha) * _estimated_spreads(tuple(seeds.tolist()))
    within = ratio[:, None] * np.sqrt(seeds)[:, None] - reach
    return np.asarray(np.clip(2 * special.ndtr(within) - 1, 0, None).mean(1))


@lru_cache(maxsize=4)
def _estimated_spreads(seeds: tuple[float, ...]) -> NDArray[np.float64]:
    """Evenly likely values of the estimated over the true spread, for each number of seeds."""
    df = np.array(seeds)[:, None] - 1
    shares = (np.arange(_NODES) + 0.5) / _NODES
    return np.asarray(np.sqrt(2 * special.gammaincinv(df / 2, shares) / df))
