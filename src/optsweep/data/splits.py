"""Which samples train and which are held out: fixed choices that no seed changes.

A `Split` is images with their labels. Every choice depends on the labels alone, so that two runs
that differ in their seed are judged on the same samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images with int64 labels `[N]`.

    `pool` holds the images, uint8 `[P, C, H, W]`: all that there are, or those at `rows`, int64
    `[N]`. So a part of what processes share in memory is not copied into each of them.
    """

    pool: Tensor
    labels: Tensor
    rows: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """uint8 `[N, C, H, W]`; copied, where they are not all that the pool holds."""
        return self.pool if self.rows is None else self.pool.index_select(0, self.rows)

    @property
    def every_row(self) -> Tensor:
        """Where each image is in the pool, int64 `[N]`."""
        return torch.arange(len(self.labels)) if self.rows is None else self.rows

    def pieces(self, size: int | None = None) -> Iterator[Tensor]:
        """The images, `size` at a time, or some 16 MB: never all of them are copied."""
        size = size or max(1, min(4096, 2**24 // max(1, self.pool[:1].numel())))
        if self.rows is None:
            yield from self.pool.split(size)
        else:
            yield from (self.pool.index_select(0, rows) for rows in self.rows.split(size))

    def take(self, indices: Tensor) -> Tensor:
        """The images at `indices`, int64 `[M]`, copied: uint8 `[M, C, H, W]`."""
        # index_select copies image by image, indexing pixel by pixel: 3 us for 64 images, not 33.
        rows = indices if self.rows is None else self.rows.index_select(0, indices)
        return self.pool.index_select(0, rows)

    def choose(self, indices: Tensor) -> "Split":
        """The samples at `indices`, int64 `[M]`, copied."""
        return Split(self.take(indices), self.labels[indices])

    def view(self, indices: Tensor) -> "Split":
        """The samples at `indices`, int64 `[M]`, whose images stay where they are."""
        rows = indices if self.rows is None else self.rows[indices]
        return Split(self.pool, self.labels[indices], rows)

    def to(self, device: torch.device) -> "Split":
        """The same samples on `device`; another one is given no images that are not theirs."""
        if device == self.pool.device:
            return self
        return Split(self.images.to(device), self.labels.to(device))


def hold_out(split: Split, fraction: float) -> tuple[Split, Split]:
    """The rest, and a stratified `fraction` of the samples: at least one of each."""
    count = len(split.labels)
    chosen = stratified(split.labels, min(max(1, round(fraction * count)), count - 1))
    kept = torch.ones(count, dtype=torch.bool)
    kept[chosen] = False
    return split.view(kept.nonzero().squeeze(1)), split.view(chosen)


def stratified(labels: Tensor, count: int) -> Tensor:
    """Sorted indices int64 `[count]` of a fixed choice that keeps the classes' proportions.

    Each class gets its exact share rounded down; the rest goes to the largest remainders
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
