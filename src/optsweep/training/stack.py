"""What the core loop is given: a stack of runs, with its weights and gradients."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from optsweep.data.dataset import Dataset
from optsweep.models.losses import Loss
from optsweep.optim.schedules import Schedule
from optsweep.training.stacked_model import StackedModel

Slices = Iterable[slice]  # of the samples in their order: a batch each


@dataclass(frozen=True)
class Stack:
    """K runs that are trained together: one module, one loss, an optimizer and schedule each.

    `captured`, where there is one, does what `train_step` does, quicker.
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    schedules: Sequence[Schedule]
    loss: Loss
    seeds: Sequence[int]
    captured: "TrainStep | None" = None

    @functools.cached_property
    def weights(self) -> Sequence[Tensor]:
        """What gradients are kept for: one buffer where all weights lie in it."""
        if isinstance(self.model, StackedModel):
            return [self.model.flat]
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        return [parameter for group in groups for parameter in group["params"]]

    @functools.cached_property
    def _are_the_models(self) -> bool:
        """Whether `weights` are the model's own parameters, not a buffer that they are views of."""
        own = set(map(id, self.model.parameters()))
        return not isinstance(self.model, StackedModel) and all(
            id(each) in own for each in self.weights
        )

    def clear_gradients(self) -> None:
        """Forgets the gradients of the last step.

        Those of a buffer stay in place, as views point there: as `zero_grad(set_to_none=False)`,
        30 us faster. Others are made anew, which spares large ones from being added to zeros.
        """
        anew = self._are_the_models
        for weights in self.weights:
            if anew:
                weights.grad = None
            elif weights.grad is not None:
                weights.grad.zero_()


TrainStep = Callable[[Stack, Dataset, Tensor, Tensor], tuple[Tensor, Tensor]]
