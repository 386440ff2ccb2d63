"""One update for the runs of a stack that have the same kind of optimizer.

torch's optimizers that treat every element alike move a weight by their learning rate times what
its gradients say. So one optimizer of the kind, at a rate of 1, finds that for k runs in one pass,
and a column of the runs' own rates weighs it: the kernels of one step instead of those of k. A
multi-tensor kernel gives a block 65,536 elements, so that on a GPU one run's row leaves most of it
idle. The arithmetic is torch's, but for one more rounding.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, optim
from torch.optim import Optimizer

from optsweep.optim.optimizers import ScratchSGD
from optsweep.optim.rmsprop import OnePassRMSprop
from optsweep.optim.torch_internals import may_step_uncaptured, steps_by_another, without_wrappers

# torch's optimizers whose movement is in proportion to the rate and, weight decay aside, blind to
# the weight itself. Rprop and ASGD are not.
_KINDS = (
    *(optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, OnePassRMSprop, optim.Adagrad),
    *(optim.Adadelta, optim.Adamax, optim.NAdam, optim.RAdam),
)
# Weights of a run up to which this paid on a CPU, by `experiments/benchmark.py stack`: beyond it
# the two more passes over what has left the cache cost as much as the calls that they save.
_PAYS_ON_CPU = 50_000
# What each run has for itself.
_OWN = ("lr", "weight_decay")


class Stepping(Protocol):
    """What takes the step of one run, or of several."""

    def step(self) -> Any:
        """Moves the weights against their gradients."""


def joined(
    optimizers: Sequence[Optimizer], clips: Sequence[float | None], flat: Tensor
) -> list[Stepping]:
    """What steps the runs of a stack: those of one kind together, all others by themselves.

    `flat`, `[K, P]`, holds all weights, and its gradient theirs; `clips` are the norms to which
    the optimizers clip gradients.
    """
    assert flat.grad is not None
    kinds: dict[str, list[int]] = {}
    for place, (own, clip) in enumerate(zip(optimizers, clips, strict=True)):
        kinds.setdefault(_kind(own, clip, flat) or f"run {place}", []).append(place)
    steps: list[Stepping] = []
    for first, *others in itertools.chain.from_iterable(map(_evenly_spaced, kinds.values())):
        if others:
            rows = slice(first, others[-1] + 1, others[0] - first)
            weights, gradients = flat.detach()[rows], flat.grad[rows]
            steps.append(JointStep(optimizers[rows], weights, gradients, clips[first]))
        else:
            steps.append(optimizers[first])
    return steps


def _evenly_spaced(places: Sequence[int]) -> list[list[int]]:
    """Places in parts whose distances are equal: rows of a buffer that are one view."""
    parts: list[list[int]] = []
    for place in places:
        last = parts[-1] if parts else []
        if last and (len(last) == 1 or place - last[-1] == last[1] - last[0]):
            last.append(place)
        else:
            parts.append([place])
    return parts


def _kind(optimizer: Optimizer, clip: float | None, flat: Tensor) -> str:
    """What runs that step together agree in, as a text; empty for one that steps by itself."""
    groups = optimizer.param_groups
    if len(groups) != 1 or [each.shape for each in groups[0]["params"]] != [flat.shape[1:]]:
        return ""
    is_short = flat.device.type != "cpu" or flat.shape[1] <= _PAYS_ON_CPU
    moves = type(optimizer) in _KINDS and is_short and not groups[0].get("differentiable")
    return f"{type(optimizer)} {clip} {_common(optimizer)}" * (moves or _descends(optimizer))


def _descends(optimizer: Optimizer) -> bool:
    """Whether a step is the gradient times the rate."""
    if type(optimizer) is ScratchSGD:
        return True
    return type(optimizer) is optim.SGD and not optimizer.param_groups[0]["momentum"]


def _common(optimizer: Optimizer) -> dict[str, Any]:
    """An optimizer's values, but for those that each run has for itself."""
    (group,) = optimizer.param_groups
    return {name: group[name] for name in optimizer.defaults if name not in _OWN}


class JointStep:
    """The step of k runs whose optimizers are of one kind.

    The runs' own optimizers keep their values, which schedules change, and hold rows of the common
    state: each is saved, and continues alone, as if it had taken its steps itself. Where they come
    to differ in more than rate and decay, each takes its steps itself from there.
    """

    def __init__(
        self, runs: Sequence[Optimizer], weights: Tensor, gradients: Tensor, clip: float | None
    ) -> None:
        """`weights` and `gradients`, `[k, P]`, are views of the stack's."""
        self._runs, self._weights, self._gradients, self._clip = runs, weights, gradients, clip
        self._finder: Optimizer | None = None
        if not _descends(runs[0]):
            self._movement = torch.zeros_like(weights, memory_format=torch.contiguous_format)
            self._together = self._movement.grad = gradients.contiguous()
            kind: Any = type(runs[0])
            self._finder = without_wrappers(kind([self._movement], lr=1.0))
            may_step_uncaptured(self._finder)
        self._groups: list[Any] = [None] * len(runs)  # the runs', as they were last seen
        self._values: list[dict[str, Any]] = []  # those in them likewise
        self._is_apart = self._gave_states = False
        for own in runs:
            steps_by_another(own)

    @torch.no_grad()
    def step(self) -> None:
        """Moves all runs' weights against their gradients."""
        if any(
            own.param_groups is not seen for own, seen in zip(self._runs, self._groups, strict=True)
        ):
            self._take_states()
        if [group for (group,) in self._groups] != self._values:
            self._read_values()
        if self._is_apart:
            for own in self._runs:
                own.step()
            return
        if self._clip is not None:  # as torch's clip_grad_norm_
            norms = torch.linalg.vector_norm(self._gradients, dim=1, keepdim=True)
            self._gradients.mul_((self._clip / (norms + 1e-6)).clamp_(max=1.0))
        if self._decays is not None:
            self._decay(self._decays)
        self._move()

    def _move(self) -> None:
        if self._finder is None:
            sign = 1.0 if self._common.get("maximize") else -1.0
            self._weights.addcmul_(self._gradients, self._rates, value=sign)
            return
        self._movement.zero_()
        if self._together is not self._gradients:  # rows lie apart, as fused kernels take none
            self._together.copy_(self._gradients)
        self._finder.step()
        self._weights.addcmul_(self._movement, self._rates)
        if not self._gave_states:
            self._give_states(self._finder.state[self._movement])

    def _decay(self, decays: Tensor) -> None:
        """Weight decay: a part of the gradients or, where the kind has it so, apart from them."""
        if self._common.get("decoupled_weight_decay"):
            self._weights.mul_(1 - self._rates * decays)
        else:  # an optimizer that maximizes turns its gradients round
            sign = -1.0 if self._common.get("maximize") else 1.0
            self._gradients.addcmul_(self._weights, decays, value=sign)

    def _read_values(self) -> None:
        """Follows what schedules have changed, or a checkpoint has brought."""
        groups = [group for (group,) in self._groups]
        self._common, *others = map(_common, self._runs)
        if any(other != self._common for other in others):
            self._part()
        if self._finder is not None:
            self._finder.param_groups[0] |= self._common
        self._rates = self._column([group["lr"] for group in groups])
        if isinstance(groups[0]["lr"], Tensor):  # where a captured step reads it, a schedule writes
            for group, rate in zip(groups, self._rates[:, 0], strict=True):
                group["lr"] = rate
        decays = [group.get("weight_decay", 0.0) for group in groups]
        self._decays = self._column(decays) if any(decays) else None
        self._values = [dict(group) for group in groups]

    def _column(self, values: Sequence[Any]) -> Tensor:
        """A value for each run, `[k, 1]`."""
        if isinstance(values[0], Tensor):
            return torch.stack(list(values)).to(self._weights.dtype).unsqueeze(1)
        return self._weights.new_tensor(values).unsqueeze(1)

    def _take_states(self) -> None:
        """Makes the runs' states one: what they began with, or what a checkpoint has brought."""
        self._groups, self._values = [own.param_groups for own in self._runs], []
        if self._finder is None or self._is_apart:
            return
        states = [own.state[self._row(own)] for own in self._runs]
        common = {}
        for name in states[0]:
            values = [state.get(name) for state in states]
            if not _joinable(values):
                self._part()
                return
            common[name] = torch.stack(values) if values[0].ndim else values[0].clone()
        self._finder.state[self._movement] = common
        self._gave_states = False
        if common:
            self._give_states(common)

    def _give_states(self, common: dict[str, Tensor]) -> None:
        """Gives each run its row of the common state, and the count of steps, which is common."""
        for place, own in enumerate(self._runs):
            own.state[self._row(own)] = {
                name: value[place] if value.ndim else value for name, value in common.items()
            }
        self._gave_states = True

    def _part(self) -> None:
        """Lets each run take its steps itself, with a count of its own."""
        self._is_apart = True
        for own in self._runs:
            state = own.state[self._row(own)]
            state |= {name: value if value.ndim else value.clone() for name, value in state.items()}

    @staticmethod
    def _row(own: Optimizer) -> Tensor:
        """A run's weights, `[P]`, as its optimizer has them."""
        weights: Tensor = own.param_groups[0]["params"][0]
        return weights


def _joinable(values: Sequence[Any]) -> bool:
    """Whether values that runs have of a state can be one: rows of one length, or one count."""
    if not all(isinstance(value, Tensor) and value.shape == values[0].shape for value in values):
        return False
    return values[0].ndim > 0 or all(value == values[0] for value in values)
