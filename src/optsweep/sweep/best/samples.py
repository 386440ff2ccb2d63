"""What a model is to predict: pictures that are given, or samples of the model's own dataset."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from optsweep.data.dataset import description, read_dataset
from optsweep.data.decoding.given import find
from optsweep.data.source import skipped_words
from optsweep.models.trained_model import TrainedModel
from optsweep.report.predictions import MOST_PICTURES
from optsweep.system import project_folder


@dataclass
class Samples:
    """Images with names, and their true classes as far as these are known.

    `images` gives them some at a time, uint8 `[N, C, H, W]`, of which `peak` is white. `about` says
    in lines what they are. `first` are the first of them, once `scaled` has given them.
    """

    names: Sequence[str]
    true: Sequence[str | None]
    images: Callable[[], Iterator[Tensor]]
    peak: int
    about: Sequence[str]
    first: Tensor = field(default_factory=lambda: torch.empty(0))

    def scaled(self) -> Iterator[Tensor]:
        """The images as floats in [0, 1], some at a time."""
        kept: list[Tensor] = []
        for images in self.images():
            if not kept:
                kept.append(images[:MOST_PICTURES])
                self.first = kept[0]
            yield images / self.peak


def given_samples(typed: str, model: TrainedModel) -> Samples:
    """The pictures of a folder, a file or a pattern, in the shape that the model takes.

    Raises:
        DatasetError: there are none, or some cannot be read.
    """
    found = find(typed)
    skipped = skipped_words(found.skipped)
    return Samples(
        names=found.names,
        true=found.true_classes(model.classes),
        images=lambda: found.decoded(model.input_shape),
        peak=255,
        about=[skipped] if skipped else [],
    )


def own_samples(model: TrainedModel) -> Samples:
    """The samples that judged the model: those of test, or of validation where there is no test.

    Raises:
        OptsweepError: the dataset cannot be read.
    """
    spec = model.spec
    if not spec.data_dir.is_dir():  # that of another machine
        spec = replace(spec, data_dir=project_folder.folder() / "data")
    data = read_dataset(spec)
    split = data.judging
    part = "test" if split is data.test else "val"
    return Samples(
        names=[f"{part} {number}" for number in range(len(split.labels))],
        true=[data.classes[label] for label in split.labels.tolist()],
        images=lambda: split.pieces(256),
        peak=data.peak,
        about=[description(data)],
    )
