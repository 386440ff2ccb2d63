"""A description over three workloads or more: how often each candidate is close to the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

FACTORS = (1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
_LEAST_WORKLOADS = 3


@dataclass(frozen=True)
class Profile:
    """The share of `workloads` in which a candidate needs at most so many times the best's cost.

    `cost` is "error" or "epochs to the target"; `shares` has one for each of `factors`. It
    describes these workloads, and tests nothing.
    """

    cost: str
    workloads: int
    factors: Sequence[float]
    shares: Mapping[str, Sequence[float]]


def profile(cost: str, costs: Sequence[Mapping[str, float | None]]) -> Profile | None:
    """The performance profile of the costs of each workload's candidates; None of fewer than three.

    Dolan and More, Mathematical Programming, 2002. One without a cost, which never reached the
    target or was not run, is within no factor.
    """
    names = list(dict.fromkeys(name for own in costs for name in own))
    if len(costs) < _LEAST_WORKLOADS or len(names) < 2:
        return None
    ratios = {name: [_ratio(own, name) for own in costs] for name in names}
    shares = {
        name: [sum(ratio <= factor + 1e-9 for ratio in own) / len(costs) for factor in FACTORS]
        for name, own in ratios.items()
    }
    return Profile(cost, len(costs), FACTORS, shares)


def _ratio(costs: Mapping[str, float | None], name: str) -> float:
    """How many times the workload's lowest cost a candidate's is."""
    cost, least = costs.get(name), min((c for c in costs.values() if c is not None), default=inf)
    if cost is None:
        return inf
    return cost / least if least > 0 else (1.0 if cost <= 0 else inf)
