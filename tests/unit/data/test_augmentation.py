"""Views of pictures: those that torchvision makes, one drawn for each, the same for a seed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from optsweep.data.augmentation import PADDING, VIEWS, check_augment, seen
from optsweep.data.batch_order import batch_order
from optsweep.data.dataset import Dataset, read_dataset
from optsweep.data.splits import Split
from optsweep.errors import SettingsError
from support.config import composed

MOVED = 2 * PADDING + 1


def random_pictures(count: int, *shape: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *shape), generator=random, dtype=torch.uint8)


def by_torchvision(image: Tensor, view: int, augment: str) -> Tensor:
    """One picture's view, by torchvision's own transforms."""
    place, is_mirrored = divmod(view, 2)
    image = transforms.horizontal_flip(image) if is_mirrored else image
    if augment == "crop_flip":
        padded = transforms.pad(image, [PADDING])
        image = transforms.crop(padded, *divmod(place, MOVED), *image.shape[1:])
    return image


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["flip", "crop_flip"]),
    st.tuples(st.integers(1, 3), st.integers(2, 20), st.integers(2, 20)),
    st.lists(st.integers(0, VIEWS["crop_flip"] - 1), min_size=1, max_size=6),
)
def test_views_are_those_that_torchvision_makes(
    augment: str, shape: tuple[int, int, int], drawn: list[int]
) -> None:
    views = torch.tensor(drawn) % VIEWS[augment]
    images = random_pictures(len(drawn), *shape)
    expected = [by_torchvision(*each, augment) for each in zip(images, views.tolist(), strict=True)]
    assert torch.equal(seen(images, views, augment), torch.stack(expected))


def test_every_picture_has_a_draw_of_its_own_and_all_views_are_as_likely() -> None:
    count = 162 * 200
    views = batch_order([0], 1, count, False, VIEWS["crop_flip"]) - torch.arange(count) * 162
    often = torch.bincount(views, minlength=162)
    assert len(often) == 162 and often.min() > 140 and often.max() < 260
    assert (views[1:] == views[:-1]).float().mean() < 0.01


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 50), st.booleans())
def test_a_run_of_a_stack_sees_what_it_sees_alone(
    seeds: list[int], count: int, shuffle: bool
) -> None:
    together = batch_order(seeds, 2, count, shuffle, 162)
    alone = [batch_order([seed], 2, count, shuffle, 162) for seed in seeds]
    if len(set(seeds)) == 1:
        assert torch.equal(together, alone[0])
    else:
        assert torch.equal(together, torch.stack(alone))


def test_other_random_numbers_stay_as_they_are() -> None:
    before = torch.get_rng_state()
    assert torch.equal(batch_order([3], 7, 50, True, 162) // 162, batch_order([3], 7, 50, True))
    assert torch.equal(before, torch.get_rng_state())


def test_views_differ_between_epochs_and_seeds() -> None:
    drawn = [
        batch_order([seed], epoch, 50, False, 162) for seed in range(3) for epoch in range(1, 4)
    ]
    assert len({tuple(each.tolist()) for each in drawn}) == 9


def dataset(augment: str, images: Tensor) -> Dataset:
    split = Split(images, torch.arange(len(images)) % 2)
    return Dataset("made up", split, split, split, ("even", "odd"), 255, "0", augment=augment)


def test_a_batch_holds_the_views_of_its_samples_scaled() -> None:
    images = random_pictures(10, 3, 16, 16)
    data = dataset("crop_flip", images)
    chosen = torch.tensor([[7 * 162 + 161, 3 * 162], [0, 9 * 162 + 80]])
    inputs = data.inputs(chosen)
    assert inputs.shape == (2, 2, 3, 16, 16) and inputs.dtype == torch.float32
    assert torch.equal(inputs[0, 0], by_torchvision(images[7], 161, "crop_flip") / 255)
    assert torch.equal(inputs[1, 1], images[9] / 255)  # not moved: the middle of its places
    assert data.targets(chosen).tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("chosen", [[8], [3, 8]], ids=["shared", "an order a run"])
@pytest.mark.parametrize("augment", list(VIEWS))
def test_a_captured_step_can_make_its_batch(augment: str, chosen: Sequence[int]) -> None:
    """Nothing is read back from the device, and no shape depends on what was drawn."""
    data = dataset(augment, random_pictures(10, 3, 16, 16)).to(torch.device("meta"))
    inputs = data.inputs(torch.empty(chosen, dtype=torch.int64, device="meta"))  # it has no values
    assert inputs.shape == (*chosen, 3, 16, 16)


@pytest.mark.parametrize(
    ("augment", "shape", "reason"),
    [
        ("flip", (1, 64), "samples of mine are no pictures, as they have 1 row and 64 columns"),
        ("crop_flip", (64, 1), "samples of mine are no pictures, as they have 64 rows and 1 col"),
        ("crop_flip", (8, 8), "8x8, too small to be moved by 4 pixels; needed are 16x16; type"),
        ("crop_flip", (32, 15), "32x15, too small"),
    ],
)
def test_samples_that_cannot_be_seen_otherwise_are_refused(
    augment: str, shape: tuple[int, int], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason) as refused:
        check_augment(augment, "mine", *shape)
    assert "\n" not in str(refused.value)
    check_augment("none", "mine", *shape)
    check_augment("flip", "mine", 2, 2)
    check_augment("crop_flip", "mine", 16, 16)


def test_a_dataset_s_option_says_how_its_pictures_are_seen(tmp_path: Path) -> None:
    plain, flipped, moved = (
        replace(composed(*typed), data_dir=tmp_path)
        for typed in ((), ("dataset.augment=flip",), ("dataset.augment=crop_flip",))
    )
    assert read_dataset(plain).views == 1
    assert read_dataset(flipped).views == 2
    with pytest.raises(SettingsError, match=r"pictures of digits are 8x8, .* dataset.resize=32"):
        read_dataset(moved)
