"""A run that is to be carried out, checked before anything starts.

`ready` is given settings and builds everything that a run needs, without training: what cannot
work is refused while it costs nothing. A `Job` then holds all that a worker needs to know.
"""

import errno
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from optsweep import dataset as datasets
from optsweep import loss, model, optimizer, schedule
from optsweep.building import resolve as resolve_target
from optsweep.dataset import Dataset
from optsweep.device import check_precision, resolve, run_in_bfloat16
from optsweep.errors import FolderError
from optsweep.settings import Settings
from optsweep.training import Stack


@dataclass(frozen=True)
class Job:
    """A run to be carried out: its settings, its folder, and how it was asked for.

    `swept` maps the values that the sweep varies to this run's choice; `config` is the resolved
    config as YAML; `overrides` are as typed. `fingerprint` is the settings' with the dataset's
    digest. `run_id` names the run in MLflow that is to be gone on with, where there is one.
    """

    settings: Settings
    folder: Path
    fingerprint: str
    overrides: Sequence[str] = ()
    swept: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    run_id: str | None = None

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
    settings = replace(settings, device=resolve(settings.device))
    check_precision(settings)
    data = load_dataset(settings)
    _try_once(settings, data)
    return settings


def load_dataset(settings: Settings) -> Dataset:
    """The settings' dataset; the runs of a process that agree in it share it."""
    key = repr((settings.dataset, settings.data_dir, settings.val_fraction))
    if key not in _loaded:
        _loaded.clear()  # one at a time: a sweep over datasets would fill the memory
        _loaded[key] = datasets.load(settings)
    return _loaded[key]


_loaded: dict[str, Dataset] = {}
_tried: set[str] = set()


def _try_once(settings: Settings, data: Dataset) -> None:
    """Builds model, loss, optimizer and schedule, once for each distinct choice of them."""
    shape = (data.name, data.input_shape, len(data.classes))
    moves = (settings.optimizer, settings.schedule, settings.epochs)
    for part, attempt in (
        ((settings.model, shape), lambda: model.build(settings, shape[1], shape[2])),
        ((settings.model.target, settings.loss, shape[2]), lambda: loss.build(settings, shape[2])),
        ((moves, settings.model, shape), lambda: _try_optimizer(settings, data)),
    ):
        if (key := repr(part)) not in _tried:
            attempt()
            _tried.add(key)


def _try_optimizer(settings: Settings, data: Dataset) -> None:
    """On a small probe; on the real model where the optimizer looks at parameters' shapes."""
    probe: torch.nn.Module = torch.nn.Linear(2, 2)
    if not optimizer.is_elementwise(resolve_target("optimizer", settings.optimizer)):
        probe = model.build(settings, data.input_shape, len(data.classes))
    schedule.check(settings, optimizer.build(settings, probe))


def build(settings: Settings, data: Dataset, device: torch.device) -> Stack:
    """Model, loss, optimizer and schedule of one run, on the device."""
    network = model.build(settings, data.input_shape, len(data.classes)).to(device)
    if settings.precision == "bf16":
        run_in_bfloat16(network, device)
    moves = optimizer.build(settings, network)
    steps = math.ceil(len(data.train.labels) / settings.batch_size)
    return Stack(
        model=network,
        optimizers=[moves],
        schedules=[schedule.build(settings, moves, steps)],
        loss=loss.build(settings),
        seeds=[settings.seed],
    )


def room(network: torch.nn.Module) -> int:
    """Bytes that a run leaves in its folder: its weights, its pictures and its log, generously."""
    return model.weigh(network) + 2**17


def room_of(settings: Settings) -> int:
    """The `room` of a run that is not built yet."""
    data = load_dataset(settings)
    return room(model.build(settings, data.input_shape, len(data.classes)))


def refuse_full(folder: Path, needed: int, key: str) -> None:
    """Makes sure that a folder can be written and has `needed` bytes free.

    Raises:
        FolderError: it cannot or has not; `key` is what to give another folder with.
    """
    probe = folder / ".room"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{free / 2**20:.1f} MB are free")
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
    except OSError as error:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        raise FolderError(
            f"{folder} cannot take the {needed / 2**20:.1f} MB that are needed "
            f"({error.strerror}); free or open it, or give another with {key}=/path/to/folder"
        ) from error
