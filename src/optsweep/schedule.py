"""The schedule group: an optimizer -> its learning-rate schedule, stepped where torch says.

OneCycleLR and CyclicLR count batches; every other schedule of torch counts epochs.
"""

from dataclasses import dataclass

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from optsweep.building import accepts, call, resolve
from optsweep.settings import Settings

_BY_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)


@dataclass(frozen=True)
class Schedule:
    """torch's scheduler, and whether it is to be stepped after each batch or each epoch."""

    scheduler: LRScheduler
    by_batch: bool


def build(settings: Settings, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    """The settings' schedule of this optimizer's learning rate.

    Raises:
        SettingsError: the schedule refuses one of its arguments.
    """
    target = resolve("schedule", settings.schedule)
    length = {"steps_per_epoch": steps_per_epoch} if accepts(target, "steps_per_epoch") else {}
    scheduler = call("schedule", settings.schedule, target, optimizer, **length)
    return Schedule(scheduler, isinstance(scheduler, _BY_BATCH))
