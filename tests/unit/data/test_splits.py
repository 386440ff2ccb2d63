"""Splits are fixed choices: whole counts in proportion to the classes, whatever the seed."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optsweep.data.splits import Split, allot, hold_out, stratified

Labels = st.lists(st.integers(0, 9), min_size=1, max_size=200).map(torch.tensor)
Sizes = st.lists(st.integers(1, 10**9), min_size=1, max_size=30)


def split_of(labels: torch.Tensor) -> Split:
    """Images of one pixel that holds the sample's place, so that a sample is known again."""
    return Split(torch.arange(len(labels)).to(torch.uint8).view(-1, 1, 1, 1), labels)


@settings(deadline=None)
@given(sizes=Sizes, data=st.data())
def test_shares_are_whole_and_within_one_of_the_exact_share(
    sizes: list[int], data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, sum(sizes)))
    quotas = allot(count, sizes)
    assert sum(quotas) == count
    for quota, size in zip(quotas, sizes, strict=True):
        assert 0 <= quota <= size
        assert abs(quota - Fraction(count * size, sum(sizes))) < 1


@pytest.mark.parametrize(
    ("count", "sizes", "expected"),
    [
        pytest.param(10, [50, 30, 20], [5, 3, 2], id="exact"),
        pytest.param(3, [6, 3, 2], [2, 1, 0], id="the-largest-remainders-get-the-rest"),
        pytest.param(2, [1, 1, 1, 1], [1, 1, 0, 0], id="ties-go-to-the-earlier-group"),
        pytest.param(0, [3, 4], [0, 0], id="none"),
        pytest.param(7, [3, 4], [3, 4], id="all"),
    ],
)
def test_shares_by_largest_remainder(count: int, sizes: list[int], expected: list[int]) -> None:
    assert allot(count, sizes) == expected


@settings(deadline=None)
@given(labels=Labels, data=st.data())
def test_a_stratified_choice_is_sorted_unique_and_keeps_proportions(
    labels: torch.Tensor, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(labels)))
    chosen = stratified(labels, count)
    assert chosen.dtype == torch.int64 and chosen.shape == (count,)
    assert torch.equal(chosen, chosen.unique(sorted=True))
    before = torch.bincount(labels, minlength=10)
    after = torch.bincount(labels[chosen], minlength=10)
    assert ((after - before * count / len(labels)).abs() < 1).all()


@settings(deadline=None)
@given(labels=Labels, seed=st.integers(0, 2**32 - 1))
def test_a_choice_depends_on_the_labels_alone(labels: torch.Tensor, seed: int) -> None:
    first = stratified(labels, len(labels) // 2)
    np.random.seed(seed)
    torch.manual_seed(seed)
    numbers = np.random.get_state(legacy=False), torch.get_rng_state()
    assert torch.equal(stratified(labels, len(labels) // 2), first)
    assert str(np.random.get_state(legacy=False)) == str(numbers[0])
    assert torch.equal(torch.get_rng_state(), numbers[1])


def test_a_choice_stays_what_it_was_in_earlier_versions() -> None:
    assert stratified(torch.arange(40) % 4, 8).tolist() == [7, 8, 10, 13, 14, 21, 27, 32]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_fewer_samples_than_classes_can_be_chosen(count: int) -> None:
    labels = torch.arange(64) % 10
    chosen = stratified(labels, count)
    assert len(labels[chosen].unique()) == count


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(0, 9), min_size=2, max_size=200).map(torch.tensor),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
)
def test_holding_out_leaves_every_sample_in_exactly_one_part(
    labels: torch.Tensor, fraction: float
) -> None:
    rest, held = hold_out(split_of(labels), fraction)
    assert min(len(rest.labels), len(held.labels)) >= 1
    assert abs(len(held.labels) - fraction * len(labels)) <= 1
    places = [part.images.flatten() for part in (rest, held)]
    assert torch.equal(torch.cat(places).sort().values, split_of(labels).images.flatten())
    for part, kept in zip((rest, held), places, strict=True):
        assert torch.equal(kept, kept.sort().values), "the order of the files is kept"
        assert torch.equal(part.labels, labels[kept.long()])


def test_what_is_held_out_and_the_rest_stay_where_they_are() -> None:
    labels = torch.arange(40) % 4
    whole = split_of(labels)
    rest, held = hold_out(whole, 0.25)
    assert rest.pool.data_ptr() == whole.pool.data_ptr()
    assert held.pool.data_ptr() == whole.pool.data_ptr()
    again, _ = hold_out(rest, 0.5)
    assert again.pool.data_ptr() == whole.pool.data_ptr()
    for part in (rest, again):
        places = part.images.flatten().long()
        assert torch.equal(labels[places], part.labels)
        some = torch.tensor([3, 0, 3])
        assert torch.equal(part.take(some), part.images[some])
        assert torch.equal(part.choose(some).images, part.images[some])
    assert rest.to(torch.device("cpu")) is rest
    moved = rest.to(torch.device("meta"))
    assert moved.pool.shape == (30, 1, 1, 1) and moved.rows is None


def test_chosen_samples_are_copies() -> None:
    split = split_of(torch.zeros(4, dtype=torch.int64))
    split.choose(torch.tensor([1, 2])).images.zero_()
    assert split.images.flatten().tolist() == [0, 1, 2, 3]
