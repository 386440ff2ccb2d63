"""Builds the settings' model and checks that it fits the dataset."""

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from optsweep.config.instantiate import call, contract, resolve
from optsweep.config.settings import Option, Settings
from optsweep.errors import SettingsError
from optsweep.system.exceptions import reason


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
        raise SettingsError(
            f"model={settings.model.name}: {settings.model.target} must build a torch.nn.Module, "
            f"not a {type(model).__name__}; needed is {contract('model')}"
        )
    check_fit(model, settings, input_shape, classes)
    return model


def check_fit(
    model: nn.Module, settings: Settings, input_shape: tuple[int, int, int], classes: int
) -> None:
    """Tries the model on two blank images: it must give one output for each class.

    Raises:
        SettingsError: the forward pass fails, or gives something else than floats `[2, classes]`.
    """
    size = "x".join(map(str, input_shape))
    name, dataset = settings.model.name, settings.dataset.name
    _check_forward(model, name)
    training = model.training
    try:
        with torch.no_grad():
            outputs = model.eval()(torch.zeros(2, *input_shape))
    except Exception as error:  # whatever a model of somebody's own raises
        instead = "; type another model or dataset.resize=32" if _is_of_size(error) else ""
        raise SettingsError(
            f"model={name} cannot take {dataset}'s images of {size} pixels ({reason(error)})"
            f"{instead}"
        ) from error
    finally:
        model.train(training)
    if not isinstance(outputs, Tensor):
        raise SettingsError(
            f"model={name} gives a {type(outputs).__name__}{_held(outputs)} for 2 of {dataset}'s "
            f"images; needed is one tensor [2, {classes}] of floats, an output for each class"
        )
    if tuple(outputs.shape) != (2, classes) or not outputs.is_floating_point():
        raise SettingsError(
            f"model={name} gives outputs {list(outputs.shape)}{_unlike_floats(outputs)} for 2 of "
            f"{dataset}'s images; needed are [2, {classes}], one for each class"
        )


def _check_forward(model: nn.Module, name: str) -> None:
    """Refuses a forward pass that takes more than images, or none.

    Raises:
        SettingsError: it cannot be called with one tensor.
    """
    signature = inspect.signature(model.forward)
    try:
        signature.bind(None)
    except TypeError as misfit:
        raise SettingsError(
            f"model={name}: its forward takes {tuple(signature.parameters)}, which does not fit "
            f"({misfit}); needed is forward(images), float32 [B, C, H, W] -> [B, classes]"
        ) from misfit


def _is_of_size(error: Exception) -> bool:
    """Whether images of another size may be what is needed."""
    return isinstance(error, RuntimeError | ValueError)


def _held(outputs: object) -> str:
    """What a tuple or dict of outputs holds."""
    if isinstance(outputs, Mapping):
        return f" of {', '.join(map(str, outputs))}"
    return f" of {len(outputs)}" if isinstance(outputs, Sequence) else ""


def _unlike_floats(outputs: Tensor) -> str:
    return "" if outputs.is_floating_point() else f" of {outputs.dtype}"


def weigh(model: nn.Module) -> int:
    """Bytes that the model's parameters and buffers take."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def gives(model: Option) -> str:
    """What the option's model puts out: "logits" or "probabilities"."""
    return str(getattr(resolve("model", model), "gives", "logits"))
