"""What the core loop is given: a stack of runs, with its weights and gradients."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optsweep.data.dataset import Dataset
from optsweep.models.losses import Loss
from optsweep.models.trial_batch import has_batch_norm
from optsweep.optim.joint_step import Stepping
from optsweep.optim.routing import set_mode
from optsweep.optim.schedules import Schedule
from optsweep.optim.subnormals import may_be_zero
from optsweep.training.convolutions import PLAIN, Convolutions
from optsweep.training.stacked_model import StackedModel

Slices = Iterable[slice]  # of the samples in their order: a batch each
Weights = dict[str, Tensor]  # a run's parameters and buffers under its model's own names


@dataclass(frozen=True)
class Stack:
    """K runs that are trained together: one module, one loss, an optimizer and schedule each.

    `steps`, where there are some, take the optimizers' steps, several at once. `captured`, where
    there is one, does what `train_step` does, quicker. `kept` holds, of runs whose last weights may
    not be those that count, the weights that do, and after which epoch a run had them.
    `convolutions` says how images are laid out for the model.
    """

    model: nn.Module
    optimizers: Sequence[Optimizer]
    schedules: Sequence[Schedule]
    loss: Loss
    seeds: Sequence[int]
    steps: Sequence[Stepping] = ()
    captured: "TrainStep | None" = None
    kept: dict[int, tuple[int, Weights]] = field(default_factory=dict)
    convolutions: Convolutions = PLAIN

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

    @functools.cached_property
    def has_batch_norm(self) -> bool:
        """Whether a layer of the models normalises over a batch."""
        kind = self.model.kind if isinstance(self.model, StackedModel) else self.model
        return has_batch_norm(kind)

    @functools.cached_property
    def _ignores_subnormals(self) -> bool:
        return may_be_zero(self.optimizers)

    def step(self) -> None:
        """Moves the weights of all runs against their gradients."""
        if self._ignores_subnormals:
            torch.set_flush_denormal(True)
        try:
            for each in self.steps or self.optimizers:
                each.step()
        finally:
            if self._ignores_subnormals:
                torch.set_flush_denormal(False)

    def outputs(self, images: Tensor) -> Tensor:
        """What the models give for images `[B, C, H, W]`, or `[K, B, C, H, W]`."""
        given: Tensor = self.model(self.convolutions.laid_out(images))
        return given

    def weights_of(self, run: int) -> Weights:
        """A run's weights and buffers as they are now; views."""
        if isinstance(self.model, StackedModel):
            return self.model.state_of(run)
        return self.model.state_dict()

    def load_weights(self, run: int, weights: Weights) -> None:
        """Puts a run's weights and buffers in place.

        Raises:
            RuntimeError: they are of another model.
        """
        if isinstance(self.model, StackedModel):
            self.model.load_run(run, weights)
        else:
            self.model.load_state_dict(weights)

    def keep(self, run: int, epoch: int) -> None:
        """Keeps a run's weights as they are now, after `epoch`, however it is trained further."""
        now = self.weights_of(run)
        self.kept[run] = epoch, {name: tensor.clone() for name, tensor in now.items()}

    def put_back(self) -> None:
        """Gives each run the weights that were kept of it, where there are some."""
        self.eval()  # the weights that were kept need no turning into those to be evaluated
        for run, (_, weights) in self.kept.items():
            self.load_weights(run, weights)

    def train(self) -> None:
        """Readies model and optimizers to train."""
        self._set_mode(training=True)

    def eval(self) -> None:
        """Readies model and optimizers to be evaluated, and the weights to be kept."""
        self._set_mode(training=False)

    # What an optimizer makes here is used outside of inference, too.
    @torch.inference_mode(False)
    @torch.no_grad()
    def _set_mode(self, training: bool) -> None:
        self.model.train(training)
        for optimizer in self.optimizers:
            set_mode(optimizer, training=training)

    def clear_gradients(self) -> None:
        """Forgets the gradients of the last step.

        Those of a buffer stay in place, as views point there: as `zero_grad(set_to_none=False)`,
        30 us faster. Others are made anew, which spares large ones from being added to zeros.
        """
        if isinstance(self.model, StackedModel) and self.model.overwrites_gradients:
            return
        anew = self._are_the_models
        for weights in self.weights:
            if anew:
                weights.grad = None
            elif weights.grad is not None:
                weights.grad.zero_()


TrainStep = Callable[[Stack, Dataset, Tensor, Tensor], tuple[Tensor, Tensor]]
