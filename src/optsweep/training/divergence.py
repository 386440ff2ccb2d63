"""When a run has diverged."""

from collections.abc import Mapping

import torch
from torch import Tensor


def diverged(metrics: Mapping[str, Tensor] | Mapping[str, float]) -> Tensor:
    """bool `[K]`, as the metrics' values are: whether a loss is NaN or infinite."""
    # One that is makes the sum so too.
    total = sum(value for name, value in metrics.items() if "/loss" in name)
    return ~torch.as_tensor(total, dtype=torch.float64).isfinite()
