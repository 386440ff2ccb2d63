"""Made-up pictures in the shape of a dataset, where the dataset itself is not on this disk."""

from pathlib import Path

import torch

from optsweep.data import Source, Split, make_source

# Of the datasets that presets name: their folder, an image's shape, training and test images.
_KNOWN = {
    "fashion_mnist": ("FashionMNIST", (1, 28, 28), (60_000, 10_000)),
    "cifar10": ("cifar-10-batches-py", (3, 32, 32), (50_000, 10_000)),
}


def made_up(
    *,
    data_dir: Path,
    like: str,
    counts: tuple[int, int] | None = None,
    mirror: str | None = None,
    train_on: str = "train",
) -> Source:
    """Random pixels and labels in the shape of the dataset `like`, as `_target_` of its option.

    Args:
        data_dir: where datasets lie, which these need not.
        like: a name in `_KNOWN`.
        counts: training and test images; None: as many as the dataset has.
        mirror: the option's; nothing is downloaded.
        train_on: "test" trains on the test images, as one of the tutorials does.
    """
    _, shape, usual = _KNOWN[like]
    random = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, *shape), generator=random, dtype=torch.uint8)
        return Split(images, torch.randint(0, 10, (count,), generator=random))

    train, test = (split(count) for count in counts or usual)
    return make_source(test if train_on == "test" else train, test, [str(n) for n in range(10)])


def instead_of(dataset: str, counts: tuple[int, int] | None = None) -> list[str]:
    """Overrides that put made-up pictures in the place of a dataset."""
    sizes = [f"+dataset.counts=[{counts[0]},{counts[1]}]"] if counts else []
    return ["dataset._target_=benchmarks.pictures.made_up", f"+dataset.like={dataset}", *sizes]


def is_missing(dataset: str, data_dir: Path) -> bool:
    """Whether a dataset's files would have to be downloaded."""
    return dataset in _KNOWN and not (data_dir / _KNOWN[dataset][0]).is_dir()
