"""Builds what a run or a stack trains: model, loss, optimizers and schedules on the device."""

import math
from collections.abc import Sequence

import torch

from optsweep.config.settings import Settings
from optsweep.data.dataset import Dataset
from optsweep.models.build import build_model
from optsweep.models.losses import build_loss
from optsweep.optim.optimizers import build_optimizer, build_stacked_optimizer
from optsweep.optim.routing import traits_of
from optsweep.optim.schedules import build_schedule
from optsweep.training import cuda_graph as capture
from optsweep.training.device import run_in_bfloat16
from optsweep.training.stack import Stack, TrainStep
from optsweep.training.stacked_model import StackedModel


def build_run(settings: Settings, data: Dataset, device: torch.device) -> Stack:
    """Model, loss, optimizer and schedule of one run, on the device."""
    network = build_model(settings, data.input_shape, len(data.classes)).to(device)
    if settings.precision == "bf16":
        run_in_bfloat16(network, device)
    moves = build_optimizer(settings, network)
    steps = math.ceil(len(data.train.labels) / settings.batch_size)
    return Stack(
        model=network,
        optimizers=[moves],
        schedules=[build_schedule(settings, moves, steps)],
        loss=build_loss(settings),
        seeds=[settings.seed],
    )


def build_stack(
    runs: Sequence[Settings], models: Sequence[torch.nn.Module], data: Dataset, device: torch.device
) -> Stack:
    """One stack of runs that agree in what shapes the computation, of models built for each.

    Raises:
        SettingsError: an optimizer or a schedule refuses one of its arguments.
    """
    first = runs[0]
    stacked = StackedModel([network.to(device) for network in models])
    traits = traits_of(models[0])
    if first.precision == "bf16":
        run_in_bfloat16(stacked, device)
    moves = [
        build_stacked_optimizer(run, stacked.row(place), stacked.parameters_of(place), traits)
        for place, run in enumerate(runs)
    ]
    captured: TrainStep | None = None
    if device.type == "cuda" and all(map(capture.capturable, moves)):
        for each in moves:
            capture.prepare(each)
        captured = capture.CapturedStep(first.batch_size)
    steps = math.ceil(len(data.train.labels) / first.batch_size)
    return Stack(
        model=stacked,
        optimizers=moves,
        schedules=[build_schedule(run, own, steps) for run, own in zip(runs, moves, strict=True)],
        loss=build_loss(first),
        seeds=[run.seed for run in runs],
        captured=captured,
    )
