"""Which runs are trained together: the runs of a sweep, grouped into stacks.

Runs that agree in all that shapes the computation can be one program; they may differ in
optimizer, learning rate, schedule and seed. Whether that pays depends on the device: a small model
leaves nearly all of a GPU idle, while on a CPU it is the time between two small kernels that a
stack saves, and nothing else.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from optsweep.config.instantiate import accepts, resolve
from optsweep.config.launchers import Launch
from optsweep.config.settings import Option, Settings
from optsweep.data.dataset import load_dataset
from optsweep.models.build import build_model, weigh
from optsweep.models.perceptrons import layers_of
from optsweep.runs.job import Job
from optsweep.runs.preflight import why_alone, why_not_stacked
from optsweep.sweep.scheduler import Group
from optsweep.training import checkpoint

log = logging.getLogger(__name__)

# Weights of a run up to which a stack paid on a CPU, by `experiments/benchmark.py stack`: beyond
# it, K sets of weights fall out of the processor's cache, which one set stays in. Of perceptrons,
# whose layers are written out, 85,000 took 0.7 of the time and 200,000 as long as alone.
_PAYS_ON_CPU = 30_000
_PAYS_WRITTEN_OUT = 100_000
_MOST = 256  # runs in a stack; more of them fill no GPU any better
_SHARE = 0.7  # of a GPU's free memory that a stack may be estimated to take
_ANY = Option("any", "any", {})


@dataclass(frozen=True)
class StackPlan:
    """The groups in which a sweep's runs are trained, and remarks on them for the user."""

    groups: Sequence[Group]
    remarks: Sequence[str]

    def __str__(self) -> str:
        stacks = [len(group) for group in self.groups if len(group) > 1]
        alone = len(self.groups) - len(stacks)
        words = [f"{_many(stacks.count(size), 'stack')} of {size}" for size in sorted(set(stacks))]
        words += [f"{_many(alone, 'run')} alone"] if alone else []
        return "; ".join([", ".join(words), *self.remarks])


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def plan_stacks(
    jobs: Sequence[Job], todo: Sequence[int], launch: Launch, workers: int
) -> StackPlan:
    """Groups the jobs at the places `todo`, for so many workers.

    Runs that were in a stack when they were interrupted stay together; one that ran alone stays
    alone.
    """
    alike: dict[str, list[int]] = {}
    for place in todo:
        alike.setdefault(_agreement(jobs[place]), []).append(place)
    groups: list[Group] = []
    remarks: dict[str, None] = {}
    # All workers get their share; those who wait for a stack to end would train nothing.
    fair = math.ceil(len(todo) / max(1, workers))
    allowed = max(1, launch.at_once // max(1, workers)) if launch.at_once else len(todo)
    for places in alike.values():
        first = jobs[places[0]]
        was_stack = (
            first.run_id is not None
            and checkpoint.stack_of(first.folder, first.fingerprint) is not None
        )
        most = len(places) if was_stack else min(len(places), fair, allowed)
        size, remark = _size(first, min(len(places), allowed), most, launch, workers)
        if remark:
            remarks[remark] = None
        groups += [tuple(places[at : at + size]) for at in range(0, len(places), size)]
    return StackPlan(sorted(groups), list(remarks))


def _agreement(job: Job) -> str:
    """What runs of one stack agree in, as a text: equal texts, one program."""
    settings = job.settings
    common: dict[str, Any] = {"lr": 0.0, "seed": 0, "preset": None}
    common |= {"clip_norm": None, "no_decay": False}
    shaping = replace(settings, optimizer=_ANY, schedule=_ANY, **common)
    if (job.folder / checkpoint.CHECKPOINT).exists() and job.run_id:
        return f"alone: {job.folder}"
    # An optimizer that no CUDA graph can capture would keep its whole stack from being captured.
    graph = settings.device.startswith("cuda") and _may_be_captured(settings.optimizer)
    stack = checkpoint.stack_of(job.folder, job.fingerprint) if job.run_id else None
    return f"{shaping!r} {graph} {stack} {why_alone(settings)}"


def _may_be_captured(optimizer: Option) -> bool:
    target = resolve("optimizer", optimizer)
    return target is torch.optim.SGD or accepts(target, "capturable")


def _size(job: Job, runs: int, most: int, launch: Launch, workers: int) -> tuple[int, str]:
    """How many of `runs` runs like this one make a stack, and why none do, where that was asked.

    Where nobody gave a size, they are no more than `most`.
    """
    if runs == 1 or launch.stack == 1 or (launch.stack is None and not _may_pay(job, workers)):
        return 1, ""
    if remark := _why_individually(job.settings):
        log.debug(remark)
        return 1, remark if launch.stack else ""
    if launch.stack is not None:
        return min(launch.stack, runs), ""
    if job.settings.device.startswith("cuda"):
        return max(1, min(most, _MOST, _fitting(job.settings))), ""
    return min(most, _MOST), ""


def _why_individually(settings: Settings) -> str:
    """Why a run's optimizer or model has to be trained alone; empty where it need not."""
    if reason := why_alone(settings):
        return f"optimizer={settings.optimizer.name} trains runs individually: {reason}"
    if reason := why_not_stacked(settings):
        return (
            f"model={settings.model.name} is not stackable: training runs individually ({reason})"
        )
    return ""


def _may_pay(job: Job, workers: int) -> bool:
    """Whether stacks of this model are worth their while where nobody asked for a size."""
    if job.settings.device.startswith("cuda"):
        return workers > 0
    if job.settings.device != "cpu" or workers == 0:
        return False
    model = _model(job.settings)
    weights = [parameter.shape for parameter in model.parameters()]
    is_plain = all(len(shape) <= 2 for shape in weights)  # convolutions gain nothing
    written_out = job.settings.precision != "bf16" and layers_of(
        model, dict(model.named_parameters())
    )
    limit = _PAYS_WRITTEN_OUT if written_out else _PAYS_ON_CPU
    return is_plain and sum(map(math.prod, weights)) <= limit


def _model(settings: Settings) -> torch.nn.Module:
    data = load_dataset(settings)
    return build_model(settings, data.input_shape, len(data.classes))


def _fitting(settings: Settings) -> int:
    """How many runs a GPU's free memory is estimated to hold.

    A run takes its weights five times (themselves, gradients, two values of Adam and what it moves
    them by), once more where earlier ones are kept, and what its layers keep of a batch for the way
    back, twice.
    """
    free, _ = torch.cuda.mem_get_info(settings.device)
    data = load_dataset(settings)
    network = _model(settings)
    per_sample = (kept_by(network, data.input_shape, 4) - kept_by(network, data.input_shape, 2)) / 2
    sets = 6 if settings.select == "best" or settings.patience else 5
    run = sets * weigh(network) + 2 * settings.batch_size * per_sample
    return int(_SHARE * (free - data.train.pool.numel()) / run)


def kept_by(network: torch.nn.Module, shape: Sequence[int], samples: int) -> int:
    """Bytes that a forward pass of so many samples keeps for the way back."""
    kept = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with saved_tensors_hooks(count, lambda tensor: tensor):
        network(torch.zeros(samples, *shape))
    return kept
