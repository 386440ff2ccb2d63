"""Made-up pictures in the layouts of real datasets."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from optsweep.data.builtin import Source
from optsweep.data.folder import image_folder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def picture(path: Path, colour: Any = RED, mode: str = "RGB", **options: Any) -> Path:
    """A file of 8x8 pixels of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 8), colour).save(path, **options)
    return path


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def pictures(root: Path, count: int = 5) -> Path:
    """Two classes, `count` pictures of each; a picture's blue is its number."""
    for name, (red, green, _) in (("cat", RED), ("dog", GREEN)):
        for number in range(count):
            picture(root / name / f"{number}.png", (red, green, number))
    return root


def make_cifar10(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CIFAR-10 in its publisher's format: five batches of four pictures and one of six."""
    folder = data_dir / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)

    def write(name: str, content: Any) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    def batch(name: str, count: int) -> list[str]:
        data = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        labels = [number % 10 for number in range(count)]
        return write(name, {"data": data, "labels": labels, "batch_label": name})

    train = [batch(f"data_batch_{number}", 4) for number in range(1, 6)]
    test = [batch("test_batch", 6)]
    names = ["airplane", "automobile", "bird", "cat", "deer"]
    names += ["dog", "frog", "horse", "ship", "truck"]
    _, meta = write("batches.meta", {"label_names": names})
    cls = datasets.CIFAR10
    monkeypatch.setattr(cls, "train_list", train)
    monkeypatch.setattr(cls, "test_list", test)
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": meta})
    return cls


def load(root: Path, data_dir: Path, size: int = 4) -> Source:
    return image_folder(data_dir=data_dir, path=str(root), size=size)


def cache(data_dir: Path) -> list[Path]:
    return sorted((data_dir / ".decoded").glob("*.safetensors"))


def assert_same(one: Source, other: Source) -> None:
    assert (one.classes, one.peak, one.digest) == (other.classes, other.peak, other.digest)
    for a, b in ((one.train, other.train), (one.test, other.test)):
        assert torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
