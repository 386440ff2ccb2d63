"""Checks of a run's settings before anything starts.

`checked` builds every part of a run once, without training: what cannot work is refused while it
costs nothing. Here too: which models can be stacked, and the disk space that a run needs.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from optsweep.config.settings import Settings
from optsweep.data.batch_order import is_sorted
from optsweep.data.dataset import Dataset, load_dataset
from optsweep.models.build import build_model, weigh
from optsweep.models.losses import build_loss
from optsweep.models.trial_batch import check_gradients
from optsweep.optim.optimizers import build_optimizer, takes_flat
from optsweep.optim.schedules import check_schedule
from optsweep.optim.trial_step import check_steps, why_not_stackable
from optsweep.training import stack_check
from optsweep.training.device import check_precision, resolve_device

log = logging.getLogger(__name__)


def checked(settings: Settings) -> Settings:
    """The same settings with `device=auto` decided, after everything in them was tried.

    Raises:
        SettingsError, DatasetError: no run can have these settings.
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
        (
            (settings.model, settings.loss, shape, _few(settings, data)),
            lambda: _try_batch(settings, data),
        ),
        ((moves, settings.model, shape), lambda: _try_optimizer(settings, data)),
        ((_but_for_rates(settings), settings.model, shape), lambda: _try_steps(settings, data)),
        ((settings.dataset, settings.val_fraction), lambda: _warn_of_order(settings, data)),
    ):
        if (key := repr(part)) not in _tried:
            attempt()
            _tried.add(key)


def _few(settings: Settings, data: Dataset) -> int:
    """Samples that a batch is tried with: two, or one where a run's batches have no more."""
    return min(2, settings.batch_size, len(data.train.labels))


def _try_batch(settings: Settings, data: Dataset) -> None:
    model = build_model(settings, data.input_shape, len(data.classes))
    images = data.scale(data.train.take(torch.arange(_few(settings, data))))
    labels = data.train.labels[: len(images)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        check_gradients(settings, model, build_loss(settings), images, labels)


def _warn_of_order(settings: Settings, data: Dataset) -> None:
    shuffle = settings.dataset.arguments.get("shuffle", True)
    if not shuffle and is_sorted(data.train.labels):
        log.warning(
            "dataset.shuffle=false trains class by class, as the files of dataset=%s are sorted by "
            "class; for another order type dataset.shuffle=true",
            settings.dataset.name,
        )


def _probe(settings: Settings, data: Dataset) -> torch.nn.Module:
    """A small model; the real one where the optimizer looks at parameters' shapes."""
    if takes_flat(settings):
        return torch.nn.Linear(2, 2)
    return build_model(settings, data.input_shape, len(data.classes))


def _try_optimizer(settings: Settings, data: Dataset) -> None:
    check_schedule(settings, build_optimizer(settings, _probe(settings, data)))


def _try_steps(settings: Settings, data: Dataset) -> None:
    check_steps(settings, _probe(settings, data))
    why_alone(settings)


def why_alone(settings: Settings) -> str:
    """Why a run with these settings' optimizer cannot be stacked; empty where it can.

    Raises:
        SettingsError: no run can resume with this optimizer.
    """
    key = repr(_but_for_rates(settings))
    if key not in _alone:
        _alone[key] = why_not_stackable(settings)
    return _alone[key]


_alone: dict[str, str] = {}


def _but_for_rates(settings: Settings) -> tuple[object, ...]:
    """What decides how an optimizer steps, whatever its learning rate."""
    return (
        settings.optimizer.target,
        _without_rates(settings.optimizer.arguments),
        settings.no_decay,
    )


def _without_rates(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_rates(value) if isinstance(value, Mapping) else value
        for key, value in arguments.items()
        if key != "lr"
    }


def why_not_stacked(settings: Settings) -> str:
    """Why runs with these settings' model and loss cannot be stacked; empty where they can."""
    data = load_dataset(settings)
    shape = data.input_shape, len(data.classes)
    key = repr((settings.model, settings.loss, data.name, shape))
    if key not in _stackable:
        pair = [build_model(replace(settings, seed=seed), *shape) for seed in (0, 1)]
        _stackable[key] = stack_check.why_not_stackable(pair, build_loss(settings), *shape)
    return _stackable[key]


_stackable: dict[str, str] = {}


def bytes_needed(network: torch.nn.Module, runs: int = 1) -> int:
    """Bytes that a run leaves in its folder: its weights, its pictures and its log, generously.

    `network` holds the weights of so many runs.
    """
    return weigh(network) // runs + 2**17


def bytes_needed_by(settings: Settings) -> int:
    """The `bytes_needed` of a run that is not built yet."""
    data = load_dataset(settings)
    return bytes_needed(build_model(settings, data.input_shape, len(data.classes)))
