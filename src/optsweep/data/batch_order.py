"""The order of an epoch's samples, from a run's seed and the epoch alone."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def batch_order(seeds: Sequence[int], epoch: int, count: int, shuffle: bool) -> Tensor:
    """The order of an epoch's samples: int64 `[N]` where all runs share it, else `[K, N]`.

    It depends on a run's seed and the epoch alone, so that runs which differ in their optimizer
    see the same batches, and a resumed run sees those that it would have seen.
    """
    if not shuffle:
        return torch.arange(count)
    drawing = {seed: torch.Generator().manual_seed(epoch_seed(seed, epoch)) for seed in seeds}
    orders = {seed: torch.randperm(count, generator=each) for seed, each in drawing.items()}
    if len(orders) == 1:
        return orders[seeds[0]]
    return torch.stack([orders[seed] for seed in seeds])


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed of 63 bits for one epoch of one run; neighbouring seeds and epochs share nothing."""
    hashed = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") >> 1
