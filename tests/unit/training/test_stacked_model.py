"""Runs that are trained together: each learns as it does alone, whatever is trained beside it."""

import io
import math
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from optsweep.config.launchers import Launch
from optsweep.data.batch_order import batch_order
from optsweep.data.dataset import load_dataset
from optsweep.models.build import build_model
from optsweep.models.losses import cross_entropy
from optsweep.runs import build
from optsweep.runs.job import Job
from optsweep.training.checkpoint import restore, save
from optsweep.training.epoch_metrics import Epoch
from optsweep.training.loop import train
from optsweep.training.stack import Stack
from optsweep.training.stack_check import why_not_stackable
from optsweep.training.stacked_model import StackedModel
from support.in_process import new, sweep_here
from support.store import artifacts, by_name, history, runs

CPU = torch.device("cpu")
MIXED = (
    ("sgd", "0.1", 0),
    ("momentum", "0.01", 1),
    ("adam", "1e-3", 0),
    ("adam", "3e-3", 1),
    ("adamw", "1e-2", 2),
    ("rmsprop", "1e-3", 1),
    ("adagrad", "1e-2", 0),
    ("scratch_sgd", "0.05", 2),
)


def mixed(project: Path, *overrides: str, choices: Sequence[Any] = MIXED) -> list[Job]:
    return [
        new(project, f"optimizer={name}", f"lr={lr}", f"seed={seed}", "epochs=1", *overrides)
        for name, lr, seed in choices
    ]


def together(stacked: Sequence[Job]) -> list[Epoch]:
    settings = [job.settings for job in stacked]
    data = load_dataset(settings[0])
    models = [build_model(each, data.input_shape, len(data.classes)) for each in settings]
    stack = build.build_stack(settings, models, data, CPU)
    epochs = range(1, settings[0].epochs + 1)
    size = settings[0].batch_size
    return list(train(stack, data, batch_size=size, epochs=epochs, shuffle=True, log_every=1))


def alone(job: Job) -> list[Epoch]:
    data = load_dataset(job.settings)
    epochs = range(1, job.settings.epochs + 1)
    size = job.settings.batch_size
    stack = build.build_run(job.settings, data, CPU)
    return list(train(stack, data, batch_size=size, epochs=epochs, shuffle=True, log_every=1))


@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        (("model=softmax",), 1e-4),
        (("model=scratch_softmax", "loss=scratch_cross_entropy"), 1e-4),
        (("model=mlp", "model.hidden=[32,32]"), 1e-4),
        pytest.param(
            ("model=mlp", "model.hidden=[32,32]", "loss=mse"), 1e-4, marks=pytest.mark.long
        ),
        pytest.param(
            ("model=mlp", "model.hidden=[16]", "loss=nll", "dataset.normalize=true"),
            1e-4,
            marks=pytest.mark.long,
        ),
        pytest.param(("model=cnn", "dataset.resize=16"), 1e-4, marks=pytest.mark.long),
        pytest.param(("model=mlp", "schedule=one_cycle"), 1e-4, marks=pytest.mark.long),
    ],
    ids=["softmax", "scratch_softmax", "mlp", "mse", "nll", "cnn", "one_cycle"],
)
def test_each_run_learns_as_it_does_alone(
    project: Path, overrides: tuple[str, ...], tolerance: float
) -> None:
    chosen = mixed(project, "dataset.limit=400", *overrides)
    (epoch,) = together(chosen)
    for run, job in enumerate(chosen):
        (own,) = alone(job)
        exact = 1e-5 if job.settings.model.name == "softmax" and run == 0 else tolerance
        for name, value in own.scores(0).items():
            got = epoch.scores(run)[name]
            if name.endswith("accuracy"):
                assert abs(got - value) <= 1 / 200, (job.name, name)
            else:
                assert got == pytest.approx(value, rel=exact), (job.name, name)
        assert epoch.batch_losses[:, run].tolist() == pytest.approx(
            own.batch_losses[:, 0].tolist(), rel=10 * tolerance
        )


OTHERS = (
    ("muon", "0.02", 0),
    ("schedule_free_sgd", "0.5", 1),
    ("schedule_free_adamw", "1e-3", 0),
    ("lion", "1e-4", 2),
    ("adafactor", "1e-3", 1),
)


def test_optimizers_that_look_at_shapes_or_have_hooks_learn_in_a_stack_too(project: Path) -> None:
    chosen = mixed(project, "model.hidden=[16,16]", "clip_norm=5", choices=OTHERS)
    (epoch,) = together(chosen)
    for run, job in enumerate(chosen):
        (own,) = alone(job)
        got, wanted = epoch.scores(run), own.scores(0)
        assert got["train/loss"] == pytest.approx(wanted["train/loss"], rel=1e-3), job.name
        assert got["val/loss"] == pytest.approx(wanted["val/loss"], rel=1e-2), job.name


NEIGHBOURS = tuple(
    (name, lr, seed)
    for name in ("sgd", "momentum", "adam", "adamw", "nadam", "rmsprop", "adagrad", "adadelta")
    for seed, lr in enumerate(("1e-3", "1e-2"))
)


@pytest.mark.long
@pytest.mark.parametrize(
    ("choices", "typed"),
    [(OTHERS, ()), (NEIGHBOURS, ()), (NEIGHBOURS, ("schedule=one_cycle", "clip_norm=0.5"))],
    ids=["others", "neighbours", "scheduled"],
)
def test_a_stack_of_them_resumes_bit_for_bit(
    project: Path, tmp_path: Path, choices: Sequence[Any], typed: Sequence[str]
) -> None:
    typed = ("model.hidden=[16,16]", "epochs=3", *typed)
    runs_ = [job.settings for job in mixed(project, *typed, choices=choices)]
    names = [str(number) for number in range(len(runs_))]
    data = load_dataset(runs_[0])

    def stack() -> Stack:
        models = [build_model(each, data.input_shape, len(data.classes)) for each in runs_]
        return build.build_stack(runs_, models, data, CPU)

    def trained(built: Stack, epochs: range) -> Tensor:
        list(train(built, data, batch_size=64, epochs=epochs, shuffle=True, log_every=9))
        assert isinstance(built.model, StackedModel)
        return built.model.flat.detach()

    whole = trained(stack(), range(1, 4))
    first = stack()
    trained(first, range(1, 3))
    save(tmp_path / "stack.bin", first, 2, names)
    again = stack()
    assert restore(tmp_path / "stack.bin", again, names) == 2
    assert torch.equal(trained(again, range(3, 4)), whole)


@pytest.mark.long
def test_batch_normalisation_is_stacked_too(project: Path) -> None:
    chosen = mixed(
        project, "model=resnet18", "dataset.limit=130", choices=MIXED[0:3:2]
    )  # two batches of 64 and one of 2: three steps
    (epoch,) = together(chosen)
    for run, job in enumerate(chosen):
        (own,) = alone(job)
        got, wanted = epoch.scores(run), own.scores(0)
        assert got["train/loss"] == pytest.approx(wanted["train/loss"], rel=1e-4)


def test_a_stack_keeps_the_running_statistics_of_each_run_apart() -> None:
    def small() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))

    torch.manual_seed(0)
    models = [small(), small()]
    stacked = StackedModel(models)
    images = torch.rand(2, 16, 1, 8, 8)
    stacked.train()
    stacked(images)
    for run, own in enumerate(models):
        own.train()(images[run])
        kept = stacked.state_of(run)
        for name, buffer in own.named_buffers():
            assert torch.allclose(kept[name], buffer, atol=1e-6), name
    stacked.eval()
    outputs = stacked(images[0])
    assert torch.allclose(outputs[1], models[1].eval()(images[0]), atol=1e-5)


def test_starts_and_batches_are_those_of_the_run_alone_bit_for_bit(project: Path) -> None:
    chosen = mixed(project, "model.hidden=[16]")
    settings = [job.settings for job in chosen]
    data = load_dataset(settings[0])
    models = [build_model(each, data.input_shape, len(data.classes)) for each in settings]
    stacked = StackedModel(models)
    for run, own in enumerate(models):
        weights = build_model(settings[run], data.input_shape, len(data.classes)).state_dict()
        for name, tensor in stacked.state_of(run).items():
            assert torch.equal(tensor, weights[name])
            assert torch.equal(tensor, own.state_dict()[name])
    seeds = [each.seed for each in settings]
    orders = batch_order(seeds, 3, 100, shuffle=True)
    for run, seed in enumerate(seeds):
        assert torch.equal(orders[run], batch_order([seed], 3, 100, shuffle=True))


def test_a_run_that_overflows_reaches_no_other(project: Path) -> None:
    overrides = "model.hidden=[32,32]", "epochs=3"
    tame = [("sgd", "0.1", 0), ("adam", "1e-3", 1), ("momentum", "0.01", 0)]
    wild = [tame[0], ("sgd", "1e30", 1), tame[2]]
    expected = together([new_with(project, overrides, choice) for choice in tame])
    epochs = together([new_with(project, overrides, choice) for choice in wild])
    assert [epoch.diverged.tolist() for epoch in epochs] == [[False, True, False]] * 3
    for epoch, wanted in zip(epochs, expected, strict=True):
        for run in (0, 2):
            assert epoch.scores(run) == wanted.scores(run)
            assert torch.equal(epoch.batch_losses[:, run], wanted.batch_losses[:, run])
    assert "val/loss" not in epochs[0].scores(1)


def new_with(project: Path, overrides: Sequence[str], choice: tuple[str, str, int]) -> Job:
    name, lr, seed = choice
    return new(project, f"optimizer={name}", f"lr={lr}", f"seed={seed}", *overrides)


class Dropping(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.5))


class Asking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.linear(images.flatten(1))
        return outputs if outputs.sum() > 0 else -outputs


class Mixing(nn.Module):
    """Looks at all of its batch, of which a stack gives it the right one, but counts in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        outputs: Tensor = self.linear(images.flatten(1))
        return outputs * self.calls


class Frozen(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
        next(self.parameters()).requires_grad_(False)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.second = self.first
        self.last = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.second(self.first(images.flatten(1))))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Dropping, "random"),
        (Asking, "decides by its data"),
        (Frozen, "frozen"),
        (Tied, "two names"),
    ],
)
def test_what_cannot_be_stacked_says_why(kind: Callable[[], nn.Module], reason: str) -> None:
    assert reason in why_not_stackable([kind(), kind()], cross_entropy, (1, 8, 8), 10)


def test_a_loss_that_sums_over_runs_is_noticed() -> None:
    def wrong(outputs: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(outputs - outputs.mean(), labels) * outputs.shape[0]

    pair = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2)]
    assert "otherwise" in why_not_stackable(pair, wrong, (1, 8, 8), 10)


GRID = ("optimizer=sgd,adam", "lr=1e-2,0.1", "model.hidden=[16]", "epochs=2", "threads=1")


@pytest.mark.long
def test_in_mlflow_only_a_tag_marks_a_stack(tmp_path: Path, project: Path) -> None:
    from support.command import copy_project

    apart = copy_project(tmp_path / "apart")
    sweep_here(project, *GRID, launch=Launch(workers=0, stack=4))
    sweep_here(apart, *GRID, launch=Launch(workers=0, stack=1))
    stacked, single = by_name(project), by_name(apart)
    assert stacked.keys() == single.keys()
    for name, run in stacked.items():
        other = single[name]
        assert run.data.params == other.data.params
        assert run.info.status == "FINISHED"
        assert run.data.metrics.keys() == other.data.metrics.keys()
        assert run.data.tags["optsweep.stack"] == "4"
        assert run.data.tags.keys() - other.data.tags.keys() == {"optsweep.stack"}
        for metric in other.data.metrics:
            steps = [step for step, _ in history(project, run.info.run_id, metric)]
            assert steps == [step for step, _ in history(apart, other.info.run_id, metric)]
        assert artifacts(project, run.info.run_id) == artifacts(apart, other.info.run_id)
        assert run.inputs and other.inputs
        assert run.inputs.dataset_inputs[0].dataset == other.inputs.dataset_inputs[0].dataset


@pytest.mark.long
def test_a_runs_time_is_its_share(project: Path) -> None:
    record = sweep_here(project, *GRID, launch=Launch(workers=0, stack=4))
    assert {run.notes for run in record.runs} == {"stack of 4"}
    assert len({run.seconds for run in record.runs}) == 1


@pytest.mark.long
def test_a_diverged_run_logs_what_it_logs_alone(tmp_path: Path, project: Path) -> None:
    from support.command import copy_project

    grid = ("lr=0.1,1e30", "model.hidden=[16]", "epochs=3", "evaluate_first=true")
    apart = copy_project(tmp_path / "apart")
    stacked = sweep_here(project, *grid, launch=Launch(workers=0, stack=2))
    single = sweep_here(apart, *grid, launch=Launch(workers=0, stack=1))
    for one, other in zip(stacked.runs, single.runs, strict=True):
        assert one.diverged == other.diverged
        assert one.history.keys() == other.history.keys()
        for name, points in other.history.items():
            assert [epoch for epoch, _ in points] == [epoch for epoch, _ in one.history[name]]
    names = {run.info.run_name: run.data for run in runs(project)}
    wild = next(data for name, data in names.items() if "1e+30" in str(name))
    assert wild.tags["optsweep.diverged"] == "true"
    assert "val/loss" in wild.metrics  # of the untrained model, as step 0


FRAIL = '''
import sys
import torch
from torch.optim import SGD

class Frail(SGD):
    """SGD that breaks in its fifth step, where its learning rate is 0.5."""

    steps = 0

    def __init__(self, params, lr):
        if lr == 0.25 and len(sys.argv) == 999:
            raise ValueError("no such rate")
        super().__init__(params, lr=lr)

    def step(self, closure=None):
        self.steps += 1
        if self.steps == 5 and self.param_groups[0]["lr"] == 0.5:
            raise RuntimeError("it broke in a step")
        return super().step(closure)

def narrow(outputs, labels):
    """The cross entropy, for which three runs at a time are too many."""
    if outputs.ndim == 3 and len(outputs) > 2:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return torch.nn.functional.cross_entropy(
        outputs.flatten(0, -2), labels.flatten(), reduction="none"
    ).view(labels.shape)
'''


@pytest.fixture
def frail(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (project / "frail.py").write_text(FRAIL)
    (project / "conf/optimizer/frail.yaml").write_text("_target_: frail.Frail\nlr: ${lr}\n")
    (project / "conf/loss/narrow.yaml").write_text("_target_: frail.narrow\n")
    monkeypatch.syspath_prepend(str(project))
    return project


def said() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.long
def test_of_a_stack_that_breaks_only_the_run_at_fault_fails(frail: Path) -> None:
    console = said()
    grid = ("optimizer=frail", "lr=0.05,0.1,0.5", "model.hidden=[16]", "epochs=2")
    record = sweep_here(frail, *grid, launch=Launch(workers=0, stack=3), console=console)
    assert [run.status for run in record.runs] == ["FINISHED", "FINISHED", "FAILED"]
    assert record.runs[2].error == "RuntimeError: it broke in a step"
    assert (
        "a stack of 3 runs continues as single runs: RuntimeError: it broke in a step"
        in printed(console)
    )
    found = {run.data.params["lr"]: run for run in runs(frail)}
    assert len(runs(frail)) == 3  # each continued in its own run
    assert {lr: run.info.status for lr, run in found.items()} == {
        "0.05": "FINISHED",
        "0.1": "FINISHED",
        "0.5": "FAILED",
    }
    assert "optsweep.error" not in found["0.1"].data.tags


@pytest.mark.long
def test_a_stack_that_does_not_fit_is_halved_until_it_does(frail: Path) -> None:
    console = said()
    grid = ("loss=narrow", "lr=0.01,0.02,0.05,0.1,0.2", "model.hidden=[16]", "epochs=1")
    record = sweep_here(frail, *grid, launch=Launch(workers=0, stack=5), console=console)
    assert {run.status for run in record.runs} == {"FINISHED"}
    assert [run.stack for run in record.runs] == [2, 2, 1, 2, 2]
    assert "a stack of 5 runs continues in stacks of 2" in printed(console)
    assert len(runs(frail)) == 5
    with sqlite3.connect(frail / "mlflow.db") as database:
        (doubled,) = database.execute(
            "SELECT count(*) FROM (SELECT 1 FROM metrics GROUP BY run_uuid, key, step "
            "HAVING count(*) > 1)"
        ).fetchone()
    assert doubled == 0


def test_a_model_that_cannot_be_stacked_goes_run_by_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dropping.py").write_text(
        "from torch import nn\n"
        "def build(input_shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes), nn.Dropout(0.5))\n"
    )
    (project / "conf/model/dropping.yaml").write_text("_target_: dropping.build\n")
    monkeypatch.syspath_prepend(str(project))
    console = said()
    grid = ("model=dropping", "lr=0.01,0.1", "epochs=1")
    record = sweep_here(project, *grid, launch=Launch(workers=0, stack=2), console=console)
    assert [run.stack for run in record.runs] == [1, 1]
    (line,) = [line for line in printed(console).splitlines() if line.startswith("plan")]
    assert "model=dropping is not stackable: training runs individually" in line


def test_losses_in_bfloat16_are_those_of_the_run_alone(project: Path) -> None:
    chosen = mixed(project, "model.hidden=[32]", "precision=bf16", choices=MIXED[:3])
    (epoch,) = together(chosen)
    for run, job in enumerate(chosen):
        (own,) = alone(job)
        wanted = own.scores(0)["train/loss"]
        assert math.isfinite(wanted)
        assert epoch.scores(run)["train/loss"] == pytest.approx(wanted, rel=0.01)


@pytest.mark.long
def test_a_stacked_sweep_in_bfloat16_learns_as_its_runs_do_alone(project: Path) -> None:
    grid = ("model.hidden=[32]", "optimizer=adam", "lr=0.01,0.03", "epochs=2", "precision=bf16")
    stacked, lone = (
        sweep_here(project, *grid, "dataset.limit=400", launch=Launch(workers=0, stack=stack))
        for stack in (2, 1)
    )
    assert [run.stack for run in stacked.runs] == [2, 2]
    for one, other in zip(stacked.runs, lone.runs, strict=True):
        assert other.metrics["train/loss"] < 2.2  # untrained it is 2.3
        assert one.metrics["train/loss"] == pytest.approx(other.metrics["train/loss"], rel=0.02)
