"""A trained model that takes pictures as its dataset had them, in one file.

`save` puts all that is needed to use weights into the file that holds them: how the model is built,
the names of its classes, and how pixels are scaled. `load` is given such a file and returns a
`TrainedModel`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from optsweep.config.instantiate import call, resolve
from optsweep.config.settings import Option, Settings
from optsweep.data.dataset import Dataset
from optsweep.errors import ModelError
from optsweep.models.build import gives
from optsweep.system import files
from optsweep.system.exceptions import first_line
from optsweep.system.redaction import redacted

WEIGHTS = "weights.safetensors"
_KEY = "optsweep"  # in the file's own metadata


@dataclass(frozen=True)
class ModelSpec:
    """How a model is built, what it is given and what it gives.

    `peak` is the value of white. `mean` and `std`, one for each channel of pixels in [0, 1], are
    None where pixels are not normalized. `dataset`, `data_dir` and `val_fraction` say where the
    model's own samples are.
    """

    model: Option
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    peak: int
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    dataset: Option
    data_dir: Path
    val_fraction: float

    @classmethod
    def of(cls, settings: Settings, data: Dataset) -> "ModelSpec":
        """That of a run's model."""
        return cls(
            model=_without_secrets(settings.model),
            classes=data.classes,
            input_shape=data.input_shape,
            peak=data.peak,
            mean=None if data.mean is None else tuple(data.mean.flatten().tolist()),
            std=None if data.std is None else tuple(data.std.flatten().tolist()),
            dataset=_without_secrets(settings.dataset),
            data_dir=settings.data_dir,
            val_fraction=settings.val_fraction,
        )

    def to_json(self, indent: int | None = None) -> str:
        """The same as text."""
        return json.dumps(asdict(self), default=str, indent=indent, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """What `to_json` gave.

        Raises:
            ValueError, TypeError, KeyError: the text is none of it.
        """
        found = json.loads(text)
        for name in ("classes", "input_shape", "mean", "std"):
            found[name] = None if found[name] is None else tuple(found[name])
        for name in ("model", "dataset"):
            found[name] = Option(**found[name])
        return cls(**{**found, "data_dir": Path(found["data_dir"])})


def _without_secrets(option: Option) -> Option:
    return replace(option, arguments=redacted(dict(option.arguments)), rates=None)


class TrainedModel(nn.Module):
    """A trained network, in evaluation mode, with the scaling of its dataset inside.

    Attributes:
        classes: the names of the classes, in the order of the outputs.
        input_shape: channels, height and width of an image.
        spec: all that is known of it beside its weights.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, network: nn.Module, spec: ModelSpec, outputs: str = "logits") -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.classes = spec.classes
        self.input_shape = spec.input_shape
        self._outputs = outputs
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            column = None if values is None else torch.tensor(values)[:, None, None]
            self.register_buffer(name, column, persistent=False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Gives float32 logits `[N, classes]`; of one image `[C, H, W]` they are `[classes]`.

        Of a model that gives probabilities they are the logarithms of these.

        Args:
            images: `[N, C, H, W]`, as the dataset had them (uint8, most often from 0 to 255), or
                floats in [0, 1].

        Raises:
            ValueError: they are of another shape.
        """
        if images.ndim == 3:
            logits: Tensor = self(images[None])[0]
            return logits
        if images.ndim != 4 or tuple(images.shape[1:]) != self.input_shape:
            needed = ", ".join(map(str, self.input_shape))
            raise ValueError(f"images are {list(images.shape)}; this model takes [N, {needed}]")
        pixels = images.float() if images.is_floating_point() else images / self.spec.peak
        if self.mean is not None and self.std is not None:
            pixels = (pixels - self.mean) / self.std
        outputs: Tensor = self.network(pixels)
        return outputs.log() if self._outputs == "probabilities" else outputs

    @torch.inference_mode()
    def predict(self, images: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """The most probable class of each image, int64 `[N]`, and how probable it is, float32.

        Args:
            images: as `forward` takes them, some at a time.
        """
        found = [self(some).softmax(dim=-1).max(dim=-1) for some in images]
        return torch.cat([each.indices for each in found]), torch.cat([each[0] for each in found])


def save(
    weights: Mapping[str, Tensor], spec: ModelSpec, path: Path, *, durable: bool = True
) -> None:
    """Writes weights and buffers with all that is needed to use them.

    Raises:
        OSError: the folder does not exist, is full or cannot be written.
    """
    # The parameters are views of one buffer, and safetensors keeps no views.
    whole = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    with files.replacing(path, durable=durable) as unfinished:
        # One key: several come in any order, and equal models are to be equal files.
        save_file(whole, unfinished, metadata={_KEY: spec.to_json()})


def load(path: Path) -> TrainedModel:
    """The model in a file that `save` has written.

    Raises:
        ModelError: the file is missing, damaged, or without what is needed beside weights.
        SettingsError: the code that builds the model cannot be imported, or fails.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            about = (stored.metadata() or {}).get(_KEY)
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read ({first_line(error)})") from error
    if about is None:
        raise ModelError(
            f"{path} has no class names and no scaling: another program or an earlier version "
            "wrote it; type the sweep's line again with resume=true, which writes its best/"
        )
    try:
        spec = ModelSpec.from_json(about)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path} is of another version ({first_line(error)})") from error
    network = _built(spec)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{path} does not fit {spec.model.target}, which has changed since "
            f"({' '.join(str(error).split())[:200]})"
        ) from error
    return TrainedModel(network, spec, gives(spec.model))


def _built(spec: ModelSpec) -> nn.Module:
    """The network with initial weights; none are fetched that would be written over."""
    arguments: dict[str, Any] = dict(spec.model.arguments)
    if arguments.get("pretrained") is True:
        arguments["pretrained"] = False
    option = replace(spec.model, arguments=arguments)
    with torch.random.fork_rng(devices=[]):
        network = call(
            "model", option, resolve("model", option), spec.input_shape, len(spec.classes)
        )
    if not isinstance(network, nn.Module):
        raise ModelError(f"{option.target} builds a {type(network).__name__}; needed is a model")
    return network
