"""The schedule group: an optimizer -> its learning-rate schedule, stepped where torch says.

OneCycleLR and CyclicLR count batches; every other schedule of torch counts epochs.
"""

from dataclasses import dataclass

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from optsweep.config.instantiate import accepts, call, resolve
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError

_BY_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
_BY_METRIC = (lr_scheduler.ReduceLROnPlateau,)


@dataclass(frozen=True)
class Schedule:
    """torch's scheduler, and whether it is to be stepped after each batch or each epoch."""

    scheduler: LRScheduler
    by_batch: bool


def build_schedule(settings: Settings, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    """The settings' schedule of this optimizer's learning rate.

    Raises:
        SettingsError: the schedule refuses one of its arguments.
    """
    target = resolve("schedule", settings.schedule)
    length = {"steps_per_epoch": steps_per_epoch} if accepts(target, "steps_per_epoch") else {}
    scheduler = call("schedule", settings.schedule, target, optimizer, **length)
    if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, _BY_METRIC):
        raise SettingsError(
            f"schedule={settings.schedule.name}: {settings.schedule.target} must be one of "
            "torch.optim.lr_scheduler's classes, and one that is stepped without a metric"
        )
    return Schedule(scheduler, isinstance(scheduler, _BY_BATCH))


def check_schedule(settings: Settings, optimizer: Optimizer) -> None:
    """Tries optimizer and schedule over the settings' epochs, at one batch each.

    What is given is spent: its learning rate moves, and its weights may.

    Raises:
        SettingsError: one of them cannot be stepped, or the schedule ends before the run does.
    """
    scheduler = build_schedule(settings, optimizer, steps_per_epoch=1).scheduler
    try:
        for _ in range(min(settings.epochs, 1000)):
            optimizer.step()
            scheduler.step()
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        names = f"optimizer={settings.optimizer.name} schedule={settings.schedule.name}"
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"{names} cannot be stepped over {settings.epochs} epochs: {reason}"
        ) from error
