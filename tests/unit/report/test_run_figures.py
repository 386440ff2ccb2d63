"""Pictures are rendered for real, then read back: their pixels, and the boxes of their texts."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from numpy.typing import NDArray

from optsweep.report.figures import drawing, picture_grids
from optsweep.report.figures import run as figures
from support.figures import AWKWARD, box, refuse_crossing

# A glyph that no font has, an overflow, a division by zero: nothing passes unnoticed.
pytestmark = [
    pytest.mark.filterwarnings(f"error::{kind}") for kind in ("UserWarning", "RuntimeWarning")
]

TRAIN, VAL = figures._SPLITS["train"], figures._SPLITS["val"]
SEED = np.random.default_rng(0)
CLASSES = ["cat", "dog", "horse"]


def pixels(figure: Figure, folder: Path) -> NDArray[np.uint8]:
    """The figure's PNG file read back, `[H, W, 3]`."""
    figures.save(figure, folder / "figure.png")
    return np.round(imread(folder / "figure.png")[..., :3] * 255).astype(np.uint8)


def amount(image: NDArray[np.uint8], color: str) -> int:
    return int((image == np.round(np.array(to_rgb(color)) * 255)).all(axis=-1).sum())


def drawn_texts(figure: Figure) -> list[Text]:
    """The texts that reach the page: not the tick labels beyond an axis."""
    with patch.object(RendererAgg, "draw_text") as draw_text:
        figure.canvas.draw()
    return [call.kwargs["mtext"] for call in draw_text.call_args_list]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in drawn_texts(figure)]


def assert_legible(figure: Figure) -> None:
    refuse_crossing(figure, drawn_texts(figure))


def noise(count: int, channels: int = 1, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return SEED.integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def flat(channels: list[int]) -> NDArray[np.uint8]:
    """One image, `[1, C, 8, 8]`, of one colour."""
    return np.array(channels, dtype=np.uint8)[None, :, None, None].repeat(8, 2).repeat(8, 3)


def decay(epochs: range, *splits: str) -> dict[str, list[tuple[int, float]]]:
    return {
        f"{split}/{metric}": [(epoch, 1 / (epoch + 1) + 0.1 * shift) for epoch in epochs]
        for shift, split in enumerate(splits)
        for metric in ("loss", "accuracy")
    }


def test_sample_grid_names_the_class_of_each_picture() -> None:
    figure = picture_grids.sample_grid(noise(3), np.array([2, 0, 1]), CLASSES)
    assert words(figure) == ["horse", "cat", "dog"]
    assert_legible(figure)


@pytest.mark.long
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 24, 30])
def test_grids_hold_as_many_pictures_as_there_are_up_to_count(count: int, tmp_path: Path) -> None:
    labels = np.arange(count) % 3
    samples = picture_grids.sample_grid(noise(count), labels, CLASSES)
    predictions = picture_grids.prediction_grid(noise(count), labels, labels, CLASSES, count=5)
    assert (len(samples.axes), len(predictions.axes)) == (min(count, 24), min(count, 5))
    for figure in (samples, predictions):
        assert pixels(figure, tmp_path).size
        if drawn_texts(figure):
            assert_legible(figure)


@pytest.mark.parametrize(
    ("channels", "peak", "expected"),
    [
        pytest.param([255], 255, (255, 255, 255), id="white"),
        pytest.param([16], 16, (255, 255, 255), id="white-of-digits"),
        pytest.param([8], 16, (127, 127, 127), id="grey-of-digits"),
        pytest.param([0], 255, (0, 0, 0), id="black"),
        pytest.param([200], 100, (255, 255, 255), id="above-the-peak"),
        pytest.param([255, 0, 0], 255, (255, 0, 0), id="red"),
        pytest.param([0, 100, 50], 100, (0, 255, 127), id="colour-with-a-peak"),
        pytest.param([0, 255], 255, (0, 0, 0), id="first-of-two-channels"),
        pytest.param([255, 0, 0, 0], 255, (255, 255, 255), id="first-of-four-channels"),
    ],
)
def test_pixels_keep_their_colour(
    channels: list[int], peak: int, expected: tuple[int, int, int], tmp_path: Path
) -> None:
    figure = picture_grids.sample_grid(flat(channels), np.array([0]), CLASSES, peak=peak)
    image = pixels(figure, tmp_path)
    place = figure.axes[0].bbox
    middle = image[int(len(image) - (place.y0 + place.y1) / 2), int((place.x0 + place.x1) / 2)]
    assert np.abs(middle.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("shape", [(8, 8), (64, 32), (20, 60), (1, 100), (100, 1)])
def test_pictures_of_any_shape_stay_clear_of_the_captions(shape: tuple[int, int]) -> None:
    labels = np.arange(12) % 3
    figure = picture_grids.prediction_grid(noise(12, 3, *shape), labels, labels[::-1], CLASSES)
    assert_legible(figure)
    frames = [axes.get_window_extent() for axes in figure.axes]
    for text in drawn_texts(figure):
        assert not any(box(text).overlaps(frame) for frame in frames), text.get_text()


def test_wrong_predictions_are_marked_by_a_sign_and_a_frame(tmp_path: Path) -> None:
    true, predicted = np.array([0, 1, 2, 0]), np.array([0, 2, 2, 1])
    figure = picture_grids.prediction_grid(noise(4), true, predicted, CLASSES, count=3)
    *captions, heading = words(figure)
    assert "1 of these 3 wrong" in heading
    assert captions == ["cat", "✓ cat", "dog", "✗ horse", "horse", "✓ horse"]
    frames = [axes.spines["left"].get_linewidth() for axes in figure.axes]
    assert frames[1] > 2 > 1 > frames[0] == frames[2]
    right = picture_grids.prediction_grid(noise(4), true, true, CLASSES)
    assert amount(pixels(figure, tmp_path), VAL) > 500 > amount(pixels(right, tmp_path), VAL)


def test_pictures_without_a_true_class_are_neither_right_nor_wrong() -> None:
    true, predicted = np.array([0, picture_grids.UNKNOWN, 1]), np.array([0, 2, 2])
    figure = picture_grids.prediction_grid(noise(3), true, predicted, CLASSES)
    *captions, heading = words(figure)
    assert "1 of these 2 wrong" in heading
    assert captions == ["cat", "✓ cat", "horse", "dog", "✗ horse"]
    unknown = np.full(3, picture_grids.UNKNOWN)
    figure = picture_grids.prediction_grid(noise(3), unknown, predicted, CLASSES)
    assert words(figure) == ["cat", "horse", "horse", "predicted class"]
    assert_legible(figure)


def test_awkward_class_names_are_drawn_as_they_are_and_overlap_nowhere(tmp_path: Path) -> None:
    labels = np.arange(10)
    grid = picture_grids.prediction_grid(noise(10), labels, labels[::-1], AWKWARD)
    matrix = figures.confusion_matrix(labels, labels[::-1], AWKWARD)
    for figure in (grid, matrix):
        assert pixels(figure, tmp_path).size
        assert_legible(figure)
    assert r"$\frac{1$…and $x_1$" in words(matrix)
    assert {"two lines and more", "naïve café ☕", "a□b□"} <= set(words(matrix))


def test_long_names_keep_both_ends() -> None:
    first, second = words(picture_grids.sample_grid(noise(2), np.array([0, 1]), AWKWARD))
    assert first.startswith("n014") and first.endswith("_1") and "…" in first
    assert second.startswith("n014") and second.endswith("_2") and "…" in second


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(names=st.lists(st.text(max_size=300), min_size=2, max_size=4))
def test_any_class_names_can_be_drawn(names: list[str]) -> None:
    labels = np.arange(len(names))
    picture_grids.prediction_grid(noise(len(names)), labels, labels[::-1], names).canvas.draw()
    figures.confusion_matrix(labels, labels[::-1], names).canvas.draw()


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(
    names=st.lists(
        st.text(st.characters(max_codepoint=0x17F), max_size=60), min_size=2, max_size=30
    )
)
def test_european_class_names_never_overlap(names: list[str]) -> None:
    labels = np.arange(len(names))
    assert_legible(picture_grids.prediction_grid(noise(len(names)), labels, labels[::-1], names))
    assert_legible(figures.confusion_matrix(labels, labels[::-1], names))


@pytest.mark.long
@pytest.mark.parametrize("epochs", [range(1, 2), range(1), range(1, 11), range(101)])
def test_each_curve_is_drawn_and_labelled_with_its_last_value(
    epochs: range, tmp_path: Path
) -> None:
    figure = figures.learning_curves(decay(epochs, "train", "val", "test"), title="adam lr=0.001")
    last = 1 / (epochs[-1] + 1)
    assert f"val {last + 0.1:.3g}" in words(figure)
    assert words(figure).count(f"train {last:.3g}") == 2
    image = pixels(figure, tmp_path)
    assert all(amount(image, colour) > 100 for colour in figures._SPLITS.values())
    assert_legible(figure)


def test_step_zero_is_on_the_axis() -> None:
    figure = figures.learning_curves(decay(range(6), "train"))
    assert [axes.get_xlim() for axes in figure.axes] == [(0, 5), (0, 5)]


@pytest.mark.parametrize("splits", [("train", "test"), ("train",), ("holdout", "a/b", "$x$"), ()])
def test_splits_may_be_missing_or_unheard_of(splits: tuple[str, ...]) -> None:
    figure = figures.learning_curves(decay(range(1, 4), *splits))
    assert_legible(figure)
    assert all(any(word.startswith(split) for word in words(figure)) for split in splits)
    assert ("no accuracy" in words(figure)) == (not splits)


def test_labels_of_equal_ends_do_not_overlap() -> None:
    history = {f"{split}/loss": [(1, 0.5), (9, 0.25)] for split in ("train", "val", "test", "x")}
    figure = figures.learning_curves(history)
    assert_legible(figure)
    labels = [text for text in drawn_texts(figure) if text.get_text().endswith(" 0.25")]
    downwards = sorted(labels, key=lambda text: -box(text).y0)
    assert [text.get_text().split()[0] for text in downwards] == ["train", "val", "test", "x"]


def test_a_diverged_run_says_so_and_keeps_what_came_before(tmp_path: Path) -> None:
    history = {
        "train/loss": [(1, 2.0), (2, 1.0), (3, float("nan")), (4, float("nan"))],
        "val/loss": [(1, float("inf")), (2, 1.5), (3, float("nan")), (4, float("inf"))],
    }
    figure = figures.learning_curves(history)
    assert {"train nan", "val inf"} <= set(words(figure))
    image = pixels(figure, tmp_path)
    assert amount(image, TRAIN) > 100 and amount(image, VAL) > 100
    assert_legible(figure)


def test_a_loss_of_many_magnitudes_has_a_logarithmic_axis() -> None:
    history = decay(range(1, 4), "train") | {"val/loss": [(1, 1e5), (2, 0.1)]}
    figure = figures.learning_curves(history)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert "10000" in words(figure)
    assert_legible(figure)


def test_points_of_a_resumed_run_are_ordered_and_the_last_of_an_epoch_counts() -> None:
    history = {"train/loss": [(3, 9.0), (1, 3.0), (2, 2.0), (3, 1.0)], "epoch_seconds": [(1, 5.0)]}
    figure = figures.learning_curves(history)
    assert np.array_equal(figure.axes[0].lines[0].get_xydata(), [(1, 3), (2, 2), (3, 1)])
    assert "train 1" in words(figure)


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(
    history=st.dictionaries(
        st.sampled_from(
            [f"{s}/{m}" for s in ("train", "val", "test", "x") for m in ("loss", "accuracy")]
        ),
        st.lists(st.tuples(st.integers(0, 10**4), st.floats() | st.floats(0, 10)), max_size=12),
    ),
    title=st.text(st.characters(max_codepoint=0x17F), max_size=200),
)
def test_any_history_is_drawn_without_overlap(
    history: dict[str, list[tuple[int, float]]], title: str
) -> None:
    assert_legible(figures.learning_curves(history, title=title))


def test_confusion_matrix_counts_true_classes_in_rows(tmp_path: Path) -> None:
    true, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 2, 1, 1, 1])
    figure = figures.confusion_matrix(true, predicted, CLASSES)
    cells = {text.get_position()[::-1]: text.get_text() for text in figure.axes[0].texts}
    assert cells == {(0, 0): "2", (0, 2): "1", (1, 1): "2", (2, 1): "1"}
    assert "accuracy 0.6667 (4 of 6)" in words(figure)
    shares = figure.axes[0].images[0].get_array()
    assert shares is not None and np.allclose(shares.sum(axis=1), 1)
    assert pixels(figure, tmp_path).size


_LARGE = [pytest.param(size, marks=pytest.mark.long) for size in (100, 1000)]


@pytest.mark.long
@pytest.mark.parametrize("size", [2, 3, 10, 30, *_LARGE])
def test_confusion_matrix_of_any_number_of_classes_is_legible(size: int, tmp_path: Path) -> None:
    true = np.arange(size * 4) % size
    predicted = np.where(SEED.random(len(true)) < 0.3, true[::-1], true)
    figure = figures.confusion_matrix(true, predicted, [f"class number {i}" for i in range(size)])
    assert_legible(figure)
    assert max(pixels(figure, tmp_path).shape) < 2800
    assert all(float(text.get_fontsize()) >= 5 for text in drawn_texts(figure))


@pytest.mark.long
def test_counts_too_large_for_their_cells_are_left_out() -> None:
    true = np.repeat(np.arange(100), 1000)
    figure = figures.confusion_matrix(true, true, [str(i) for i in range(100)])
    assert not figure.axes[0].texts
    assert "accuracy 1.0000 (100000 of 100000)" in words(figure)


def test_a_class_that_never_occurs_is_grey_and_explained(tmp_path: Path) -> None:
    full = figures.confusion_matrix(np.array([0, 1, 2]), np.array([0, 1, 2]), CLASSES)
    figure = figures.confusion_matrix(np.array([0, 2]), np.array([0, 2]), CLASSES)
    grey = to_hex("0.88")
    assert "true (grey: no images)" in words(figure) and "true" in words(full)
    assert amount(pixels(figure, tmp_path), grey) > 10_000 > amount(pixels(full, tmp_path), grey)


def test_confusion_matrix_of_no_images_says_so() -> None:
    nothing = np.array([], dtype=np.int64)
    assert "no images" in words(figures.confusion_matrix(nothing, nothing, CLASSES))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_class_is_refused(label: int) -> None:
    labels = np.array([0, label])
    with pytest.raises(ValueError, match=f"label {label}: there are 3 classes"):
        figures.confusion_matrix(labels, labels, CLASSES)
    with pytest.raises(ValueError, match=f"label {label}: there are 3 classes"):
        picture_grids.sample_grid(noise(2), labels, CLASSES)


def test_equal_pictures_are_equal_files_in_any_thread(tmp_path: Path) -> None:
    labels = np.arange(10)

    def draw(name: int) -> bytes:
        path = tmp_path / f"{name}.png"
        figures.save(figures.confusion_matrix(labels, labels[::-1], AWKWARD), path)
        return path.read_bytes()

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(draw, range(4)))) == 1


def test_a_picture_that_cannot_be_drawn_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    figure = Figure()
    figure.text(0.5, 0.5, "$\\frac{$")
    with pytest.raises(ValueError):
        figures.save(figure, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_picture_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "figure.png"
    folder.mkdir()
    with pytest.raises(OSError):
        figures.save(figures.learning_curves({}), folder)
    assert list(tmp_path.iterdir()) == [folder] and not list(folder.iterdir())


def test_a_picture_replaces_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    figures.save(figures.learning_curves({}), str(path))
    assert path.read_bytes().startswith(b"\x89PNG") and list(tmp_path.iterdir()) == [path]


def test_a_class_whose_name_no_font_has_is_shown_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drawing, "_is_drawable", str.isascii)
    lost = "\N{CUNEIFORM SIGN A}\N{CUNEIFORM SIGN AB}"
    labels = np.arange(3)
    matrix = figures.confusion_matrix(labels, labels, ["cat", lost, "dog"])
    shown = words(matrix)
    assert {"cat", "#1", "dog"} <= set(shown)
    assert any("#n: the class with the number n" in text for text in shown)
    assert not any(
        "no font" in text for text in words(figures.confusion_matrix(labels, labels, CLASSES))
    )
    assert "#1" in words(picture_grids.sample_grid(noise(3), labels, ["cat", lost, "dog"]))


def test_a_font_that_is_installed_is_found_by_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """STIX, which matplotlib brings, has letters that DejaVu lacks: as a system's fonts do."""
    drawing._is_drawable.cache_clear()
    monkeypatch.setattr(drawing, "_FONTS", ["DejaVu Sans Mono"])
    sign = "\N{MATHEMATICAL SCRIPT CAPITAL A}"
    assert drawing.legible([sign]) == [sign]
    assert len(drawing._FONTS) == 2
    drawing._is_drawable.cache_clear()
