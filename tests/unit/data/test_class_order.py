"""Data that is sorted by class is recognized by its labels alone."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optsweep.data.batch_order import is_sorted

sizes = st.lists(st.integers(6, 40), min_size=2, max_size=8)


@settings(deadline=None)
@given(sizes)
def test_samples_that_come_class_by_class_are_sorted(classes: list[int]) -> None:
    labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(classes))
    assert is_sorted(labels) and is_sorted(labels.flip(0))


@settings(deadline=None)
@given(sizes, st.integers(0, 2**32))
def test_shuffled_samples_are_not(classes: list[int], seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(classes))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    assert not is_sorted(labels[order])


def test_one_class_has_no_order() -> None:
    assert not is_sorted(torch.zeros(20, dtype=torch.int64))
