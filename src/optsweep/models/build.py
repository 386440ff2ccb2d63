"""Builds the settings' model and checks that it fits the dataset."""

import torch
from torch import nn

from optsweep.config.instantiate import call, resolve
from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.system.exceptions import first_line


def build_model(settings: Settings, input_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The settings' model with initial weights drawn from `settings.seed` alone.

    Raises:
        SettingsError: the model cannot take these images, or an argument cannot be used.
    """
    target = resolve("model", settings.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = call("model", settings.model, target, input_shape, classes)
    if not isinstance(model, nn.Module):
        raise SettingsError(f"model={settings.model.name}: {target} must build a torch.nn.Module")
    check_fit(model, settings, input_shape, classes)
    return model


def check_fit(
    model: nn.Module, settings: Settings, input_shape: tuple[int, int, int], classes: int
) -> None:
    """Tries the model on two blank images: it must give one output for each class.

    Raises:
        SettingsError: the forward pass fails, or gives another shape than `[2, classes]`.
    """
    size = "x".join(map(str, input_shape))
    name, dataset = settings.model.name, settings.dataset.name
    training = model.training
    try:
        with torch.no_grad():
            shape = tuple(model.eval()(torch.zeros(2, *input_shape)).shape)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = first_line(error)
        raise SettingsError(
            f"model={name} cannot take {dataset}'s images of {size} pixels ({reason}); "
            "type another model or dataset.resize=32"
        ) from error
    finally:
        model.train(training)
    if shape != (2, classes):
        raise SettingsError(
            f"model={name} gives outputs {list(shape)} for 2 of {dataset}'s images; "
            f"needed are [2, {classes}], one for each class"
        )


def weigh(model: nn.Module) -> int:
    """Bytes that the model's parameters and buffers take."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def gives(model: Option) -> str:
    """What the option's model puts out: "logits" or "probabilities"."""
    return str(getattr(resolve("model", model), "gives", "logits"))
