"""A last batch of one sample, which batch normalisation cannot take."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from optsweep.config.settings import Settings
from optsweep.data.batch_order import batches_of
from optsweep.data.dataset import load_dataset
from optsweep.models.build import build_model
from optsweep.runs import build
from optsweep.runs.preflight import why_not_stacked
from optsweep.training.checkpoint import restore, save
from optsweep.training.epoch_metrics import Epoch
from optsweep.training.loop import train
from optsweep.training.stack import Stack
from support.in_process import new

CPU = torch.device("cpu")


class Normed(nn.Sequential):
    def __init__(self, input_shape: Any, classes: int) -> None:
        # A bias before the normalisation would have a gradient of nothing but rounding.
        hidden = nn.Linear(64, 8, bias=False)
        super().__init__(nn.Flatten(), hidden, nn.BatchNorm1d(8), nn.Linear(8, classes))


@given(st.integers(1, 400), st.integers(1, 50), st.booleans())
def test_batches_hold_every_sample_once(count: int, size: int, joined: bool) -> None:
    sizes = [batch.stop - batch.start for batch in batches_of(count, size, joined=joined)]
    places = [at for batch in batches_of(count, size, joined=joined) for at in range(count)[batch]]
    assert places == list(range(count))
    assert all(each == size for each in sizes[:-1]) and sizes[-1] <= size + joined
    if joined and min(count, size) > 1:
        assert min(sizes) > 1
    if not joined or count % size != 1:
        assert sizes == [len(piece) for piece in torch.arange(count).split(size)]


@pytest.fixture
def runs(project: Path) -> list[Settings]:
    """Runs of a model with batch normalisation on two batches of 64 samples and one of one."""
    (project / "conf/model/normed.yaml").write_text("_target_: test_last_batch.Normed\n")
    some = ("model=normed", "dataset.limit=129", "val_fraction=0", "epochs=3", "lr=0.1")
    return [
        new(project, *some, *own).settings
        for own in (["schedule=one_cycle"], ["seed=1"], ["optimizer=adam", "lr=0.01"])
    ]


def trained(stack: Stack, settings: Settings, first: int = 1, last: int = 3) -> list[Epoch]:
    data, epochs = load_dataset(settings), range(first, last + 1)
    return list(train(stack, data, batch_size=64, epochs=epochs, shuffle=True, log_every=1))


def stacked(runs: list[Settings]) -> Stack:
    data = load_dataset(runs[0])
    models = [build_model(each, data.input_shape, len(data.classes)) for each in runs]
    return build.build_stack(runs, models, data, CPU)


def weights(stack: Stack, run: int) -> Tensor:
    values = sorted(stack.weights_of(run).items())
    return torch.cat([tensor.detach().flatten().double() for _, tensor in values])


def test_the_last_sample_joins_the_batch_before_alone_and_stacked(runs: list[Settings]) -> None:
    assert why_not_stacked(runs[0]) == ""
    together = stacked(runs)
    (*_, epoch) = trained(together, runs[0])
    assert epoch.batch_losses.shape == (2, 3)
    for place, settings in enumerate(runs):
        own = build.build_run(settings, load_dataset(settings), CPU)
        (*_, alone) = trained(own, settings)
        assert alone.samples_seen == epoch.samples_seen == [2 * 129 + 64, 2 * 129 + 129]
        assert torch.allclose(weights(own, 0), weights(together, place), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("many", [False, True], ids=["alone", "stacked"])
def test_it_resumes_bit_for_bit(runs: list[Settings], tmp_path: Path, many: bool) -> None:
    def built() -> Stack:
        return stacked(runs) if many else build.build_run(runs[0], load_dataset(runs[0]), CPU)

    names = [str(number) for number in range(len(runs) if many else 1)]
    whole, first, again = built(), built(), built()
    trained(whole, runs[0])
    trained(first, runs[0], last=2)
    save(tmp_path / "stack.bin", first, 2, names)
    assert restore(tmp_path / "stack.bin", again, names) == 2
    trained(again, runs[0], first=3)
    for run in range(len(names)):
        assert torch.equal(weights(again, run), weights(whole, run))
