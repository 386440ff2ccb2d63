"""A dataset comes out limited, resized, split and scaled as asked, and always the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from optsweep.config.settings import Option, Settings
from optsweep.data import dataset
from optsweep.data.builtin import Source, make_source
from optsweep.data.dataset import Dataset
from optsweep.data.splits import Split
from optsweep.errors import DatasetError, SettingsError
from support.config import composed
from support.pictures import make_cifar10, picture, pictures


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def load(data_dir: Path, *overrides: str) -> Dataset:
    return dataset.read_dataset(replace(composed(*overrides), data_dir=data_dir))


def assert_stratified(labels: Tensor, whole: Tensor) -> None:
    """Every class has its exact share of `whole`, up to one sample."""
    counts, all_counts = (torch.bincount(tensor, minlength=10) for tensor in (labels, whole))
    assert ((counts - all_counts * len(labels) / len(whole)).abs() < 1).all()


def assert_same(one: Split | None, other: Split | None) -> None:
    assert one is not None and other is not None
    assert torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def joined(*parts: Split | None) -> Tensor:
    return torch.cat([part.labels for part in parts if part is not None])


def test_digits_are_split_in_three_and_scaled_by_their_own_white(data_dir: Path) -> None:
    data = load(data_dir)
    assert data.val is not None
    assert [len(part.labels) for part in (data.train, data.val, data.test)] == [1294, 144, 359]
    assert data.input_shape == (1, 8, 8) and data.peak == 16 and len(data.classes) == 10
    everything = joined(data.train, data.val, data.test)
    for part in (data.train, data.val, data.test):
        assert part.images.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert_stratified(part.labels, everything)
    pixels = data.scale(data.train.images)
    assert pixels.dtype == torch.float32
    assert pixels.min() == 0 and pixels.max() == 1


@pytest.mark.parametrize("seed", [1, 2, 2**63 - 1])
def test_no_seed_changes_what_is_held_out(seed: int, data_dir: Path) -> None:
    first = load(data_dir)
    torch.manual_seed(seed)
    other = dataset.read_dataset(replace(composed(), data_dir=data_dir, seed=seed))
    assert_same(first.train, other.train)
    assert_same(first.val, other.val)
    assert_same(first.test, other.test)


def test_without_a_validation_fraction_all_is_trained_on(data_dir: Path) -> None:
    data = load(data_dir, "val_fraction=0")
    assert data.val is None and len(data.train.labels) == 1438
    assert_same(data.test, load(data_dir).test)


@settings(max_examples=20, deadline=None)
@given(fraction=st.floats(1e-6, 0.999), limit=st.integers(2, 1438))
def test_a_limit_counts_what_is_held_out_and_leaves_test_whole(
    data_dir: Path, fraction: float, limit: int
) -> None:
    whole, base = load(data_dir, "val_fraction=0"), composed()
    option = replace(base.dataset, arguments={**base.dataset.arguments, "limit": limit})
    data = dataset.read_dataset(
        replace(base, data_dir=data_dir, dataset=option, val_fraction=fraction)
    )
    assert data.val is not None
    chosen = joined(data.train, data.val)
    assert len(chosen) == limit
    assert abs(len(data.val.labels) - fraction * limit) <= 1
    assert_stratified(chosen, whole.train.labels)
    assert_stratified(data.val.labels, chosen)
    assert_same(data.test, whole.test)
    assert data.digest == whole.digest


def test_a_limit_above_what_there_is_is_refused(data_dir: Path) -> None:
    assert len(load(data_dir, "dataset.limit=1438", "val_fraction=0").train.labels) == 1438
    with pytest.raises(SettingsError, match=r"1438 samples; type dataset\.limit=1438 or less"):
        load(data_dir, "dataset.limit=1439")


def test_one_sample_cannot_be_held_out_from_itself(data_dir: Path) -> None:
    assert len(load(data_dir, "dataset.limit=1", "val_fraction=0").train.labels) == 1
    with pytest.raises(SettingsError, match="leaves nothing to train on"):
        load(data_dir, "dataset.limit=1")


@pytest.mark.parametrize("side", [4, 5, 16, 32])
def test_resizing_changes_every_part_and_not_the_digest(side: int, data_dir: Path) -> None:
    plain, data = load(data_dir), load(data_dir, f"dataset.resize={side}")
    assert data.val is not None and data.input_shape == (1, side, side)
    for part in (data.train, data.val, data.test):
        assert part.images.shape[1:] == (1, side, side)
        assert part.images.dtype == torch.uint8 and part.images.max() <= 16
    assert torch.equal(data.train.labels, plain.train.labels)
    assert data.digest == plain.digest
    means = [one.scale(one.train.images).mean().item() for one in (plain, data)]
    assert means[0] == pytest.approx(means[1], abs=0.02)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux shows what is mapped")
def test_what_is_resized_is_kept_and_mapped(data_dir: Path) -> None:
    first = load(data_dir, "dataset.resize=7", "val_fraction=0")
    (kept,) = (data_dir / ".decoded").glob("digits-7px-*.safetensors")
    written = kept.stat().st_mtime_ns
    again = load(data_dir, "dataset.resize=7")
    assert kept.stat().st_mtime_ns == written
    assert_same(first.test, again.test)
    assert str(kept) in Path("/proc/self/maps").read_text()
    few = load(data_dir, "dataset.resize=6", "dataset.limit=20")
    assert few.input_shape == (1, 6, 6)
    assert not list((data_dir / ".decoded").glob("digits-6px-*"))


@pytest.mark.parametrize("fraction", [0, 0.1])
def test_normalized_training_pixels_have_mean_0_and_deviation_1(
    fraction: float, data_dir: Path
) -> None:
    data = load(data_dir, "dataset.normalize=true", f"val_fraction={fraction}")
    pixels = data.scale(data.train.images)
    assert pixels.mean().item() == pytest.approx(0, abs=1e-5)
    assert pixels.std(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    raw = data.test.images[:5] / 16
    assert data.mean is not None and data.std is not None
    expected = (raw - data.mean) / data.std
    assert torch.equal(data.scale(data.test.images[:5]), expected), "by the training statistics"


def test_scaling_changes_no_image_and_takes_many_runs_at_once(data_dir: Path) -> None:
    data = load(data_dir, "dataset.normalize=true")
    images, kept = data.train.images[:6], data.train.images[:6].clone()
    together = data.scale(images.view(2, 3, 1, 8, 8))
    assert torch.equal(together.view(6, 1, 8, 8), data.scale(images))
    assert torch.equal(images, kept)


def colours(*, data_dir: Path, red: int = 200, count: int = 40) -> Source:
    """Pictures whose red never changes, as conf/dataset/ would name them."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 4, 4), dtype=torch.uint8, generator=random)
    images[:, 0] = red
    labels = torch.arange(count) % 2
    half = count // 2
    train, test = Split(images[half:], labels[half:]), Split(images[:half], labels[:half])
    return make_source(train, test, ["even", "odd"])


def own(target: str, *overrides: str, **arguments: Any) -> Settings:
    return replace(composed(*overrides), dataset=Option("own", target, arguments))


@pytest.mark.parametrize("red", [0, 1, 127, 200, 255])
def test_each_channel_is_normalized_and_a_constant_one_survives(red: int, tmp_path: Path) -> None:
    run = own("test_dataset.colours", "val_fraction=0.2", normalize=True, red=red)
    data = dataset.read_dataset(replace(run, data_dir=tmp_path))
    pixels = data.scale(data.train.images)
    assert data.mean is not None and data.mean.shape == (3, 1, 1)
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    deviations = pixels.std((0, 2, 3), unbiased=False)
    torch.testing.assert_close(deviations, torch.tensor([0.0, 1.0, 1.0]), rtol=0, atol=1e-5)


def test_a_function_of_one_s_own_is_a_new_file_in_conf(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "conf" / "dataset" / "mine.yaml").write_text(
        "_target_: pictures_of_mine.load\nshade: 3\nshuffle: true\nlimit: 4\n"
    )
    (project / "pictures_of_mine.py").write_text(
        "import torch\n"
        "from optsweep.data import Split, make_source\n"
        "def load(*, data_dir, shade):\n"
        "    images = torch.full((6, 1, 2, 2), shade, dtype=torch.uint8)\n"
        "    split = Split(images, torch.arange(6) % 2)\n"
        "    return make_source(split, split, ['a', 'b'], peak=4)\n"
    )
    monkeypatch.syspath_prepend(project)
    run = composed("dataset=mine", "dataset.shade=2", conf=project / "conf")
    data = dataset.read_dataset(run)
    assert (data.name, data.classes, data.peak) == ("mine", ("a", "b"), 4)
    assert data.val is not None and len(joined(data.train, data.val)) == 4
    assert (data.scale(data.test.images) == 0.5).all()


def text(*, data_dir: Path) -> str:
    return str(data_dir)


@pytest.mark.parametrize(
    ("target", "arguments", "error", "message"),
    [
        (
            "test_dataset.text",
            {},
            SettingsError,
            "must return an optsweep.data.Source .* str",
        ),
        ("test_dataset.colours", {"blue": 1}, SettingsError, "dataset.blue: .* no such argument"),
        ("test_dataset.colours", {"count": 0}, DatasetError, r"N > 0"),
        ("torchvision.datasets.MNIST", {"miror": "x"}, SettingsError, r"mean dataset.mirror\?"),
        ("torchvision.datasets.MNIST", {"train_on": "val"}, SettingsError, "train or test"),
        ("torchvision.datasets.MNISTT", {}, SettingsError, "cannot be imported"),
        ("optsweep.data.builtin.TEST_SHARE", {}, SettingsError, "cannot be called"),
    ],
)
def test_a_dataset_that_cannot_be_used_is_refused(
    target: str, arguments: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        dataset.read_dataset(replace(own(target, **arguments), data_dir=tmp_path))


def test_the_digest_follows_the_content_alone(tmp_path: Path) -> None:
    def digest(**arguments: Any) -> str:
        run = own("test_dataset.colours", **arguments)
        return dataset.read_dataset(replace(run, data_dir=tmp_path)).digest

    plain = digest()
    assert digest(limit=10, resize=8, normalize=True, shuffle=False) == plain
    assert len({plain, digest(red=201), digest(count=42)}) == 3


def test_a_folder_of_pictures_is_a_dataset(tmp_path: Path) -> None:
    root = pictures(tmp_path / "pets", count=10)
    data = load(tmp_path, "dataset=image_folder", f"dataset.path={root}", "dataset.size=12")
    assert data.val is not None and data.input_shape == (3, 12, 12)
    assert [len(part.labels) for part in (data.train, data.val, data.test)] == [14, 2, 4]
    assert data.classes == ("cat", "dog") and data.peak == 255


def test_a_validation_part_is_the_validation_split(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("val", 4)):
        pictures(tmp_path / "pets" / part, count)
    of = ("dataset=image_folder", f"dataset.path={tmp_path / 'pets'}", "dataset.size=4")
    data = load(tmp_path, *of, "dataset.limit=6", "dataset.resize=8", "dataset.normalize=true")
    assert data.val is not None and data.judging is data.val
    assert [len(part.labels) for part in (data.train, data.val, data.test)] == [6, 8, 0]
    assert data.val.images.shape == (8, 3, 8, 8) and data.test.images.shape == (0, 3, 8, 8)
    assert dataset.description(data) == "image_folder pets: 2 classes, 6 train, 8 val, 8x8 RGB"
    with pytest.raises(SettingsError, match=r"val_fraction=0\.2: .* type val_fraction=0\.1"):
        load(tmp_path, *of, "val_fraction=0.2")
    with pytest.raises(SettingsError, match=r"val_fraction=0: the dataset has a validation part"):
        load(tmp_path, *of, "val_fraction=0")


def test_the_share_that_nobody_asked_for_is_that_of_the_configuration() -> None:
    assert composed().val_fraction == dataset._VAL_FRACTION


@pytest.mark.parametrize(
    ("cats", "dogs", "is_unbalanced"), [(4, 4, False), (8, 4, False), (9, 4, True)]
)
def test_a_dataset_is_unbalanced_where_a_class_has_more_than_twice_the_pictures_of_another(
    cats: int, dogs: int, is_unbalanced: bool, tmp_path: Path
) -> None:
    for name, count in (("cat", cats), ("dog", dogs)):
        for number in range(count):
            picture(tmp_path / "pets" / name / f"{number}.png")
    data = load(tmp_path, "dataset=image_folder", f"dataset.path={tmp_path / 'pets'}")
    assert data.unbalanced == is_unbalanced


def test_cifar10_trains_on_its_test_pictures_where_the_preset_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cifar10(tmp_path, monkeypatch)
    as_usual = load(tmp_path, "dataset=cifar10", "val_fraction=0")
    assert len(as_usual.train.labels) == 20 and as_usual.input_shape == (3, 32, 32)
    preset = load(tmp_path, "preset=cifar_cnn")
    assert_same(preset.train, preset.test)
    assert_same(preset.test, as_usual.test)


def test_fashion_mnist_keeps_a_tenth_for_validation(fashion_mnist: Path) -> None:
    data = load(fashion_mnist, "dataset=fashion_mnist", "dataset.normalize=true")
    assert data.val is not None and data.mean is not None and data.std is not None
    assert torch.bincount(data.train.labels).tolist() == [5_400] * 10
    assert torch.bincount(data.val.labels).tolist() == [600] * 10
    assert len(data.test.labels) == 10_000
    assert data.mean.item() == pytest.approx(0.286, abs=1e-3)
    assert data.std.item() == pytest.approx(0.353, abs=1e-3)


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_a_dataset_moves_to_a_device_as_a_whole(normalize: str, data_dir: Path) -> None:
    for fraction in ("0", "0.1"):
        data = load(data_dir, f"dataset.normalize={normalize}", f"val_fraction={fraction}")
        moved = data.to(torch.device("meta"))
        parts = [part for part in (moved.train, moved.val, moved.test) if part is not None]
        tensors = [tensor for part in parts for tensor in (part.images, part.labels)]
        tensors += [tensor for tensor in (moved.mean, moved.std) if tensor is not None]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert len(tensors) == 4 + 2 * (fraction != "0") + 2 * (normalize == "true")
        assert (moved.digest, moved.classes, moved.peak) == (data.digest, data.classes, data.peak)
