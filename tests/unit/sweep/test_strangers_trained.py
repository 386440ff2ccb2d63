"""Models, losses, optimizers, schedules and data of users that are right: alone, swept, stacked."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LRScheduler

from optsweep.config.launchers import Launch
from optsweep.data import Source, make_source
from support.in_process import sweep_here, train_here


class Plain(nn.Module):
    def __init__(self, input_shape: Any, classes: int, width: int = 6) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, width)
        self.last = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Any:
        return self.last(self.between(self.hidden(images.flatten(1)).relu()))

    def between(self, hidden: Tensor) -> Any:
        return hidden


class Normed(Plain):
    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(input_shape, classes)
        self.norm = nn.BatchNorm1d(6)

    def between(self, hidden: Tensor) -> Any:
        return self.norm(hidden)


class Dropping(Plain):
    def between(self, hidden: Tensor) -> Any:
        return functional.dropout(hidden, 0.1, self.training)


class Spare(Plain):
    """Has parameters that no gradient reaches."""

    def __init__(self, input_shape: Any, classes: int) -> None:
        super().__init__(input_shape, classes)
        self.spare = nn.Linear(2, 2)


def convolutional(input_shape: Any, classes: int) -> nn.Module:
    """A function that builds a model."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 4, 3),
        nn.GroupNorm(2, 4),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )


def focal(outputs: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    chosen = outputs.log_softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -((1 - chosen.exp()) ** gamma) * chosen


class Signed(torch.optim.Optimizer):
    """Steps by the sign of an average of gradients."""

    def __init__(self, params: Iterable[Tensor], lr: float, beta: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch types two cases
        for group in self.param_groups:
            for own in group["params"]:
                if own.grad is not None:
                    state = self.state[own]
                    mean = state.setdefault("mean", torch.zeros_like(own))
                    mean.lerp_(own.grad, 1 - group["beta"])
                    own.sub_(mean.sign(), alpha=group["lr"])


class Halving(LRScheduler):
    def get_lr(self) -> list[float | Tensor]:
        factor = 0.5 if self.last_epoch else 1.0
        return [factor * group["lr"] for group in self.optimizer.param_groups]


def shades(*, data_dir: Path, count: int = 80) -> Source:
    """Dark and bright pictures, channels last, as floats."""
    labels = torch.arange(count) % 2
    drawn = torch.rand(count, 8, 8, 1, generator=torch.Generator().manual_seed(0))
    images = (drawn + labels.view(-1, 1, 1, 1)) / 2
    return make_source((images, labels), (images.numpy(), labels.tolist()), ["dark", "bright"])


HERE = "test_strangers_trained"
COMMON = "shuffle: true\nlimit: null\nresize: null\nnormalize: false\naugment: none\n"
# By name: group, what it builds, its other lines, and how many runs a stack of it holds.
RIGHT: dict[str, tuple[str, str, str, int]] = {
    "plain": ("model", f"{HERE}.Plain", "width: 8", 2),
    "normed": ("model", f"{HERE}.Normed", "", 2),
    "dropping": ("model", f"{HERE}.Dropping", "", 1),
    "spare": ("model", f"{HERE}.Spare", "", 1),
    "convolutional": ("model", f"{HERE}.convolutional", "", 2),
    "focal": ("loss", f"{HERE}.focal", "gamma: 1.5", 2),
    "margins": ("loss", "torch.nn.functional.multi_margin_loss", "reduction: none", 1),
    "signed": ("optimizer", f"{HERE}.Signed", "lr: ${lr}", 2),
    "halving": ("schedule", f"{HERE}.Halving", "", 2),
    "shades": ("dataset", f"{HERE}.shades", COMMON, 2),
}


@pytest.mark.long
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_trains_alone_in_a_sweep_and_stacked(project: Path, name: str) -> None:
    group, target, more, stack = RIGHT[name]
    (project / f"conf/{group}/{name}.yaml").write_text(f"_target_: {target}\n{more}\n")
    chosen = {"model": "softmax", "optimizer": "sgd"} | {group: name}
    some = [f"{key}={option}" for key, option in chosen.items()] + ["epochs=2"]
    some += [] if group == "dataset" else ["dataset.limit=129"]
    alone = train_here(project, *some, "lr=0.01")
    assert alone.status == "FINISHED" and not alone.diverged
    for size in (1, 2):
        launch = Launch(workers=0, stack=size)
        folder = project / f"outputs/stack-{size}"
        record = sweep_here(project, *some, "lr=0.01,0.1", launch=launch, folder=folder)
        assert [run.status for run in record.runs] == ["FINISHED"] * 2
        assert [run.stack for run in record.runs] == [min(size, stack)] * 2
        loss = record.runs[0].metrics["train/loss"]
        assert loss == pytest.approx(alone.metrics["train/loss"], rel=1e-3)
