"""Pictures that a person gives: which files they are, how they are decoded and named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from optsweep.data.decoding.given import find
from optsweep.errors import DatasetError
from support.pictures import GREEN, RED, load, picture, pictures


def test_a_folder_gives_the_pictures_at_any_depth_in_order(tmp_path: Path) -> None:
    picture(tmp_path / "b.png")
    picture(tmp_path / "deep/er/a.png")
    picture(tmp_path / ".hidden/c.png")
    (tmp_path / "notes.txt").write_text("no picture")
    found = find(str(tmp_path))
    assert found.names == ["b.png", "deep/er/a.png"]
    assert found.skipped == {".txt": 1}


def test_one_picture_and_a_pattern_are_taken(tmp_path: Path) -> None:
    pictures(tmp_path, count=2)
    assert len(find(str(tmp_path / "cat/0.png")).files) == 1
    assert len(find(str(tmp_path / "*/1.*")).files) == 2
    assert len(find(str(tmp_path / "**/*")).files) == 4


@pytest.mark.parametrize("given", ["empty", "empty/*.png", "texts"])
def test_no_picture_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("a")
    with pytest.raises(DatasetError, match="there is no picture") as raised:
        find(given)
    assert "\n" not in str(raised.value) and f"pictures={given}" in str(raised.value)
    assert ("skipped 1 (.txt)" in str(raised.value)) == (given == "texts")


def test_the_nearest_folder_with_the_name_of_a_class_is_the_true_class(tmp_path: Path) -> None:
    for name in ("cat/a.png", "test/dog/b.png", "dog/cat/c.png", "other/d.png", "e.png"):
        picture(tmp_path / name)
    found = find(str(tmp_path))
    true = dict(zip(found.names, found.true_classes(["cat", "dog"]), strict=True))
    assert true == {
        "cat/a.png": "cat",
        "test/dog/b.png": "dog",
        "dog/cat/c.png": "cat",
        "other/d.png": None,
        "e.png": None,
    }
    assert find(str(tmp_path / "cat")).true_classes(["cat"]) == ["cat"]
    assert find(str(tmp_path / "cat/a.png")).true_classes(["cat"]) == ["cat"]
    # What lies around the folder that was given says nothing of the pictures in it.
    assert find(str(tmp_path / "other")).true_classes([tmp_path.name]) == [None]


def test_they_are_decoded_as_those_of_a_dataset(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(5):
            pixels = random.randint(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{number}.png")
    source = load(tmp_path / "set", tmp_path / "data", size=8)
    decoded = torch.cat(list(find(str(tmp_path / "set")).decoded((3, 8, 8))))
    known = torch.cat([source.train.images, source.test.images])
    assert {image.numpy().tobytes() for image in decoded} == {i.numpy().tobytes() for i in known}


def test_they_take_the_shape_and_the_channels_of_the_model(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", RED)
    picture(tmp_path / "b.png", GREEN)
    (grey,) = find(str(tmp_path)).decoded((1, 4, 6))
    assert grey.shape == (2, 1, 4, 6) and grey.dtype == torch.uint8
    assert grey[0].unique().tolist() == [76]  # red's part of brightness (ITU-R BT.601)
    with pytest.raises(DatasetError, match="takes images of 2 channels"):
        next(find(str(tmp_path)).decoded((2, 4, 4)))


def test_pictures_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    pictures(tmp_path, count=2)
    for name in ("cat/0.png", "dog/1.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="2 of 4 pictures cannot be read") as raised:
        list(find(str(tmp_path)).decoded((3, 4, 4)))
    assert "cat/0.png (" in str(raised.value) and "dog/1.png (" in str(raised.value)
