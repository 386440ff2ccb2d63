"""A run that is to be carried out, checked before anything starts.

`ready` is given settings and builds everything that a run needs, without training: what cannot
work is refused while it costs nothing. A `Job` then holds all that a worker needs to know.
"""

import errno
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from optsweep.config.instantiate import resolve as resolve_target
from optsweep.config.settings import Settings
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.errors import FolderError
from optsweep.models.build import build_model, weigh
from optsweep.models.losses import build_loss
from optsweep.optim.optimizers import build_optimizer, build_stacked_optimizer, is_elementwise
from optsweep.optim.schedules import build_schedule, check_schedule
from optsweep.training import cuda_graph as capture
from optsweep.training.device import check_precision, resolve_device, run_in_bfloat16
from optsweep.training.stack import Stack, TrainStep
from optsweep.training.stackable import why_not_stackable
from optsweep.training.stacked import StackedModel


@dataclass(frozen=True)
class Job:
    """A run to be carried out: its settings, its folder, and how it was asked for.

    `swept` maps the values that the sweep varies to this run's choice; `config` is the resolved
    config as YAML; `overrides` are as typed. `fingerprint` is the settings' with the dataset's
    digest. `run_id` names the run in MLflow that is to be gone on with, where there is one.
    `hopeless`, of a search that prunes, is told of each epoch but the last with its ranking
    accuracy, and says whether the run is to end there.
    """

    settings: Settings
    folder: Path
    fingerprint: str
    overrides: Sequence[str] = ()
    swept: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    run_id: str | None = None
    hopeless: Callable[[int, float], bool] | None = None

    @property
    def name(self) -> str:
        """What tells this run from others: `adam lr=0.001 seed=0`, and what else is swept."""
        settings = self.settings
        named = {"optimizer", "lr", "seed"}
        others = [f"{key}={value}" for key, value in self.swept.items() if key not in named]
        words = [settings.optimizer.name, f"lr={settings.lr:g}", *others, f"seed={settings.seed}"]
        return " ".join(words)


def ready(settings: Settings) -> Settings:
    """The same settings with `device=auto` decided, after everything in them was tried.

    Raises:
        SettingsError, DatasetError: a run with these settings cannot be carried out.
    """
    settings = replace(settings, device=resolve_device(settings.device))
    check_precision(settings)
    data = load_dataset(settings)
    _try_once(settings, data)
    return settings


_tried: set[str] = set()


def _try_once(settings: Settings, data: Dataset) -> None:
    """Builds model, loss, optimizer and schedule, once for each distinct choice of them."""
    shape = (data.name, data.input_shape, len(data.classes))
    moves = (settings.optimizer, settings.schedule, settings.epochs)
    for part, attempt in (
        ((settings.model, shape), lambda: build_model(settings, shape[1], shape[2])),
        ((settings.model.target, settings.loss, shape[2]), lambda: build_loss(settings, shape[2])),
        ((moves, settings.model, shape), lambda: _try_optimizer(settings, data)),
    ):
        if (key := repr(part)) not in _tried:
            attempt()
            _tried.add(key)


def _try_optimizer(settings: Settings, data: Dataset) -> None:
    """On a small probe; on the real model where the optimizer looks at parameters' shapes."""
    probe: torch.nn.Module = torch.nn.Linear(2, 2)
    if not is_elementwise(resolve_target("optimizer", settings.optimizer)):
        probe = build_model(settings, data.input_shape, len(data.classes))
    check_schedule(settings, build_optimizer(settings, probe))


def build(settings: Settings, data: Dataset, device: torch.device) -> Stack:
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


def build_together(
    runs: Sequence[Settings], models: Sequence[torch.nn.Module], data: Dataset, device: torch.device
) -> Stack:
    """One stack of runs that agree in what shapes the computation, of models built for each.

    Raises:
        SettingsError: an optimizer or a schedule refuses one of its arguments.
    """
    first = runs[0]
    stacked = StackedModel([network.to(device) for network in models])
    if first.precision == "bf16":
        run_in_bfloat16(stacked, device)
    moves = [
        build_stacked_optimizer(run, stacked.row(place), stacked.parameters_of(place))
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


def why_not_stacked(settings: Settings) -> str:
    """Why runs with these settings' model and loss cannot be stacked; empty where they can."""
    data = load_dataset(settings)
    key = repr((settings.model, settings.loss, data.name, data.input_shape, len(data.classes)))
    if key not in _stackable:
        pair = [
            build_model(replace(settings, seed=seed), data.input_shape, len(data.classes))
            for seed in (0, 1)
        ]
        _stackable[key] = why_not_stackable(
            pair, build_loss(settings), data.input_shape, len(data.classes)
        )
    return _stackable[key]


_stackable: dict[str, str] = {}


def room(network: torch.nn.Module, runs: int = 1) -> int:
    """Bytes that a run leaves in its folder: its weights, its pictures and its log, generously.

    `network` holds the weights of so many runs.
    """
    return weigh(network) // runs + 2**17


def room_of(settings: Settings) -> int:
    """The `room` of a run that is not built yet."""
    data = load_dataset(settings)
    return room(build_model(settings, data.input_shape, len(data.classes)))


def refuse_full(folder: Path, needed: int, key: str) -> None:
    """Makes sure that a folder can be written and has `needed` bytes free.

    Raises:
        FolderError: it cannot or has not; `key` is what to give another folder with.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{free / 2**20:.1f} MB are free")
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(b"0" * 4096)
    except OSError as error:
        raise FolderError(
            f"{folder} cannot take the {needed / 2**20:.1f} MB that are needed "
            f"({error.strerror}); free or open it, or give another with {key}=/path/to/folder"
        ) from error
