"""The parts and classes of a folder of pictures are found by their names, or refused."""

import re
from pathlib import Path

import pytest

from optsweep.data import layout
from optsweep.data.source import skipped_words
from optsweep.errors import DatasetError
from support.pictures import load, picture, pictures

ROOT = Path(__file__).parents[3]
COUNT = 10  # pictures of a class


def documented() -> list[list[str]]:
    """The rows of the table of layouts in the docs: folders, training, validation, test."""
    text = (ROOT / "docs" / "own-data-and-models.md").read_text()
    _, table = text.split("| folders | training | validation | test |\n|---|---|---|---|\n")
    rows = table.split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


ROWS = {row[0].replace("`", ""): row for row in documented()}


def made(root: Path, folders: str) -> Path:
    """Folders as a row of the table names them: classes, or parts with two classes each."""
    names = re.findall(r"`(.+?)/`", folders)
    are_classes = {"cat", "car"} & set(names)
    for name in names:
        if are_classes:
            for number in range(COUNT):
                picture(root / name / f"{number}.png", (number, 0, 0))
        else:
            pictures(root / name, COUNT)
    return root


@pytest.mark.parametrize("row", list(ROWS.values()), ids=list(ROWS))
def test_the_table_in_the_docs_says_what_becomes_of_a_layout(
    row: list[str], tmp_path: Path
) -> None:
    folders, train, val, test = row
    root = made(tmp_path / "pets", folders)
    if train == "refused":
        with pytest.raises(DatasetError):
            layout.find(root)
        return
    source = load(root, tmp_path / "data")
    sizes = [0 if each is None else len(each.labels) for each in (source.val, source.test)]
    names = re.findall(r"`(.+?)/`", train)
    if not names:
        classes = len(re.findall("`", folders)) // 2
        assert len(source.classes) == classes
        assert [len(source.train.labels), *sizes] == [8 * classes, 0, 2 * classes]
        assert (val, test) == ("cut from training", "a fifth")
        return
    assert [len(source.train.labels), *sizes] == [20, 20 * ("`" in val), 20 * ("`" in test)]
    assert source.classes == ("cat", "dog")
    for cell, part in (("train", train), ("val", val), ("test", test)):
        for name in re.findall("`(.+?)/`", part):
            files = layout.find(root).parts[cell].values()
            assert {Path(file).parts[-3] for each in files for file in each} == {name}
    assert (source.val is None) == (val == "cut from training")


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ("`Train_set/` `test-data/`", ["rename Train_set to train, test-data to test"]),
        ("`train/` `test/` `validate/`", ["validate/, which looks like", "validate to val"]),
        ("`training_images/` `testing_images/`", ["training_images to train"]),
        ("`TrainSet/` `ValSet/`", ["TrainSet to train, ValSet to val"]),
        ("`train/` `test2/`", ["test2 to test"]),
        ("`pets_train/` `pets-test/`", ["pets-test to test, pets_train to train"]),
        ("`train/` `Training/` `test/`", ["Training/ and train/", "make one folder"]),
        ("`train/`", ["has train/ but no test/ or val/; add one, or give "]),
        ("`Val/` `test/`", ["has Val/ and test/ but no train/; add it"]),
    ],
)
def test_a_layout_that_is_not_understood_is_refused_with_what_to_rename(
    folders: str, words: list[str], tmp_path: Path
) -> None:
    root = made(tmp_path, folders)
    with pytest.raises(DatasetError) as raised:
        layout.find(root)
    assert [each for each in words if each not in str(raised.value)] == []
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["test_tube", "training shoes", "dev board", "validity", "train"])
def test_a_class_may_have_a_name_like_a_part_s(name: str, tmp_path: Path) -> None:
    pictures(tmp_path)
    picture(tmp_path / name / "a.png")
    assert set(layout.find(tmp_path).parts[layout.ALL]) == {"cat", "dog", name}


def test_files_that_are_no_pictures_are_counted_by_suffix(tmp_path: Path) -> None:
    for part in ("train", "test"):
        pictures(tmp_path / part)
    (tmp_path / "extra").mkdir()
    for name in ("train/cat/a.heic", "train/dog/b.HEIC", "test/cat/c.txt", "test/dog/LICENSE"):
        (tmp_path / name).write_text("")
    for name in ("train/cat/.hidden", "test/dog/.git/x.txt", "extra/a.csv", "extra/b.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    picture(tmp_path / "train" / "loose.png")
    found = layout.find(tmp_path)
    assert skipped_words(found.skipped) == (
        "skipped 2 (.heic), 1 (.txt), 2 (extra/), 1 (in no class folder), 1 (without a suffix)"
    )
    assert len(found.files) == 20


@pytest.mark.parametrize("suffix", ["gif", "GIF", "tga", "ico", "jp2", "ppm", "tiff", "webp"])
def test_every_format_that_pillow_decodes_is_a_picture(suffix: str, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", count=1)
    picture(root / "eel" / f"a.{suffix}")
    assert len(load(root, tmp_path / "data").classes) == 3


def test_endings_whose_formats_pillow_only_names_are_no_pictures() -> None:
    assert not {".h5", ".mpg", ".wmf", ".grib", ".eps", ".pdf"} & layout.suffixes()
    assert {".jpg", ".png", ".gif", ".psd"} <= layout.suffixes()


def test_a_validation_part_stays_what_it_is_in_the_cache(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("valid", 3), ("test", 2)):
        pictures(tmp_path / "pets" / part, count)
    first, again = (load(tmp_path / "pets", tmp_path / "data") for _ in range(2))
    assert first.val is not None and again.val is not None
    assert again.val.labels.tolist() == [0, 0, 0, 1, 1, 1] and first.digest == again.digest
    assert [len(each.labels) for each in (again.train, again.test)] == [10, 4]
