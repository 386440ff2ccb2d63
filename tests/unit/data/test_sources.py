"""Pictures are read as they look, once: later runs map what the first one decoded."""

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torchvision import datasets

from optsweep.data import builtin as sources
from optsweep.data.builtin import Source, digits, make_source, torchvision_source
from optsweep.data.folder import image_folder
from optsweep.data.splits import Split
from optsweep.errors import DatasetError, SettingsError
from support.pictures import BLUE, assert_same, cache, load, make_cifar10, picture, pictures


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*arguments: Any) -> None:
        raise AssertionError(f"{arguments} was decoded again")

    monkeypatch.setattr(Image, "open", opened)


# A Source's own checks and digest.


def split(images: Any, labels: Any) -> Split:
    return Split(torch.as_tensor(images), torch.as_tensor(labels))


def small(seed: int = 0) -> tuple[Split, Split]:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (9, 1, 2, 2), dtype=np.uint8)
    labels = random.integers(0, 3, 9)
    return split(images[:6], labels[:6]), split(images[6:], labels[6:])


@settings(deadline=None)
@given(part=st.integers(0, 1), place=st.integers(0, 11), label=st.booleans())
def test_the_digest_changes_with_any_pixel_and_any_label(
    part: int, place: int, label: bool
) -> None:
    before = make_source(*small(), "abc").digest
    assert before == make_source(*small(), "abc").digest
    changed = small()
    if label:
        labels = changed[part].labels
        labels[place % len(labels)] = (labels[place % len(labels)] + 1) % 3
    else:
        changed[part].images.view(-1)[place] ^= 1
    assert make_source(*changed, "abc").digest != before


def test_the_digest_changes_with_class_names_peak_and_shape() -> None:
    train, test = small()
    wide, narrow = (split(part.images.view(-1, 1, 1, 4), part.labels) for part in (train, test))
    digests = {
        make_source(train, test, "abc").digest,
        make_source(train, test, "abd").digest,
        make_source(train, test, "abc", peak=16).digest,
        make_source(wide, narrow, "abc").digest,
        make_source(test, train, "abc").digest,
    }
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 1, 2, 2), np.float32), [0, 1], r"images are torch.float32 \[2, 1, 2, 2\]"),
        (np.zeros((2, 2, 2), np.uint8), [0, 1], r"needed are uint8 \[N, C, H, W\], N > 0"),
        (np.zeros((0, 1, 2, 2), np.uint8), np.zeros(0, np.int64), "N > 0"),
        (np.zeros((2, 1, 2, 2), np.uint8), [0], r"needed are int64 \[2\]"),
        (np.zeros((2, 1, 2, 2), np.uint8), [0.0, 1.0], "labels are torch.float32"),
        (np.zeros((2, 1, 2, 2), np.uint8), [0, 3], "labels reach from 0 to 3, for 3 classes"),
        (np.zeros((2, 1, 2, 2), np.uint8), [-1, 0], "labels reach from -1 to 0, for 3 classes"),
    ],
)
def test_a_source_of_another_shape_or_dtype_is_refused(
    images: Any, labels: Any, message: str
) -> None:
    good, bad = small()[0], split(images, labels)
    for parts in ((good, bad), (bad, good)):
        with pytest.raises(DatasetError, match=message):
            make_source(*parts, "abc")


def test_digits_have_a_fixed_stratified_fifth_for_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = digits(data_dir=tmp_path)
    assert source.classes == tuple("0123456789") and source.peak == 16
    assert source.train.images.shape == (1438, 1, 8, 8)
    assert source.test.images.shape == (359, 1, 8, 8)
    assert source.digest == "a7a7fcdfb39dd298327179d1c1c9ad3c"
    monkeypatch.setattr("numpy.loadtxt", lambda *_, **__: pytest.fail("read again"))
    assert_same(digits(data_dir=tmp_path), source)


def test_digits_are_scikit_learns_wherever_its_files_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = digits(data_dir=tmp_path / "read")
    monkeypatch.setattr("optsweep.data.builtin._DIGITS", "moved.csv.gz")
    assert_same(digits(data_dir=tmp_path / "imported"), read)


# Folders of pictures.


def test_a_flat_folder_keeps_a_stratified_fifth_for_test(tmp_path: Path) -> None:
    source = load(pictures(tmp_path / "pets", count=10), tmp_path)
    assert source.classes == ("cat", "dog") and source.peak == 255
    assert source.train.images.shape == (16, 3, 4, 4) and source.train.images.dtype == torch.uint8
    assert torch.bincount(source.train.labels).tolist() == [8, 8]
    assert torch.bincount(source.test.labels).tolist() == [2, 2]
    for part in (source.train, source.test):
        assert torch.equal(part.images[:, 0, 0, 0] == 255, part.labels == 0)
    numbers = torch.cat([source.train.images[:, 2, 0, 0], source.test.images[:, 2, 0, 0]])
    assert torch.bincount(numbers.long()).tolist() == [2] * 10


def test_train_and_test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    pictures(tmp_path / "pets" / "train", count=3)
    pictures(tmp_path / "pets" / "test", count=2)
    source = load(tmp_path / "pets", tmp_path)
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.test.labels.tolist() == [0, 0, 1, 1]
    assert source.train.images[:, 2, 0, 0].tolist() == [0, 1, 2, 0, 1, 2]


def test_pictures_lie_at_any_depth_and_other_files_are_passed_over(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", count=2)
    picture(root / "cat" / "more" / "DEEP.JPG", quality=100)
    (root / "cat" / "notes.txt").write_text("not a picture")
    (root / "README.md").write_text("not a class")
    picture(root / ".thumbnails" / "0.png")
    source = load(root, tmp_path)
    assert source.classes == ("cat", "dog")
    assert len(source.train.labels) + len(source.test.labels) == 5


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda cat: (cat / "._0.png").write_bytes(b"\0\5\x16\7"), id="macos-zip"),
        pytest.param(lambda cat: picture(cat / ".ipynb_checkpoints" / "0.png"), id="jupyter"),
        pytest.param(lambda cat: (cat / "old.png").mkdir(), id="a-folder-named-so"),
    ],
)
def test_what_is_hidden_or_no_file_is_passed_over(make: Any, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", count=2)
    make(root / "cat")
    source = load(root, tmp_path)
    assert len(source.train.labels) + len(source.test.labels) == 4


def test_names_may_be_in_any_script(tmp_path: Path) -> None:
    root = tmp_path / "画像 ☕"
    names = ["naïve café", "犬 'und' \"猫\"", "🙂", "[a]*?"]
    for name in names:
        for number in range(2):
            picture(root / name / f"ж {number}.png")
    decoded, mapped = (load(root, tmp_path / "dätä [1]") for _ in range(2))
    assert list(decoded.classes) == sorted(names)
    assert_same(decoded, mapped)
    assert len(cache(tmp_path / "dätä [1]")) == 1


@pytest.mark.parametrize(
    ("file", "mode", "colour", "options", "expected"),
    [
        pytest.param("a.png", "L", 77, {}, (77, 77, 77), id="grey"),
        pytest.param("a.png", "LA", (77, 128), {}, (77, 77, 77), id="grey-with-alpha"),
        pytest.param("a.png", "RGBA", (10, 20, 30, 255), {}, (10, 20, 30), id="rgba"),
        pytest.param("a.png", "RGBA", (10, 20, 30, 0), {}, (10, 20, 30), id="alpha-is-left-out"),
        pytest.param("a.png", "1", 1, {}, (255, 255, 255), id="black-and-white"),
        pytest.param("a.bmp", "RGB", (1, 2, 3), {}, (1, 2, 3), id="bmp"),
        pytest.param("a.ppm", "RGB", (1, 2, 3), {}, (1, 2, 3), id="ppm"),
        pytest.param("a.TIFF", "RGB", (1, 2, 3), {}, (1, 2, 3), id="tiff"),
        pytest.param("a.webp", "RGB", (1, 2, 3), {"lossless": True}, (1, 2, 3), id="webp"),
        pytest.param("a.jpg", "RGB", (255, 0, 0), {"quality": 100}, (254, 0, 0), id="jpeg"),
        pytest.param("a.jpg", "CMYK", (0, 255, 255, 0), {"quality": 100}, (255, 0, 0), id="cmyk"),
    ],
)
def test_pictures_of_every_kind_keep_their_colour(
    file: str,
    mode: str,
    colour: Any,
    options: dict[str, Any],
    expected: tuple[int, int, int],
    tmp_path: Path,
) -> None:
    root = pictures(tmp_path / "pets", count=1)
    picture(root / "ant" / file, colour, mode, **options)
    assert colour_of_class(load(root, tmp_path), 0) == pytest.approx(expected, abs=1)


def colour_of_class(source: Source, label: int) -> list[int]:
    """The middle pixel of the one picture of a class, wherever it was split to."""
    images = torch.cat([source.train.images, source.test.images])
    labels = torch.cat([source.train.labels, source.test.labels])
    (image,) = images[labels == label]
    middle: list[int] = image[:, 2, 2].tolist()
    return middle


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80"])
def test_a_palette_keeps_its_colours(transparency: Any, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", count=1)
    indexed = Image.new("P", (8, 8), 1)
    indexed.putpalette([0, 0, 0, 200, 100, 50])
    (root / "ant").mkdir()
    options = {} if transparency is None else {"transparency": transparency}
    indexed.save(root / "ant" / "a.png", **options)
    assert colour_of_class(load(root, tmp_path), 0) == [200, 100, 50]


@pytest.mark.parametrize("file", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_to_eight(file: str, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", count=1)
    (root / "ant").mkdir()
    Image.fromarray(np.full((8, 8), 0x8040, np.uint16)).save(root / "ant" / file)
    assert colour_of_class(load(root, tmp_path), 0) == [0x80] * 3


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))]
)
def test_a_photograph_is_turned_upright(
    orientation: int, corner: tuple[int, int], tmp_path: Path
) -> None:
    """`corner` is where the file's first pixel belongs, by the EXIF tag Orientation."""
    root = pictures(tmp_path / "pets", count=1)
    turned = Image.new("RGB", (8, 8))
    turned.paste((255, 255, 255), (0, 0, 2, 2))
    exif = turned.getexif()
    exif[0x0112] = orientation
    (root / "ant").mkdir()
    turned.save(root / "ant" / "a.png", exif=exif)
    source = load(root, tmp_path, size=8)
    images = torch.cat([source.train.images, source.test.images])
    (image,) = images[torch.cat([source.train.labels, source.test.labels]) == 0]
    assert image[0, corner[0], corner[1]] == 255
    assert image[0].count_nonzero() == 4


def test_a_picture_is_resized_to_the_square_that_was_asked_for(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", count=1)
    (root / "ant").mkdir()
    Image.new("RGB", (300, 2), (9, 9, 9)).save(root / "ant" / "wide.png")
    for size in (1, 5, 64):
        source = load(root, tmp_path, size)
        assert source.train.images.shape[1:] == (3, size, size)
    assert len(cache(tmp_path)) == 3, "each size is kept"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda root: None, "does not exist; give a folder of pictures", id="nothing"),
        pytest.param(lambda root: root.write_text(""), "is a file", id="a-file"),
        pytest.param(lambda root: root.mkdir(), "0 class folders; needed are two", id="empty"),
        pytest.param(lambda root: picture(root / "cat" / "a.png"), "1 class folders", id="one"),
        pytest.param(
            lambda root: (pictures(root) / "eel").mkdir(), "no pictures in eel", id="empty-class"
        ),
        pytest.param(
            lambda root: pictures(root / "train"),
            "has train/ but no test/ or val/; add one",
            id="no-test",
        ),
        pytest.param(
            lambda root: pictures(root / "test"), "has test/ but no train/; add it", id="no-train"
        ),
        pytest.param(
            lambda root: (
                pictures(root / "train"),
                picture(pictures(root / "test") / "eel" / "a.png"),
            ),
            "must have the same classes; only in train: none; only in test: eel",
            id="other-classes",
        ),
        pytest.param(
            lambda root: (pictures(root) / "cat" / "bad.jpg").write_bytes(b"\xff\xd8\xff no"),
            "bad.jpg cannot be read as a picture .*; remove it",
            id="no-picture",
        ),
        pytest.param(
            lambda root: os.truncate(picture(pictures(root) / "cat" / "torn.png"), 45),
            "torn.png cannot be read as a picture",
            id="torn-picture",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    make(tmp_path / "pets")
    with pytest.raises(DatasetError, match=message):
        load(tmp_path / "pets", tmp_path)
    assert not cache(tmp_path)


def test_a_folder_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"type dataset\.path=/path/to/pictures"):
        image_folder(data_dir=tmp_path)


# The cache.


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = pictures(tmp_path / "pets")
    first = load(root, tmp_path)
    (file,) = cache(tmp_path)
    written = file.stat().st_mtime_ns
    forbid_decoding(monkeypatch)
    assert_same(load(root, tmp_path), first)
    assert file.stat().st_mtime_ns == written


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux shows what is mapped")
def test_the_cache_is_mapped_and_a_write_to_its_tensors_stays_in_this_process(
    tmp_path: Path,
) -> None:
    root = pictures(tmp_path / "pets")
    source = load(root, tmp_path)
    (file,) = cache(tmp_path)
    assert str(file) in Path("/proc/self/maps").read_text()
    kept = file.read_bytes()
    source.train.images.zero_()
    assert file.read_bytes() == kept


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: picture(root / "cat" / "0.png", BLUE), id="changed"),
        pytest.param(lambda root: picture(root / "cat" / "new.png", BLUE), id="added"),
        pytest.param(lambda root: (root / "cat" / "0.png").unlink(), id="removed"),
        pytest.param(
            lambda root: (root / "cat" / "0.png").rename(root / "dog" / "x.png"), id="moved"
        ),
        pytest.param(lambda root: picture(root / "eel" / "0.png", BLUE), id="a-new-class"),
    ],
)
def test_the_cache_is_renewed_when_the_pictures_change(change: Any, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets")
    before, kept = load(root, tmp_path), cache(tmp_path)
    change(root)
    after = load(root, tmp_path)
    assert after.digest != before.digest
    assert after.digest == load(root, tmp_path / "fresh").digest
    assert len(cache(tmp_path)) == 1 and cache(tmp_path) != kept, "the old one is cleared away"


def test_the_digest_is_the_content_s_wherever_it_lies(tmp_path: Path) -> None:
    first, second = (load(pictures(tmp_path / name), tmp_path) for name in ("pets", "copy"))
    assert first.digest == second.digest
    assert len(cache(tmp_path)) == 2


@pytest.mark.parametrize("length", [0, 1, 8, 100, -1])
def test_a_torn_cache_is_read_anew(length: int, tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets")
    first = load(root, tmp_path)
    (file,) = cache(tmp_path)
    whole = file.read_bytes()
    file.unlink()  # not truncated in place: `first` is mapped from it
    file.write_bytes(whole[:length])
    assert_same(load(root, tmp_path), first)
    assert file.stat().st_size == len(whole)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            {"metadata": None},
            id="another-program-s",
        ),
        pytest.param({"metadata": {"classes": "[", "peak": "1", "digest": ""}}, id="bad-json"),
        pytest.param({"metadata": {"classes": "[]", "peak": "x", "digest": ""}}, id="bad-number"),
        pytest.param({"metadata": {"classes": '["a"]'}}, id="metadata-of-another-version"),
    ],
)
def test_a_foreign_cache_is_read_anew(content: dict[str, Any], tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets")
    first = load(root, tmp_path)
    (file,) = cache(tmp_path)
    file.unlink()
    names = ["train.images", "train.labels", "test.images", "test.labels"]
    save_file({name: torch.zeros(1) for name in names}, file, **content)
    assert_same(load(root, tmp_path), first)


@pytest.mark.parametrize("blocked", [".decoded", "."])
def test_without_a_cache_folder_nothing_is_kept(blocked: str, tmp_path: Path) -> None:
    root, data_dir = pictures(tmp_path / "pets"), tmp_path / "data"
    expected = load(root, tmp_path / "elsewhere")
    place = data_dir / blocked
    place.parent.mkdir(exist_ok=True)
    place.write_text("a file where the folder would be")
    for _ in range(2):
        assert_same(load(root, data_dir), expected)


def test_a_full_disk_costs_the_cache_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    root = pictures(tmp_path / "pets")
    expected = load(root, tmp_path / "elsewhere")
    monkeypatch.setattr(os, "posix_fallocate", fail)
    assert_same(load(root, tmp_path), expected)
    assert [file.name for file in (tmp_path / ".decoded").iterdir()] == [".lock"]


# torchvision's classes, on their own formats made small.


def test_cifar10_is_read_from_its_own_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = make_cifar10(tmp_path, monkeypatch)
    source = torchvision_source(cls, data_dir=tmp_path)
    assert source.train.images.shape == (20, 3, 32, 32) and source.train.images.is_contiguous()
    assert source.test.images.shape == (6, 3, 32, 32)
    assert source.train.labels.tolist() == [0, 1, 2, 3] * 5
    assert source.classes[0] == "airplane" and len(source.classes) == 10
    stored = pickle.loads((tmp_path / "cifar-10-batches-py" / "data_batch_2").read_bytes())
    assert np.array_equal(source.train.images[4].flatten(), stored["data"][0]), "red, green, blue"
    assert_same(source, torchvision_source(cls, data_dir=tmp_path))
    assert [file.name.split("-")[0] for file in cache(tmp_path)] == ["CIFAR10"]


def test_cifar10_can_train_on_its_test_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = make_cifar10(tmp_path, monkeypatch)
    source = torchvision_source(cls, data_dir=tmp_path, train_on="test")
    assert torch.equal(source.train.images, source.test.images)
    assert source.test.images.shape == (6, 3, 32, 32)
    again = torchvision_source(cls, data_dir=tmp_path, train_on="train")
    assert again.train.images.shape == (20, 3, 32, 32)
    with pytest.raises(SettingsError, match=r"dataset\.train_on=val: must be train or test"):
        torchvision_source(cls, data_dir=tmp_path, train_on="val")


def test_the_cache_does_not_hide_a_batch_that_was_damaged_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = make_cifar10(tmp_path, monkeypatch)
    torchvision_source(cls, data_dir=tmp_path)
    damaged = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(
        DatasetError, match=r"data_batch_3 is not CIFAR10's own: .* half-downloaded"
    ):
        torchvision_source(cls, data_dir=tmp_path)


def idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """The array in MNIST's format: big-endian sizes, then the bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_a_class_of_mnist_s_kind_is_read_from_its_own_format(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    raw = tmp_path / "Letters" / "raw"
    raw.mkdir(parents=True)
    arrays = {}
    for part, count in (("train", 12), ("t10k", 5)):
        arrays[part] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(arrays[part]))
        labels = (np.arange(count) % 3).astype(np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))

    class Letters(datasets.MNIST):  # type: ignore[misc]  # torchvision is untyped
        classes = ("a", "b", "c")

    source = torchvision_source(Letters, data_dir=tmp_path)
    assert source.classes == ("a", "b", "c")
    assert source.train.images.shape == (12, 1, 28, 28)
    assert np.array_equal(source.train.images[:, 0], arrays["train"])
    assert np.array_equal(source.test.images[:, 0], arrays["t10k"])
    assert source.test.labels.tolist() == [0, 1, 2, 0, 1]
    assert_same(source, torchvision_source(Letters, data_dir=tmp_path))


def test_fashion_mnist_is_unpacked_once_from_the_official_files(
    fashion_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = torchvision_source(datasets.FashionMNIST, data_dir=fashion_mnist)
    assert source.train.images.shape == (60_000, 1, 28, 28)
    assert torch.bincount(source.train.labels).tolist() == [6_000] * 10
    assert torch.bincount(source.test.labels).tolist() == [1_000] * 10
    assert source.classes[0] == "T-shirt/top" and source.peak == 255
    mean = source.train.images.double().mean().item() / 255
    assert mean == pytest.approx(0.2860, abs=5e-5), "as published"
    monkeypatch.setattr(sources, "_read_torchvision", lambda *_: pytest.fail("read again"))
    assert_same(torchvision_source(datasets.FashionMNIST, data_dir=fashion_mnist), source)


def test_a_cache_s_file_says_what_it_holds(tmp_path: Path) -> None:
    load(pictures(tmp_path / "pets"), tmp_path)
    (file,) = cache(tmp_path)
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["classes"]) == ["cat", "dog"]
    assert header["images"]["dtype"] == "U8" and header["train.labels"]["dtype"] == "I64"
