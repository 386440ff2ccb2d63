"""Many pairs decided together, so that one error among them all stays within the level."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """What Holm's procedure makes of one p value: it is rejected where `p` is below `level`.

    `adjusted` is the p value corrected for the whole family. An interval at 1 - `level` leaves
    out what is rejected, and nothing else.
    """

    rejected: bool
    adjusted: float
    level: float


def holm(p_values: Sequence[float], alpha: float) -> list[Step]:
    """The step-down procedure of Holm (Scandinavian Journal of Statistics, 1979).

    The smallest of m is tested at alpha / m, the next at alpha / (m - 1), until one is not
    rejected, whose level then holds for all that follow.
    """
    count, order = len(p_values), np.argsort(p_values, kind="stable")
    steps: dict[int, Step] = {}
    adjusted, level, rejecting = 0.0, alpha, True
    for place, index in enumerate(order.tolist()):
        adjusted = min(max(adjusted, (count - place) * p_values[index]), 1.0)
        if rejecting:
            level = alpha / (count - place)
            rejecting = p_values[index] < level
        steps[index] = Step(rejecting, adjusted, level)
    return [steps[index] for index in range(count)]
