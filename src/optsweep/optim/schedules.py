"""The schedule group: an optimizer -> its learning-rate schedule, stepped where torch says.

OneCycleLR and CyclicLR count batches; every other schedule of torch counts epochs.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from optsweep.config.instantiate import accepts, call, contract, resolve
from optsweep.config.settings import Settings
from optsweep.errors import OptsweepError, SettingsError
from optsweep.optim.routing import Routed
from optsweep.system.exceptions import reason

_BY_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
_BY_METRIC = (lr_scheduler.ReduceLROnPlateau,)


class LeadingSchedule:
    """The schedule of a routed optimizer's first part; the others' rates keep their ratio to it.

    A schedule such as OneCycleLR gives every group the same rate, so it is not given the others.
    """

    def __init__(self, scheduler: LRScheduler, optimizer: Routed, rates: Sequence[float]) -> None:
        """`rates` are those of the optimizer's groups before there was a schedule."""
        self._scheduler, self._optimizer, self._rates = scheduler, optimizer, rates
        self._follow()

    def step(self) -> None:
        """As the first part's schedule says."""
        self._scheduler.step()
        self._follow()

    def _follow(self) -> None:
        lead, *_ = self._optimizer.parts
        groups = self._optimizer.param_groups
        factor = groups[0]["lr"] / self._rates[0] if self._rates[0] else 1.0
        for group, rate in list(zip(groups, self._rates, strict=True))[len(lead.param_groups) :]:
            if isinstance(group["lr"], Tensor):  # a captured step reads it there
                group["lr"].fill_(factor * rate)
            else:
                group["lr"] = factor * rate

    def state_dict(self) -> dict[str, Any]:
        """The first part's; the other rates lie in the optimizer's state."""
        return self._scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a state of the first part's schedule."""
        self._scheduler.load_state_dict(state)


@dataclass(frozen=True)
class Schedule:
    """torch's scheduler, and whether it is to be stepped after each batch or each epoch."""

    scheduler: LRScheduler | LeadingSchedule
    by_batch: bool


def build_schedule(settings: Settings, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    """The settings' schedule of this optimizer's learning rate.

    Raises:
        SettingsError: the schedule refuses one of its arguments.
    """
    target = resolve("schedule", settings.schedule)
    length = {"steps_per_epoch": steps_per_epoch} if accepts(target, "steps_per_epoch") else {}
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    lead = optimizer.parts[0] if isinstance(optimizer, Routed) else optimizer
    scheduler = call("schedule", settings.schedule, target, lead, **length)
    if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, _BY_METRIC):
        raise SettingsError(
            f"schedule={settings.schedule.name}: {settings.schedule.target} must be one of "
            "torch.optim.lr_scheduler's classes, and one that is stepped without a metric; needed "
            f"is {contract('schedule')}"
        )
    by_batch = isinstance(scheduler, _BY_BATCH)
    if isinstance(optimizer, Routed):
        return Schedule(LeadingSchedule(scheduler, optimizer, rates), by_batch)
    return Schedule(scheduler, by_batch)


def check_schedule(settings: Settings, optimizer: Optimizer) -> None:
    """Tries the schedule of an optimizer over the settings' epochs, at one batch each.

    The optimizer is spent: its learning rate moves.

    Raises:
        SettingsError: the schedule cannot be stepped, or ends before the run does.
    """
    schedule = build_schedule(settings, optimizer, steps_per_epoch=1)
    try:
        with warnings.catch_warnings():  # torch's, that no weights are moved
            warnings.simplefilter("ignore")
            for epoch in range(min(settings.epochs, 1000)):
                schedule.scheduler.step()
                _check_rates(settings, optimizer, epoch + 1)
    except OptsweepError:
        raise
    except Exception as error:  # whatever a schedule of somebody's own raises
        names = f"optimizer={settings.optimizer.name} schedule={settings.schedule.name}"
        raise SettingsError(
            f"{names} cannot be stepped over {settings.epochs} epochs: {reason(error)}"
        ) from error


def _check_rates(settings: Settings, optimizer: Optimizer, epoch: int) -> None:
    """Refuses a learning rate that is no number.

    Raises:
        SettingsError: the schedule gives one.
    """
    for group in optimizer.param_groups:
        if not math.isfinite(rate := group["lr"]):
            raise SettingsError(
                f"schedule={settings.schedule.name} gives the learning rate {rate} after epoch "
                f"{epoch}; needed is a finite number"
            )
