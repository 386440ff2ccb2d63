"""Pictures and labels as people have them: every form gives the same source, or a line."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import v2

from optsweep.data import Split, make_source
from optsweep.errors import DatasetError

COUNT, NAMES = 6, ["cat", "dog"]
LABELS = torch.arange(COUNT) % 2


def pixels(channels: int) -> torch.Tensor:
    """uint8 `[6, channels, 5, 7]`."""
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (COUNT, channels, 5, 7), generator=random, dtype=torch.uint8)


GREY, COLOUR = pixels(1), pixels(3)


class Columns:
    """A dataset with columns, as Hugging Face's are."""

    def __init__(self, images: Any, names: tuple[str, str] = ("image", "label")) -> None:
        self.column_names = ["id", *names]
        self._rows = [
            {"id": n, names[0]: image, names[1]: int(LABELS[n])} for n, image in enumerate(images)
        ]
        self.features = {"id": None, names[0]: None, names[1]: SimpleNamespace(names=NAMES)}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def pictures(images: torch.Tensor) -> list[Image.Image]:
    return [v2.functional.to_pil_image(image) for image in images]


FORMS = {
    "a split": (COLOUR, Split(COLOUR, LABELS)),
    "grey": (GREY, (GREY[:, 0], LABELS)),
    "grey arrays": (GREY, (GREY[:, 0].numpy(), LABELS.numpy())),
    "channels first": (COLOUR, (COLOUR.numpy(), LABELS.tolist())),
    "channels last": (COLOUR, (COLOUR.permute(0, 2, 3, 1).numpy(), LABELS.int())),
    "floats": (COLOUR, (COLOUR / 255, LABELS)),
    "half floats": (GREY, ((GREY / 255).half(), LABELS)),
    "double floats, last": (COLOUR, (COLOUR.permute(0, 2, 3, 1).numpy() / 255.0, LABELS)),
    "large integers": (GREY, (GREY.long(), LABELS.numpy().astype(np.uint16))),
    "a list of arrays": (GREY, (list(GREY[:, 0].numpy()), LABELS)),
    "a list of pictures": (COLOUR, (pictures(COLOUR), LABELS)),
    "pairs": (GREY, list(zip(GREY[:, 0], LABELS.tolist(), strict=True))),
    "a tensor dataset": (COLOUR, TensorDataset(COLOUR, LABELS)),
    "a subset": (COLOUR, Subset(TensorDataset(COLOUR, LABELS), range(COUNT))),
    "columns": (COLOUR, Columns(pictures(COLOUR))),
    "columns of another name": (GREY, Columns(pictures(GREY), ("img", "fine_label"))),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pictures(form: str) -> None:
    images, given = FORMS[form]
    source = make_source(given, Split(images, LABELS), NAMES)
    assert torch.equal(source.train.images, images) and source.train.images.is_contiguous()
    assert torch.equal(source.train.labels, LABELS)
    assert source.digest == make_source(Split(images, LABELS), source.test, NAMES).digest


def test_masks_of_yes_and_no_are_black_and_white() -> None:
    source = make_source((GREY[:, 0] > 99, LABELS), (GREY[:, 0] > 99, LABELS), NAMES)
    assert source.train.images.unique().tolist() == [0, 255]


def test_class_names_come_from_the_dataset(tmp_path: Any) -> None:
    columns = Columns(pictures(GREY))
    assert make_source(columns, columns).classes == ("cat", "dog")
    for name in ("cow", "owl"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (5, 4)).convert("P").save(tmp_path / name / "1.png")
    folder = ImageFolder(tmp_path)
    source = make_source(folder, folder)
    assert source.classes == ("cow", "owl") and source.train.images.shape == (2, 3, 4, 5)
    resized = ImageFolder(tmp_path, transform=v2.Resize((3, 3)))
    assert make_source(resized, resized).train.images.shape == (2, 3, 3, 3)


def test_a_dataset_that_holds_its_data_is_not_asked_for_each() -> None:
    held = SimpleNamespace(data=COLOUR.permute(0, 2, 3, 1).numpy(), targets=LABELS.tolist())
    dataset = type("Held", (), {"__getitem__": None, "__len__": lambda self: COUNT})()
    dataset.__dict__.update(held.__dict__)
    assert torch.equal(make_source(dataset, dataset, NAMES).train.images, COLOUR)


SOUND = (COLOUR, LABELS)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ((COLOUR.float(), LABELS), "float32 from 0 to 255; floats must lie in [0, 1]"),
        ((COLOUR / 255 - 0.5, LABELS), "dataset.normalize=true"),
        ((torch.full((2, 8, 8), torch.nan), LABELS[:2]), "floats must lie in [0, 1]"),
        ((COLOUR.long() * 9, LABELS), "integers must lie in 0 to 255"),
        ((COLOUR[0, 0], LABELS), "images [5, 7]; needed are [N, H, W]"),
        ((COLOUR[:0], LABELS[:0]), "train holds no images"),
        ((np.array([["a"]]), LABELS), "needed are numbers"),
        (([GREY[0, 0], GREY[0, 0, :2]], LABELS[:2]), "2 shapes, such as [5, 7] and [2, 7]"),
        ((COLOUR, LABELS.float()), "labels [6] of float32"),
        ((COLOUR, torch.eye(6)), "type labels.argmax(1)"),
        ((COLOUR, ["cat", "dog"] * 3), "labels of <U3; needed are whole numbers"),
        ((COLOUR, LABELS + 1), "labels reach from 1 to 2, for 2 classes; needed are 0 to 1"),
        ((COLOUR, LABELS[:5]), "labels are torch.int64 [5]; needed are int64 [6]"),
        ((GREY, LABELS), "images of [1, 5, 7] for training and [3, 5, 7] for test"),
        (COLOUR, "train gives a Tensor; needed is (image, label)"),
        ({"image": COLOUR}, "train is a dict; needed is (images, labels)"),
        (iter(()), "train is a tuple_iterator; needed is (images, labels)"),
        (Columns(pictures(GREY), ("scan", "label")), "has the columns id, scan, label"),
        (FakeData(2, transform=lambda image: (1, 2, 3)), "needed are"),
    ],
)
def test_what_is_no_part_of_a_dataset_gets_a_line(train: Any, words: str) -> None:
    with pytest.raises(DatasetError) as refused:
        make_source(train, SOUND, NAMES)
    assert words in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("classes", [None, 2])
def test_class_names_are_needed(classes: Any) -> None:
    with pytest.raises(DatasetError, match=r'type classes=\["cat", "dog"\]'):
        make_source(SOUND, SOUND, classes)
