"""Intervals of one quantity: a share of runs, a spread over seeds, a score within [0, 1]."""

from scipy import special

NO_SPREAD = 1e-12  # scores closer than this are the same
LEVEL = 0.95  # of every interval; comparisons are decided at 1 - LEVEL
MARGIN = 0.01  # a difference that matters in practice: a point of accuracy


def share_interval(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of a share of which `count` of `total` were seen.

    Clopper and Pearson (Biometrika, 1934).
    """
    tail = (1 - level) / 2
    low = special.betaincinv(count, total - count + 1, tail) if count else 0.0
    high = special.betaincinv(count + 1, total - count, 1 - tail) if count < total else 1.0
    return float(low), float(high)


def variance_interval(variance: float, df: float, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a variance that was estimated with `df` degrees of freedom.

    By the chi-squared distribution (Student, Biometrika, 1908).
    """
    tail = (1 - level) / 2
    low, high = special.chdtri(df, tail), special.chdtri(df, 1 - tail)
    return float(df * variance / low), float(df * variance / high)


def t_quantile(level: float, df: float) -> float:
    """How many standard errors Student's two-sided interval reaches (Student, 1908)."""
    return float(special.stdtrit(df, (1 + level) / 2))


def score_interval(mean: float, reach: float, is_share: bool) -> tuple[float, float] | None:
    """The interval of a mean score which chance may move by `reach` to either side.

    Of a share, as an accuracy is, it is computed on the scale of log odds, where the reach is that
    of the delta method, so that it stays within [0, 1] (as `logit` in Newcombe, Statistics in
    Medicine, 1998). None where there is no spread, or no odds.
    """
    if reach <= 0 or (is_share and not 0 < mean < 1):
        return None
    if not is_share:
        return mean - reach, mean + reach
    odds, reach = special.logit(mean), reach / (mean * (1 - mean))
    return float(special.expit(odds - reach)), float(special.expit(odds + reach))
