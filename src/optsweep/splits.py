"""Which samples train and which are held out: fixed choices that no seed changes.

A `Split` is images with their labels. Every choice depends on the labels alone, so that two runs
that differ in their seed are judged on the same samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """uint8 images `[N, C, H, W]` with int64 labels `[N]`."""

    images: Tensor
    labels: Tensor

    def choose(self, indices: Tensor) -> "Split":
        """The samples at `indices`, int64 `[M]`, copied."""
        return Split(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Split":
        """The same samples on `device`."""
        return Split(self.images.to(device), self.labels.to(device))


def hold_out(split: Split, fraction: float) -> tuple[Split, Split]:
    """The rest, and a stratified `fraction` of the samples: at least one of each."""
    count = len(split.labels)
    chosen = stratified(split.labels, min(max(1, round(fraction * count)), count - 1))
    kept = torch.ones(count, dtype=torch.bool)
    kept[chosen] = False
    return split.choose(kept.nonzero().squeeze(1)), split.choose(chosen)


def stratified(labels: Tensor, count: int) -> Tensor:
    """Sorted indices int64 `[count]` of a fixed choice that keeps the classes' proportions.

    Each class gets its exact share rounded down; what is left goes to the largest remainders
    (Hamilton's method), so that small counts work where scikit-learn's splitter raises. The
    choice within a class is by numpy's `RandomState(0)`, whose stream numpy keeps frozen.
    """
    values, sizes = np.unique(labels.numpy(), return_counts=True)
    quotas = allot(count, sizes.tolist())
    random = np.random.RandomState(0)
    chosen = [
        random.permutation(np.flatnonzero(labels.numpy() == value))[:quota]
        for value, quota in zip(values, quotas, strict=True)
    ]
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def allot(count: int, sizes: Sequence[int]) -> list[int]:
    """Shares `count` out over groups in proportion to their sizes, by largest remainder.

    Ties go to the earlier group. No group gets more than its size, as `count` is no more than
    their sum.
    """
    total = sum(sizes)
    quotas = [count * size // total for size in sizes]
    remainders = [count * size % total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda group: -remainders[group])
    for group in by_remainder[: count - sum(quotas)]:
        quotas[group] += 1
    return quotas
