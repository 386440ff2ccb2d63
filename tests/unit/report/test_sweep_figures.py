"""Pictures of made-up sweeps are rendered for real; no two of their texts may overlap."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from optsweep.records.run import SweepRecord
from optsweep.report.figures.learning_rates import learning_rates
from optsweep.report.figures.run import save
from optsweep.report.figures.sweep import CAPTIONS, heat_map, ranking, sweep_figures
from support.figures import AWKWARD, refuse_crossing
from support.records import FOUR, LRS, OPTIMIZERS, SEARCH, SIXTY, TWELVE, failed, sweep, with_runs

# A glyph that no font has, an overflow, a mean of nothing: nothing passes unnoticed.
pytestmark = [
    pytest.mark.filterwarnings(f"error::{kind}") for kind in ("UserWarning", "RuntimeWarning")
]

ALL_DIVERGED = replace(TWELVE, runs=[replace(run, diverged=True) for run in TWELVE.runs])
# One seed failed, one configuration never finished, and two seeds of another diverged.
MIXED = with_runs(
    SIXTY,
    {0: failed(SIXTY.runs[0], "RuntimeError: boom")}
    | {n: failed(SIXTY.runs[n], "", status="KILLED") for n in range(20, 25)}
    | {n: replace(SIXTY.runs[n], diverged=True) for n in (31, 32)},
)
SEVEN = ["sgd", "momentum", "adam", "rmsprop", "adagrad", "adamw", "scratch_sgd"]
RATES = [float(rate) for rate in np.logspace(-5, 0, 50)]
THOUSAND = sweep({"optimizer": SEVEN[:4], "lr": RATES, "seed": list(range(5))})
ODD = [None, True, [512, 512], {"a": 1}, *AWKWARD]

CASES = {
    "one-run": sweep({}),
    "three-runs": sweep({"lr": LRS[:3]}),
    "four-runs": FOUR,
    "twelve-runs": TWELVE,
    "sixty-runs": SIXTY,
    "a-thousand-runs": THOUSAND,
    "ranked-by-test": sweep({"optimizer": OPTIMIZERS, "lr": LRS}, val=False),
    "one-epoch": sweep({"optimizer": OPTIMIZERS, "lr": LRS}, epochs=1),
    "all-diverged": ALL_DIVERGED,
    "failed-and-diverged": MIXED,
    "seven-optimizers": sweep({"optimizer": SEVEN, "lr": LRS}),
    "thirty-optimizers": sweep({"optimizer": [f"opt{n}" for n in range(30)], "lr": LRS}),
    "four-values": sweep(
        {"optimizer": OPTIMIZERS, "lr": LRS, "batch_size": [16, 64], "schedule": ["a", "b"]}
    ),
    "no-lr": sweep({"model.hidden": [[16], [512, 512]], "batch_size": [16, 32], "seed": [0, 1]}),
    "odd-values": sweep({"thing": ODD, "batch_size": [16, 32]}),
    "odd-optimizers": sweep({"optimizer": AWKWARD, "lr": LRS}),
    "odd-keys": sweep({r"$\frac{1$.<b>": [1, 2], "犬" * 40: LRS}),
    "wide-map": sweep(
        {"model": [f"a_model_of_a_long_name_{n}" for n in range(6)], "lr": RATES[:30]}
    ),
}


def drawn_texts(figure: Figure, draw_it: Callable[[], object] | None = None) -> list[Text]:
    """The texts that reach the page, those of several lines too, while the figure is drawn."""
    texts: list[Text] = []

    def draw(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            texts.append(text)
        original(text, renderer)

    original = Text.draw
    with patch.object(Text, "draw", draw):
        (draw_it or figure.canvas.draw)()
    return texts


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in drawn_texts(figure)]


def assert_legible(figure: Figure) -> None:
    refuse_crossing(figure, drawn_texts(figure))


# A plain run draws those that differ most; each picture is a second.
_PLAIN = ("one-run", "four-runs", "failed-and-diverged", "no-lr", "odd-keys")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in _PLAIN else pytest.mark.long) for name in CASES],
)
def test_pictures_are_legible(name: str, tmp_path: Path) -> None:
    figures = sweep_figures(CASES[name])
    assert set(figures) <= set(CAPTIONS)
    for title, figure in figures.items():
        drawn = drawn_texts(figure, partial(save, figure, tmp_path / f"{title}.png"))
        refuse_crossing(figure, drawn)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param("one-run", {"learning_curves"}, id="one run"),
        pytest.param("one-epoch", {"learning_rates", "heat_map"}, id="no curve of one epoch"),
        pytest.param("three-runs", {"learning_curves", "learning_rates"}, id="lr alone"),
        pytest.param("sixty-runs", {"learning_curves", "learning_rates", "heat_map"}, id="seeds"),
        pytest.param("four-values", {"learning_curves", "learning_rates"}, id="no map of four"),
        pytest.param("no-lr", {"learning_curves", "ranking", "heat_map"}, id="no lr"),
    ],
)
def test_each_picture_is_drawn_where_it_makes_sense(case: str, expected: set[str]) -> None:
    assert set(sweep_figures(CASES[case])) == expected


def test_runs_without_scores_have_no_pictures() -> None:
    nothing = replace(FOUR, runs=[failed(run, "boom") for run in FOUR.runs])
    assert sweep_figures(nothing) == {}
    assert sweep_figures(replace(FOUR, runs=[])) == {}


def lines(figure: Figure) -> int:
    found = [each for axes in figure.axes for each in axes.collections]
    return sum(len(each.get_segments()) for each in found if isinstance(each, LineCollection))


@pytest.mark.long
def test_a_thousand_runs_are_lines_and_not_labelled_one_by_one() -> None:
    assert lines(sweep_figures(TWELVE)["learning_curves"]) == 2 * 12
    figures = sweep_figures(THOUSAND)
    assert lines(figures["learning_curves"]) == 2 * 1000
    assert len(words(figures["learning_curves"])) < 70
    assert len(words(figures["learning_rates"])) < 40


def test_panels_are_in_the_order_typed_and_name_their_best() -> None:
    figure = sweep_figures(TWELVE)["learning_curves"]
    titles = [axes.get_title("left") for axes in figure.axes[: len(OPTIMIZERS)]]
    assert titles == OPTIMIZERS
    best = {"sgd": "0.1", "adam": "0.001", "rmsprop": "0.001"}
    for axes in figure.axes:
        assert len(axes.texts) == 1
    named = [axes.texts[0].get_text() for axes in figure.axes[: len(OPTIMIZERS)]]
    assert named == list(best.values())


@pytest.mark.long
def test_of_many_optimizers_the_best_are_drawn() -> None:
    figures = sweep_figures(CASES["thirty-optimizers"])
    assert len(figures["learning_curves"].axes) == 2 * 12
    assert "the best 12 of 30 optimizers" in figures["learning_curves"].texts[0].get_text()
    assert any("the best 14 of 30 optimizer" in text for text in words(figures["learning_rates"]))


def crosses(figure: Figure) -> int:
    strips = [axes for axes in figure.axes if axes.get_ylabel() == ""]
    return sum(int(np.size(line.get_xdata())) for axes in strips for line in axes.lines)


def test_diverged_rates_are_crosses_below_the_lines() -> None:
    assert crosses(learning_rates(TWELVE)) == sum(run.diverged for run in TWELVE.runs) == 2
    assert crosses(learning_rates(ALL_DIVERGED)) == 12
    assert "no run finished without diverging" in words(learning_rates(ALL_DIVERGED))
    assert "2 of 5" in words(learning_rates(MIXED))


def test_a_run_that_diverged_at_once_does_not_change_what_is_ranked_by() -> None:
    wild = replace(
        FOUR.runs[3],
        diverged=True,
        history={"train/loss": [(1, float("nan"))], "train/accuracy": [(1, 0.1)]},
        metrics={"train/loss": float("nan"), "train/accuracy": 0.1},
    )
    for figure in sweep_figures(with_runs(FOUR, {3: wild})).values():
        assert "(validation)" in figure.texts[0].get_text()


def test_a_line_names_its_peak_and_points_are_single_seeds() -> None:
    figure = learning_rates(SIXTY)
    adam = [run for run in SIXTY.runs if run.swept["optimizer"] == "adam"]
    best = np.mean([run.metrics["val/accuracy"] for run in adam if run.swept["lr"] == 1e-3])
    assert f"adam  {best:.4f} at 0.001" in words(figure)
    (clouds) = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)]
    sound = [run for run in SIXTY.runs if not run.diverged]
    assert sum(len(np.asarray(cloud.get_offsets())) for cloud in clouds) == len(sound)


def test_the_map_has_means_diverged_cells_and_hatched_ones() -> None:
    figure = heat_map(MIXED)
    drawn = words(figure)
    seeds = [run for run in MIXED.runs if run.swept["optimizer"] == "sgd"]
    mean = np.mean([run.metrics["val/accuracy"] for run in seeds if run.swept["lr"] == 1e-2])
    assert f"{mean:.3f}" in drawn
    assert drawn.count("diverged") == 2
    assert {"4 of 5", "3 of 5"} <= set(drawn)
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 1


def test_the_learning_rate_goes_across_the_map() -> None:
    axes = heat_map(sweep({"lr": [0.1, 1e-3], "batch_size": [16, 32, 64]})).axes[0]
    assert axes.get_xlabel() == "learning rate"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.001", "0.1"]


def test_values_that_are_equal_meet_in_one_cell() -> None:
    """A rate typed as `10` is composed as 10 and read back from the store as 10.0."""
    record = sweep({"lr": [0.1, 10.0], "batch_size": [16, 32]})
    figure = heat_map(replace(record, grid={"lr": [0.1, 10], "batch_size": [16, 32]}))
    assert not [patch for patch in figure.axes[0].patches if patch.get_hatch()]


def test_the_ranking_holds_forty_settings_and_says_so() -> None:
    many = sweep({"schedule": ["constant", "cosine"], "batch_size": list(range(1, 41))})
    figure = ranking(many)
    assert len(figure.axes[0].get_yticklabels()) == 40
    assert "of 80 configurations, the best 40" in figure.texts[0].get_text()


def test_the_ranking_says_what_diverged_and_what_never_finished() -> None:
    record = sweep({"model": ["a", "b", "c"]})
    record = with_runs(
        record,
        {0: replace(record.runs[0], diverged=True), 1: failed(record.runs[1], "boom")},
    )
    assert {"✗ diverged", "✗ never finished"} <= set(words(ranking(record)))


VALUES: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=60),
    st.lists(st.integers(), max_size=3),
)


@pytest.mark.long
@settings(max_examples=6, deadline=None)
@given(first=st.lists(VALUES, min_size=2, max_size=4), second=st.lists(VALUES, max_size=3))
def test_any_values_can_be_swept(first: list[Any], second: list[Any]) -> None:
    grid = {"one": first, "two": second} if second else {"one": first}
    for figure in sweep_figures(sweep(grid, epochs=2)).values():
        figure.canvas.draw()


@pytest.mark.long
def test_equal_sweeps_are_equal_files(tmp_path: Path) -> None:
    def drawn(record: SweepRecord) -> list[bytes]:
        for name, figure in sweep_figures(record).items():
            save(figure, tmp_path / f"{name}.png")
        return [path.read_bytes() for path in sorted(tmp_path.iterdir())]

    assert drawn(TWELVE) == drawn(TWELVE)


def test_a_search_is_drawn_as_points_hollow_where_pruned() -> None:
    axes, *_ = learning_rates(SEARCH).axes
    assert len(axes.lines) == 0
    clouds = [each for each in axes.collections if isinstance(each, PathCollection)]
    counts = [
        (np.asarray(each.get_offsets()).shape[0], np.asarray(each.get_facecolor()).size > 0)
        for each in clouds
    ]
    hollow = [count for count, is_full in counts if not is_full]
    full = [count for count, is_full in counts if is_full]
    assert sum(hollow) == 2
    assert sum(full) == sum(run.sound for run in SEARCH.runs)


def test_a_search_has_no_map_of_two_values() -> None:
    assert set(sweep_figures(SEARCH)) == {"learning_curves", "learning_rates"}


@pytest.mark.parametrize("lowest", [0.0, 0.97, 1.0])
def test_no_axis_of_accuracies_names_one_beyond_0_and_1(lowest: float) -> None:
    record = sweep({"optimizer": ["sgd", "adam"], "lr": [0.1, 1.0], "seed": [0, 1]})
    runs = {
        place: replace(run, metrics=run.metrics | {"val/accuracy": (1.0, lowest)[place % 2]})
        for place, run in enumerate(record.runs)
    }
    record = with_runs(record, runs)
    rates, ranks = learning_rates(record, {"adam": ["0.1"]}).axes[0], ranking(record).axes[0]
    bar = heat_map(record).axes[1]
    for ticks in (rates.get_yticks(), ranks.get_xticks(), bar.get_yticks()):
        assert len(ticks) and all(-1e-9 < tick < 1 + 1e-9 for tick in ticks)


def test_rates_that_may_be_the_best_have_a_bar_at_the_foot() -> None:
    able = {"adam": ["0.001", "0.01"], "sgd": ["0.1"]}
    figure = learning_rates(SIXTY, able)
    assert_legible(figure)
    feet = [line for line in figure.axes[0].lines if line.get_linewidth() == 2.5]
    drawn = [
        np.asarray(line.get_xdata())[~np.isnan(np.asarray(line.get_ydata()))].tolist()
        for line in feet
    ]
    assert sorted(drawn) == [[0.001, 0.01], [0.1]]
    heights = [np.nanmax(np.asarray(line.get_ydata())) for line in feet]
    low, high = figure.axes[0].get_ylim()
    lowest = min(run.metrics["val/accuracy"] for run in SIXTY.runs if run.sound)
    assert max(heights) < (lowest - low) / (high - low)
    assert "may be the best" in words(figure)
