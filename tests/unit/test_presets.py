"""The presets give the figures that the tutorials published; seed 0, docs/tutorials.md has more."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from torchvision.datasets.utils import calculate_md5

from optsweep.records.run import RunRecord
from support.in_process import train_here


def at(result: RunRecord, name: str, epoch: int) -> float:
    return dict(result.history[name])[epoch]


@pytest.mark.long
def test_fashion_mlp_gives_the_published_losses(project: Path, fashion_mnist: Path) -> None:
    result = train_here(project, "preset=fashion_mlp", f"data_dir={fashion_mnist}")
    assert 2.13 <= at(result, "test/loss", 1) <= 2.18
    assert 0.765 <= at(result, "test/loss", 10) <= 0.805
    assert 0.695 <= at(result, "test/accuracy", 10) <= 0.73


@pytest.mark.long
def test_fashion_mlp_shuffled_gives_the_published_loss(project: Path, fashion_mnist: Path) -> None:
    result = train_here(project, "preset=fashion_mlp_shuffled", f"data_dir={fashion_mnist}")
    assert 2.13 <= at(result, "test/loss", 1) <= 2.18
    assert list(dict(result.history["test/loss"])) == [1]


@pytest.mark.long
def test_fashion_softmax_by_nn_and_written_out_agree(project: Path, fashion_mnist: Path) -> None:
    short, scratch = (
        train_here(project, f"preset={name}", f"data_dir={fashion_mnist}")
        for name in ("fashion_softmax", "fashion_softmax_scratch")
    )
    for result in (short, scratch):
        assert 0.44 <= at(result, "train/loss", 10) <= 0.455
        assert 0.80 <= at(result, "test/accuracy", 10) <= 0.85
    assert at(scratch, "train/loss", 1) == pytest.approx(at(short, "train/loss", 1), abs=1e-4)


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10's own files, made small: pictures whose class is the quarter that is bright.

    torchvision checks its files' MD5, so the class is given those of the stand-ins.
    """
    cls = torchvision.datasets.CIFAR10
    folder = tmp_path / "data" / cls.base_folder
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)

    def write(name: str, content: Any) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return str(calculate_md5(folder / name))

    def batch(name: str, count: int) -> tuple[str, str]:
        labels = random.randint(0, 4, count)
        pictures = random.randint(0, 100, (count, 3, 32, 32), dtype=np.uint8)
        for picture, label in zip(pictures, labels, strict=True):
            row, column = 16 * (label // 2), 16 * (label % 2)
            picture[:, row : row + 16, column : column + 16] += 100
        content = {"data": pictures.reshape(count, -1), "labels": labels.tolist()}
        return name, write(name, content)

    train = [batch(name, 20) for name, _ in cls.train_list]
    test = [batch(name, 200) for name, _ in cls.test_list]
    names = [f"class {number}" for number in range(10)]
    md5 = write(cls.meta["filename"], {"label_names": names})
    monkeypatch.setattr(cls, "train_list", train)
    monkeypatch.setattr(cls, "test_list", test)
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": md5})
    return tmp_path / "data"


@pytest.mark.long
def test_cifar_cnn_runs_to_its_end_or_to_a_recorded_divergence(
    project: Path, cifar10: Path
) -> None:
    result = train_here(project, "preset=cifar_cnn", f"data_dir={cifar10}")
    epochs = len(result.history["train/loss"])
    assert result.status == "FINISHED"
    assert epochs == 12 or result.diverged


@pytest.mark.long
def test_cifar_cnn_learns_with_a_smaller_rate_and_activations(project: Path, cifar10: Path) -> None:
    tamed = ("preset=cifar_cnn", "lr=1e-3", "model.activation=relu")
    result = train_here(project, *tamed, f"data_dir={cifar10}")
    losses = [loss for _, loss in result.history["train/loss"]]
    assert len(losses) == 12
    assert losses[-1] < losses[0] / 2
