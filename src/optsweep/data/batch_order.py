"""The order of an epoch's samples, and how each is seen, from a run's seed and the epoch alone."""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor


def batch_order(
    seeds: Sequence[int], epoch: int, count: int, shuffle: bool, views: int = 1
) -> Tensor:
    """The order of an epoch's samples: int64 `[N]` where all runs share it, else `[K, N]`.

    It depends on a run's seed and the epoch alone, so that runs which differ in their optimizer
    see the same batches, and a resumed run sees those that it would have seen. Where a sample has
    several `views`, one is drawn for each, from random numbers of its own; what is returned is
    then the number of the sample times `views`, plus that of the view (`augmentation.py`).
    """
    order = torch.arange(count)
    if shuffle:
        order = _of_each(seeds, epoch, "", lambda drawn: torch.randperm(count, generator=drawn))
    if views == 1:
        return order
    return order * views + _of_each(
        seeds, epoch, "views", lambda drawn: torch.randint(views, (count,), generator=drawn)
    )


def batches_of(count: int, size: int, *, joined: bool) -> list[slice]:
    """An epoch's samples, by their places in its order, in batches of `size`.

    The last one has the rest. A single sample is `joined` to the batch before it where a model
    has batch normalisation, which one sample gives no variance.
    """
    starts = list(range(0, count, size))
    if joined and count % size == 1 and 1 < size < count:
        starts.pop()
    return [slice(at, end) for at, end in zip(starts, [*starts[1:], count], strict=True)]


def is_sorted(labels: Tensor) -> bool:
    """Whether samples, by their labels `[N]`, come class by class: neighbours share theirs.

    The class changes less than a fifth as often as it would in a random order.
    """
    shares = labels.bincount() / len(labels)
    changes = int((labels[1:] != labels[:-1]).sum())
    return 5 * changes < (len(labels) - 1) * (1 - float(shares.square().sum()))


def _of_each(
    seeds: Sequence[int], epoch: int, purpose: str, draw: Callable[[Generator], Tensor]
) -> Tensor:
    """What is drawn for each run, `[K, N]`; `[N]` where all have one seed."""
    drawing = {seed: Generator().manual_seed(epoch_seed(seed, epoch, purpose)) for seed in seeds}
    drawn = {seed: draw(each) for seed, each in drawing.items()}
    return drawn[seeds[0]] if len(drawn) == 1 else torch.stack([drawn[seed] for seed in seeds])


def epoch_seed(seed: int, epoch: int, purpose: str = "") -> int:
    """A seed of 63 bits for one epoch of one run; neighbouring seeds and epochs share nothing.

    Nor do the purposes that random numbers are drawn for.
    """
    hashed = hashlib.sha256(f"{seed} {epoch} {purpose}".rstrip().encode()).digest()
    return int.from_bytes(hashed[:8], "big") >> 1
