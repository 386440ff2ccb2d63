"""The core loop: what it yields, and that it is what a loop written by hand computes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from optsweep.data.batch_order import batch_order, epoch_seed
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.models import losses as loss
from optsweep.models.build import build_model
from optsweep.models.losses import cross_entropy
from optsweep.optim.schedules import Schedule
from optsweep.runs.build import build_run, build_stack
from optsweep.runs.job import Job
from optsweep.training import checkpoint
from optsweep.training.evaluation import evaluate, predict
from optsweep.training.loop import train, train_epoch
from optsweep.training.stack import Stack
from support.in_process import new
from support.pictures import make_cifar10
from support.training import make_dataset, make_stack, run

CPU = torch.device("cpu")


def test_equals_a_loop_written_by_hand() -> None:
    dataset, stack = make_dataset(), make_stack()
    epochs = run(stack, dataset)

    by_hand = make_stack().model
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    pixels = dataset.train.images / 255
    for epoch in epochs:
        order = batch_order([0], epoch.number, 50, shuffle=True)
        total, right = 0.0, 0
        for chosen in order.split(8):
            labels = dataset.train.labels[chosen]
            outputs = by_hand(pixels[chosen])
            batch_loss = nn.functional.cross_entropy(outputs, labels)
            optimizer.zero_grad()
            batch_loss.backward()
            optimizer.step()
            total += batch_loss.item() * len(chosen)
            right += int((outputs.argmax(1) == labels).sum())
        assert epoch.metrics["train/loss"].item() == pytest.approx(total / 50, rel=1e-6)
        assert epoch.metrics["train/accuracy"].item() == right / 50
    with torch.no_grad():
        outputs = by_hand(dataset.test.images / 255)
        expected = nn.functional.cross_entropy(outputs, dataset.test.labels).item()
    assert epochs[-1].metrics["test/loss"].item() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(predict(stack.model, dataset, dataset.test), outputs.argmax(1))


def test_yields_all_splits_and_learns() -> None:
    epochs = run(make_stack(), make_dataset(samples=400), epochs=range(1, 11))
    assert [epoch.number for epoch in epochs] == list(range(1, 11))
    names = {
        f"{split}/{score}" for split in ("train", "val", "test") for score in ("loss", "accuracy")
    }
    assert all(set(epoch.metrics) == names for epoch in epochs)
    assert epochs[-1].metrics["train/loss"] < epochs[0].metrics["train/loss"]
    assert all(epoch.seconds > 0 and epoch.samples_per_second > 0 for epoch in epochs)


def test_without_validation_there_are_no_validation_metrics() -> None:
    epochs = run(make_stack(), make_dataset(val=0))
    assert not any(name.startswith("val/") for name in epochs[0].metrics)


def test_batch_losses_come_every_log_every_batches_of_the_whole_run() -> None:
    # 50 samples in batches of 8 are 7 batches an epoch; every 4th of the run from its first.
    epochs = run(make_stack(), make_dataset(), log_every=4)
    seen = [samples for epoch in epochs for samples in epoch.samples_seen]
    assert seen == [8, 40, 66, 98, 124, 150]
    assert all(len(epoch.batch_losses) == len(epoch.samples_seen) for epoch in epochs)


def test_same_seed_gives_the_same_metrics_bit_for_bit() -> None:
    first, second = (run(make_stack(), make_dataset()) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert {k: v.item() for k, v in one.metrics.items()} == {
            k: v.item() for k, v in other.metrics.items()
        }
        assert torch.equal(one.batch_losses, other.batch_losses)


def test_continuing_from_an_epoch_gives_what_an_uninterrupted_run_gives() -> None:
    whole = run(make_stack(), make_dataset(), epochs=range(1, 5))
    stack = make_stack()
    parts = run(stack, make_dataset(), epochs=range(1, 3)) + run(
        stack, make_dataset(), epochs=range(3, 5)
    )
    assert [e.metrics["test/loss"].item() for e in whole] == [
        e.metrics["test/loss"].item() for e in parts
    ]
    assert [e.samples_seen for e in whole] == [e.samples_seen for e in parts]


@pytest.mark.parametrize("lr", [1e30, math.inf])
def test_divergence_ends_the_run_early_and_is_no_error(lr: float) -> None:
    epochs = run(make_stack(lr=lr), make_dataset(), epochs=range(1, 100))
    assert len(epochs) < 5
    assert epochs[-1].diverged.item()
    assert not any(epoch.diverged.item() for epoch in epochs[:-1])


def test_divergence_after_the_last_step_is_seen_by_the_evaluation() -> None:
    # One batch an epoch: its loss is finite, the weights after its step are not.
    epochs = run(make_stack(lr=math.inf), make_dataset(), batch_size=50)
    assert len(epochs) == 1
    assert epochs[0].metrics["train/loss"].isfinite()
    assert epochs[0].diverged.item()


def test_losses_are_means_over_samples_also_with_a_short_last_batch() -> None:
    dataset, stack = make_dataset(), make_stack(lr=1e-30)
    (epoch,) = run(stack, dataset, epochs=range(1, 2))
    expected, _ = evaluate(stack, dataset, dataset.train)
    assert epoch.metrics["train/loss"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_watch_sees_every_batch_once_an_epoch() -> None:
    seen: list[slice] = []

    def watch(batches: Any) -> Any:
        for batch in batches:
            seen.append(batch)
            yield batch

    run(make_stack(), make_dataset(), epochs=range(1, 3), watch=watch)
    assert [batch.start for batch in seen] == [0, 8, 16, 24, 32, 40, 48] * 2


def test_dropout_depends_on_seed_and_epoch_alone() -> None:
    def losses(burn: int) -> Tensor:
        stack = make_stack()
        model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), *list(stack.model)[1:])  # type: ignore[call-overload]
        torch.rand(burn)  # whatever else drew random numbers before must not matter
        epochs = run(replace(stack, model=model), make_dataset())
        return torch.cat([epoch.batch_losses for epoch in epochs])

    assert torch.equal(losses(0), losses(17))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("step", [0.1, 0.01, 0.001]),
        ("one_cycle", None),
    ],
)
def test_schedules_step_by_epoch_or_batch(kind: str, expected: list[float] | None) -> None:
    stack, dataset = make_stack(), make_dataset()
    optimizer = stack.optimizers[0]
    scheduler: Any
    if kind == "step":
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    else:
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.1, epochs=3, steps_per_epoch=7, cycle_momentum=False
        )
    rates = []
    stack = replace(stack, schedules=[Schedule(scheduler, by_batch=kind == "one_cycle")])
    steps = 3 if kind == "step" else 21
    for _ in train(stack, dataset, batch_size=8, epochs=range(1, 4), shuffle=True, log_every=100):
        rates.append(scheduler.get_last_lr()[0])
    assert scheduler.last_epoch == steps
    if expected is not None:
        assert rates == pytest.approx([rate * 0.1 for rate in expected])


class TwoAtOnce(nn.Module):
    """Two models as one: outputs `[2, B, C]` of shared images, or of each model's own."""

    def __init__(self, models: list[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, images: Tensor) -> Tensor:
        each = images if images.ndim == 5 else images.expand(2, *images.shape)
        return torch.stack([model(x) for model, x in zip(self.models, each, strict=True)])


@pytest.mark.parametrize("seeds", [[0, 0], [0, 1]], ids=["shared batches", "own batches"])
def test_two_runs_at_once_equal_each_alone(seeds: list[int]) -> None:
    dataset = make_dataset()
    alone = [make_stack(lr, seed) for lr, seed in zip((0.1, 0.5), seeds, strict=True)]
    expected = [run(stack, dataset) for stack in alone]

    singles = [make_stack(lr, seed) for lr, seed in zip((0.1, 0.5), seeds, strict=True)]
    both = Stack(
        model=TwoAtOnce([stack.model for stack in singles]),
        optimizers=[stack.optimizers[0] for stack in singles],
        schedules=[stack.schedules[0] for stack in singles],
        loss=cross_entropy,
        seeds=seeds,
    )
    for together, first, second in zip(run(both, dataset), *expected, strict=True):
        for name, values in together.metrics.items():
            assert values.tolist() == pytest.approx(
                [first.metrics[name].item(), second.metrics[name].item()], rel=1e-5
            )


def test_one_epoch_takes_one_pass_over_all_samples() -> None:
    dataset, stack = make_dataset(), make_stack()
    seen: list[Tensor] = []
    original = stack.model.forward

    def watched(images: Tensor) -> Any:
        seen.append(images)
        return original(images)

    stack.model.forward = watched
    batches = [slice(0, 30), slice(30, 50)]
    losses, correct = train_epoch(stack, dataset, torch.randperm(50), iter(batches))
    assert [len(images) for images in seen] == [30, 20]
    assert losses.shape == (2, 1)
    assert correct.shape == (1,)


@given(st.integers(0, 2**63 - 1), st.integers(1, 10**6))
def test_epoch_seeds_are_valid_and_differ_between_epochs(seed: int, epoch: int) -> None:
    assert 0 <= epoch_seed(seed, epoch) < 2**63
    assert epoch_seed(seed, epoch) != epoch_seed(seed, epoch + 1)
    assert epoch_seed(seed, epoch) == epoch_seed(seed, epoch)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 200), st.booleans())
def test_orders_are_permutations_shared_where_seeds_are(
    seeds: list[int], count: int, shuffle: bool
) -> None:
    order = batch_order(seeds, 1, count, shuffle)
    rows = order.reshape(-1, count)
    assert all(torch.equal(row.sort().values, torch.arange(count)) for row in rows)
    if not shuffle or len(set(seeds)) == 1:
        assert order.ndim == 1
    else:
        alone = [batch_order([seed], 1, count, shuffle) for seed in seeds]
        assert torch.equal(order, torch.stack(alone))


def batches_of(
    jobs: Sequence[Job], folder: Path, monkeypatch: pytest.MonkeyPatch, stop: int = 0
) -> list[Tensor]:
    """What the jobs' networks are given to learn from, batch by batch.

    With `stop`, they are stopped after so many epochs, and others resume from their checkpoint.
    """
    settings = [job.settings for job in jobs]
    names = [job.fingerprint for job in jobs]
    data, given = load_dataset(settings[0]), list[Tensor]()
    inputs = Dataset.inputs

    def watched(dataset: Dataset, chosen: Tensor) -> Tensor:
        given.append(inputs(dataset, chosen))
        return given[-1]

    monkeypatch.setattr(Dataset, "inputs", watched)
    for epochs in (range(1, stop + 1), range(stop + 1, settings[0].epochs + 1)):
        models = [build_model(each, data.input_shape, len(data.classes)) for each in settings]
        stack = build_run(settings[0], data, CPU)
        if len(jobs) > 1:
            stack = build_stack(settings, models, data, CPU)
        if epochs.start > 1:
            assert checkpoint.restore(folder / "saved.bin", stack, names) == stop
        run(stack, data, batch_size=settings[0].batch_size, epochs=epochs)
        checkpoint.save(folder / "saved.bin", stack, stop, names)
    monkeypatch.setattr(Dataset, "inputs", inputs)
    return given


@pytest.mark.long
def test_at_one_seed_all_see_the_same_pictures_alone_stacked_and_resumed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cifar10(project / "data", monkeypatch)
    typed = ("dataset=cifar10", "dataset.augment=crop_flip", "model=cnn", "batch_size=8")

    def jobs(*choices: tuple[str, int]) -> list[Job]:
        return [
            new(project, *typed, "epochs=3", f"optimizer={name}", f"seed={seed}")
            for name, seed in choices
        ]

    def given(*choices: tuple[str, int], stop: int = 0) -> list[Tensor]:
        return batches_of(jobs(*choices), tmp_path, monkeypatch, stop)

    expected, other = given(("sgd", 0)), given(("sgd", 1))
    assert [len(batch) for batch in expected] == [8, 8, 2] * 3
    for found in (
        given(("adam", 0)),
        given(("adam", 0), stop=2),
        given(("sgd", 0), ("adam", 0)),
        given(("sgd", 0), ("adam", 0), stop=1),
    ):
        assert all(map(torch.equal, found, expected))
        assert len(found) == len(expected)
    mixed = given(("adam", 1), ("sgd", 0), ("adam", 0), stop=1)
    for batch, zero, one in zip(mixed, expected, other, strict=True):
        assert torch.equal(batch, torch.stack([one, zero, zero]))
        assert not torch.equal(zero, one)


def test_losses_of_the_loss_group_fit_the_loop() -> None:
    for function in (loss.nll, loss.mse, partial(loss.cross_entropy, label_smoothing=0.1)):
        stack = replace(make_stack(), loss=function)
        assert len(run(stack, make_dataset())) == 3
