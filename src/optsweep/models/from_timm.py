"""Models of the library timm by their names, fitted to a dataset's images and class count."""

import difflib
import os
from typing import Any

from torch import nn

from optsweep.errors import SettingsError
from optsweep.system.exceptions import first_line

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # as the hub names files of them


def timm_model(
    input_shape: tuple[int, int, int],
    classes: int,
    name: str = "resnet10t",
    pretrained: bool = False,
    **keywords: Any,
) -> nn.Module:
    """timm's model `name` for images of this shape and so many classes.

    Args:
        input_shape: channels, height and width of an image.
        classes: how many outputs to give.
        name: one of `timm.list_models()`.
        pretrained: start from the weights that its authors published, but for the last layer.
        keywords: what else `timm.create_model` takes, such as `drop_rate`.

    Raises:
        SettingsError: timm is missing or has no such model, or the weights are out of reach.
    """
    try:
        import timm
    except ModuleNotFoundError:
        raise SettingsError("model=timm needs timm; type pip install 'optsweep[timm]'") from None
    if not timm.is_model(name):
        raise SettingsError(f"model.name={name}: timm has no such model; {_near(name)}")
    channels, *size = input_shape
    known = timm.get_pretrained_cfg(name)
    if known is not None and known.fixed_input_size:  # of a transformer: its positions are counted
        keywords = {"img_size": tuple(size), **keywords}
    given = {"in_chans": channels, "num_classes": classes, **keywords}
    if not pretrained:
        model: nn.Module = timm.create_model(name, pretrained=False, **given)
        return model
    try:
        _ask_for(known.hf_hub_id if known is not None else None)
        learned: nn.Module = timm.create_model(name, pretrained=True, **given)
    except Exception as error:  # of the network, of the hub and of the file: one for each
        raise SettingsError(
            f"model.pretrained=true: the weights of {name} cannot be had ({first_line(error)}); "
            "type model.pretrained=false, or try again where huggingface.co is in reach"
        ) from error
    return learned


def _ask_for(repository: str | None) -> None:
    """Asks the hub for weights that are not here yet: by itself it is asked 12 times, for 50 s.

    Raises:
        OSError: it does not answer.
    """
    if repository is None:
        return
    import huggingface_hub

    if any(huggingface_hub.try_to_load_from_cache(repository, file) for file in _WEIGHTS):
        return
    import requests

    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    requests.head(f"{hub}/{repository}", timeout=10)


def _near(name: str) -> str:
    """What to type instead of a name that timm does not have."""
    import timm

    known = timm.list_models()
    names = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or timm.list_models(f"*{name}*")
    if not names:
        return "type model.name=resnet10t, or one of timm.list_models()"
    return f"type model.name={names[0]}" + (f" (near: {', '.join(names[:3])})" * (len(names) > 1))
