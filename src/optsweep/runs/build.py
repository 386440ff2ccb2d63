"""Builds what a run or a stack trains: model, loss, optimizers and schedules on the device."""

from collections.abc import Sequence

import torch

from optsweep.config.settings import Settings
from optsweep.data.batch_order import batches_of
from optsweep.data.dataset import Dataset
from optsweep.models.build import build_model
from optsweep.models.losses import build_loss
from optsweep.models.trial_batch import has_batch_norm
from optsweep.optim.joint_step import joined
from optsweep.optim.optimizers import build_optimizer, build_stacked_optimizer
from optsweep.optim.routing import traits_of
from optsweep.optim.schedules import build_schedule
from optsweep.training import cuda_graph as capture
from optsweep.training.convolutions import convolutions_of
from optsweep.training.device import run_in_bfloat16
from optsweep.training.stack import Stack, TrainStep
from optsweep.training.stacked_model import StackedModel


def build_run(settings: Settings, data: Dataset, device: torch.device) -> Stack:
    """Model, loss, optimizer and schedule of one run, on the device."""
    network = build_model(settings, data.input_shape, len(data.classes))
    convolutions = convolutions_of(settings, network, data.input_shape)
    network.to(device)
    if settings.precision == "bf16":
        run_in_bfloat16(network, device)
    moves = build_optimizer(settings, network)
    steps = _steps(settings, data, network)
    return Stack(
        model=network,
        optimizers=[moves],
        schedules=[build_schedule(settings, moves, steps)],
        loss=build_loss(settings),
        seeds=[settings.seed],
        convolutions=convolutions,
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
    steps = _steps(first, data, models[0])
    return Stack(
        model=stacked,
        optimizers=moves,
        schedules=[build_schedule(run, own, steps) for run, own in zip(runs, moves, strict=True)],
        loss=build_loss(first),
        seeds=[run.seed for run in runs],
        steps=joined(moves, [run.clip_norm for run in runs], stacked.flat),
        captured=captured,
    )


def _steps(settings: Settings, data: Dataset, network: torch.nn.Module) -> int:
    """How many batches an epoch has."""
    count = len(data.train.labels)
    return len(batches_of(count, settings.batch_size, joined=has_batch_norm(network)))
