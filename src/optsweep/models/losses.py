"""The loss group: outputs and labels -> one loss for each sample.

A loss maps outputs `[..., B, classes]` and int64 labels `[..., B]` to float32 `[..., B]`. The
loop takes the mean over B, so that one function serves a run alone and many runs at once. torch's
own are given the classes as its second dimension: of K runs with few of them that is quicker by far
than as the last, 25 us and not 130 for 12 runs of 64 samples.
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from optsweep.config.instantiate import check_fits, contract, resolve
from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.models.build import gives
from optsweep.system.exceptions import reason

Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(settings: Settings, classes: int | None = None) -> Loss:
    """The settings' loss, with its arguments bound; tried on two samples where `classes` is given.

    Raises:
        SettingsError: an argument is unknown or refused, the loss is not one for each sample, or
            it takes probabilities where the model gives logits, or the other way round.
    """
    target = resolve("loss", settings.loss)
    if isinstance(target, type):
        raise SettingsError(
            f"loss={settings.loss.name}: {settings.loss.target} is a class; needed is "
            f"{contract('loss')}, such as torch.nn.functional.cross_entropy with reduction: none"
        )
    check_fits("loss", settings.loss, target, None, None)
    has, wants = gives(settings.model), getattr(target, "takes", "logits")
    if wants not in (has, "anything"):
        fitting = "scratch_cross_entropy" if has == "probabilities" else "cross_entropy, nll"
        raise SettingsError(
            f"loss={settings.loss.name} takes {wants}, but model={settings.model.name} gives "
            f"{has}; type loss={fitting.partition(',')[0]} (allowed: {fitting}, mse)"
        )
    loss = functools.partial(target, **settings.loss.arguments)
    if classes is not None:
        _try(loss, settings.loss, classes)
    return loss


def _try(loss: Loss, option: Option, classes: int) -> None:
    """Tries the loss on two samples whose outputs are alike for all classes."""
    outputs = torch.full((2, classes), 1 / classes, requires_grad=True)
    name = f"loss={option.name}: {option.target}"
    try:
        losses = loss(outputs, torch.tensor([0, classes - 1]))
    except Exception as error:  # whatever a loss of somebody's own raises
        why = reason(error)
        raise SettingsError(f"{name} fails ({why}); needed is {contract('loss')}") from error
    if not isinstance(losses, Tensor):
        raise SettingsError(
            f"{name} gives a {type(losses).__name__} for 2 samples; needed is a tensor [2], one "
            "loss for each sample"
        )
    if tuple(losses.shape) != (2,):
        raise SettingsError(
            f"{name} gives {list(losses.shape)} for 2 samples; needed is "
            "[2], one loss for each sample (torch's own functions: reduction: none)"
        )
    if not losses.isfinite().all():
        raise SettingsError(
            f"{name} gives {losses.tolist()} where all outputs are {1 / classes:g}; needed are "
            "finite losses"
        )
    _check_gradient(losses, outputs, name)


def _check_gradient(losses: Tensor, outputs: Tensor, name: str) -> None:
    """Refuses a loss from which no gradient leads back to the outputs.

    Raises:
        SettingsError: torch cannot differentiate it, or it does not depend on the outputs.
    """
    try:
        losses.sum().backward()
        why = "it does not depend on the outputs"
    except RuntimeError as error:
        why = reason(error)
    if outputs.grad is None:
        raise SettingsError(
            f"{name} gives no gradient ({why}); needed is a loss in torch's own operations on the "
            "outputs, without detach(), item() or numpy()"
        )


def cross_entropy(outputs: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Minus the log-softmax of the true class's logit.

    Args:
        outputs: logits, float32 `[..., B, classes]`.
        labels: the true classes, int64 `[..., B]`.
        label_smoothing: the share of the target that all classes get alike, from 0 to 1.

    Returns:
        A loss for each sample, float32 `[..., B]`.
    """
    return F.cross_entropy(
        outputs.movedim(-1, 1), labels, reduction="none", label_smoothing=label_smoothing
    )


def nll(outputs: Tensor, labels: Tensor) -> Tensor:
    """The negative log-likelihood on the log-softmax of the logits, in two steps."""
    return F.nll_loss(F.log_softmax(outputs.movedim(-1, 1), dim=1), labels, reduction="none")


def mse(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes of the squared distance to the one-hot target."""
    target = F.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
    return (outputs - target).square().mean(dim=-1)


def scratch_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Minus the logarithm of the probability given to the true class, written out.

    Args:
        outputs: probabilities, float32 `[..., B, classes]`.
        labels: the true classes, int64 `[..., B]`.

    Returns:
        A loss for each sample, float32 `[..., B]`; infinite where the probability is 0.
    """
    chosen = outputs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -torch.log(chosen)


mse.takes = "anything"  # type: ignore[attr-defined]  # a function's own attribute, read by build
scratch_cross_entropy.takes = "probabilities"  # type: ignore[attr-defined]
