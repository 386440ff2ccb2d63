"""Balanced accuracy is the mean over classes of the share that is right."""

import warnings

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from optsweep.training.evaluation import balanced_accuracy

CLASSES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(CLASSES, st.integers(1, 3))
def test_balanced_accuracy_is_that_of_scikit_learn(pairs: list[tuple[int, int]], runs: int) -> None:
    true, predicted = map(np.array, zip(*pairs, strict=True))
    right = torch.from_numpy(np.stack([np.roll(predicted, run) == true for run in range(runs)]))
    ours = balanced_accuracy(right, torch.from_numpy(true))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of a class that is predicted and never true
        theirs = [balanced_accuracy_score(true, np.roll(predicted, run)) for run in range(runs)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert ((ours >= 0) & (ours <= 1)).all()
