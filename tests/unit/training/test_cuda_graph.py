"""A stack's step as a CUDA graph, where there is a GPU; what can be captured, anywhere."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from optsweep.data.dataset import load_dataset
from optsweep.models.build import build_model
from optsweep.optim.optimizers import ScratchSGD
from optsweep.runs import build
from optsweep.training.cuda_graph import capturable, prepare
from optsweep.training.loop import train, train_step
from support.capture import ReadingNothing
from support.in_process import new


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda p: torch.optim.SGD(p, fused=True), True),
        (lambda p: torch.optim.SGD(p), False),
        (lambda p: torch.optim.Adam(p), False),
        (lambda p: torch.optim.Adam(p, capturable=True), True),
        (lambda p: torch.optim.RMSprop(p, capturable=True), True),
        (lambda p: torch.optim.Adagrad(p), False),
        (lambda p: ScratchSGD(p, lr=0.1), False),
    ],
    ids=["fused sgd", "sgd", "adam", "capturable adam", "rmsprop", "adagrad", "scratch"],
)
def test_what_can_be_captured(
    made: Callable[[list[nn.Parameter]], torch.optim.Optimizer], expected: bool
) -> None:
    assert capturable(made([nn.Parameter(torch.zeros(4))])) is expected


def test_a_step_reads_nothing_that_a_device_computes(project: Path) -> None:
    runs = [
        new(project, f"optimizer={name}", f"lr={lr}", "model.hidden=[8]", "clip_norm=1").settings
        for name in ("sgd", "momentum", "adamw")
        for lr in ("1e-3", "1e-2")
    ]
    data = load_dataset(runs[0])
    models = [build_model(run, data.input_shape, len(data.classes)) for run in runs]
    stack = build.build_stack(runs, models, data, torch.device("cpu"))
    assert len(stack.steps) == 3
    for each in stack.optimizers:
        prepare(each)
    chosen = torch.arange(64)
    labels = data.targets(chosen)
    for _ in range(3):  # what the capture comes after
        train_step(stack, data, chosen, labels)
    with ReadingNothing():  # type: ignore[no-untyped-call]  # torch's own
        train_step(stack, data, chosen, labels)


@pytest.mark.cuda
@pytest.mark.parametrize(
    "typed",
    [
        ("schedule=constant",),
        ("schedule=one_cycle",),
        ("dataset.augment=flip",),
        ("dataset.augment=crop_flip", "dataset.resize=16"),
    ],
    ids=["constant", "one_cycle", "flip", "crop_flip"],
)
def test_a_captured_stack_learns_what_an_eager_one_does(
    project: Path, typed: tuple[str, ...]
) -> None:
    device = torch.device("cuda")
    runs = [
        new(project, f"optimizer={name}", f"lr={lr}", *typed, "device=cuda", "epochs=2").settings
        for lr in ("1e-3", "1e-2")  # rows of one kind lie apart
        for name in ("sgd", "momentum", "adam", "rmsprop")
    ]
    data = load_dataset(runs[0]).to(device)
    results = []
    for captured in (True, False):
        models = [build_model(run, data.input_shape, len(data.classes)) for run in runs]
        stack = build.build_stack(runs, models, data, device)
        assert stack.captured is not None
        if not captured:
            object.__setattr__(stack, "captured", None)
        epochs = train(stack, data, batch_size=64, epochs=range(1, 3), shuffle=True, log_every=10)
        results.append([epoch.metrics["train/loss"] for epoch in epochs])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-4)
