"""Whether a model learns at all: one batch forward and back, before anything is trained."""

import logging

from torch import Tensor, nn

from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from optsweep.models.losses import Loss
from optsweep.system.exceptions import reason

log = logging.getLogger(__name__)

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_NAMED = 4  # parameters that a line names; the others are counted


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a layer of the model needs several samples to train."""
    return any(isinstance(module, _BATCH_NORMS) for module in model.modules())


def check_gradients(
    settings: Settings, model: nn.Module, loss: Loss, images: Tensor, labels: Tensor
) -> None:
    """Takes a batch forward and back, as a run would; a gradient must reach the parameters.

    Args:
        settings: the run's; the lines name its options.
        model: the model, which is spent: it has gradients afterwards.
        loss: the loss.
        images: training images as the model gets them, float32 `[B, C, H, W]`.
        labels: their classes, int64 `[B]`.

    Raises:
        SettingsError: the pass fails, gives what is not finite, or no gradient.
    """
    name = f"model={settings.model.name}"
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise SettingsError(
            f"{name} has no parameters to train: {_count(model)} are frozen (requires_grad=False)"
        )
    outputs = _forward(name, model, images)
    if not outputs.isfinite().all():
        raise SettingsError(
            f"{name} gives outputs that are not finite for {len(images)} training images before "
            "it is trained; look at its initial weights and divisions"
        )
    try:
        loss(outputs, labels).mean().backward()
    except Exception as error:  # whatever the backward pass of somebody's own layer raises
        raise SettingsError(
            f"{name} loss={settings.loss.name}: no gradient reaches the parameters "
            f"({reason(error)}); needed is a forward pass in torch's own operations, without "
            "detach(), no_grad() or numpy()"
        ) from error
    unused = [key for key, p in trained.items() if p.grad is None]
    if len(unused) == len(trained):
        raise SettingsError(f"{name}: no gradient reaches any of its parameters, {_some(unused)}")
    if unused:
        log.warning(
            "%s: no gradient reaches %s; they stay as they are, and the others are trained",
            *(name, _some(unused)),
        )


def _forward(name: str, model: nn.Module, images: Tensor) -> Tensor:
    try:
        outputs: Tensor = model.train()(images)
    except Exception as error:  # whatever a model of somebody's own raises
        if len(images) == 1 and has_batch_norm(model):
            raise SettingsError(
                f"{name} normalises over a batch, which one sample is too few for; type "
                "batch_size=2 or more, and train on two samples or more"
            ) from error
        raise SettingsError(
            f"{name} fails on {len(images)} training images in training mode, though not in "
            f"evaluation mode ({reason(error)})"
        ) from error
    return outputs


def _count(model: nn.Module) -> str:
    return f"all {sum(1 for _ in model.parameters())}"


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
