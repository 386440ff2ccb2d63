"""Small datasets and stacks for the core loop."""

from typing import Any

import torch
from torch import nn

from optsweep.data.dataset import Dataset
from optsweep.data.splits import Split
from optsweep.models.losses import cross_entropy
from optsweep.optim.schedules import Schedule
from optsweep.training.epoch_metrics import Epoch
from optsweep.training.loop import train
from optsweep.training.stack import Stack


def make_dataset(samples: int = 50, seed: int = 0, val: int = 10) -> Dataset:
    random = torch.Generator().manual_seed(seed)

    def split(count: int) -> Split:
        images = torch.randint(0, 256, (count, 1, 4, 4), generator=random, dtype=torch.uint8)
        return Split(images, images.flatten(1).float().mean(1).ge(128).long())

    return Dataset(
        name="made up",
        train=split(samples),
        val=split(val) if val else None,
        test=split(20),
        classes=("dark", "bright"),
        peak=255,
        digest="0",
    )


def constant(optimizer: torch.optim.Optimizer) -> Schedule:
    return Schedule(torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0, 0), by_batch=False)


def make_stack(lr: float = 0.1, seed: int = 0) -> Stack:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return Stack(model, [optimizer], [constant(optimizer)], cross_entropy, [seed])


def run(stack: Stack, dataset: Dataset, **options: Any) -> list[Epoch]:
    settings: dict[str, Any] = {
        "batch_size": 8,
        "epochs": range(1, 4),
        "shuffle": True,
        "log_every": 2,
    }
    return list(train(stack, dataset, **(settings | options)))
