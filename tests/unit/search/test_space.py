"""What a search draws from: ends, choices, scales, and the points that it begins with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optsweep.errors import SettingsError
from optsweep.records.search_intervals import read_interval
from optsweep.search.space import (
    BEGINNING,
    Choice,
    Interval,
    evenly_spread,
    every,
    interval,
    probes,
    size,
)

OPTIMIZERS = Choice("optimizer", ("sgd", "adam", "rmsprop"))
LR = Interval("lr", 1e-5, 1.0, log=True)


@pytest.mark.parametrize(
    ("low", "high", "tags", "log"),
    [
        (1e-5, 1.0, (), True),
        (1.0, 10.0, (), False),  # a decade, and no more
        (1.0, 10.1, (), True),
        (0.0, 1.0, (), False),
        (1.0, 2.0, ("log",), True),
        (1e-5, 1.0, ("linear",), False),
    ],
)
def test_what_spans_more_than_a_decade_is_searched_by_ratios(
    low: float, high: float, tags: tuple[str, ...], log: bool
) -> None:
    assert interval("lr=...", "lr", low, high, tags).log is log


@pytest.mark.parametrize(
    ("low", "high", "tags", "words"),
    [
        (1.0, 0.0, (), ("the low end comes first", "type lr=interval(0,1)")),
        (1.0, 1.0, (), ("one number", "type lr=1")),
        (0.0, 1.0, ("log",), ("above 0", "type lr=interval(0,1)")),
        (0.0, float("inf"), (), ("finite", "lr=interval(1e-5,1)")),
    ],
)
def test_an_interval_that_is_none_is_refused(
    low: float, high: float, tags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as refusal:
        interval("lr=interval(...)", "lr", low, high, tags)
    assert str(refusal.value).startswith("lr=interval(...): ")
    assert all(word in str(refusal.value) for word in words)


@given(st.floats(0, 1))
def test_a_number_is_drawn_as_it_can_be_typed_again_and_never_beyond_the_ends(share: float) -> None:
    text = LR.text(LR.at(share))
    assert 1e-5 <= float(text) <= 1
    assert repr(float(text)) == text == repr(float(f"{float(text):.4g}"))


def test_whole_numbers_stay_whole() -> None:
    sizes = interval("...", "batch_size", 16, 256, ())
    assert sizes.whole and sizes.log
    assert {sizes.text(sizes.at(share)) for share in (0.0, 0.5, 1.0)} == {"16", "64", "256"}
    assert str(sizes) == "int(interval(16,256))"


def test_probes_hold_each_choice_and_each_end() -> None:
    found = probes([OPTIMIZERS, LR])
    assert [probe["optimizer"] for probe in found] == ["sgd", "adam", "rmsprop", "sgd"]
    assert {probe["lr"] for probe in found} == {"1e-05", "1.0"}


def test_a_space_of_choices_has_a_size_and_all_its_points() -> None:
    rates = Choice("lr", ("1e-3", "1e-2"))
    assert size([OPTIMIZERS, rates]) == 6
    points = list(every([OPTIMIZERS, rates]))
    assert points[:3] == [
        {"optimizer": "sgd", "lr": "1e-3"},
        {"optimizer": "sgd", "lr": "1e-2"},
        {"optimizer": "adam", "lr": "1e-3"},
    ]
    assert len(points) == 6
    assert size([OPTIMIZERS, LR]) is None


def test_a_search_begins_evenly_over_the_space() -> None:
    points = evenly_spread([OPTIMIZERS, LR], seed=3)
    assert len(points) == BEGINNING
    rates = sorted(float(point["lr"]) for point in points)
    # One in each eighth of the decades, whatever the seed.
    assert [int(len(rates) * LR_SHARE(rate)) for rate in rates] == list(range(BEGINNING))
    assert {point["optimizer"] for point in points} == {"sgd", "adam", "rmsprop"}
    assert (
        points == evenly_spread([OPTIMIZERS, LR], seed=3) != evenly_spread([OPTIMIZERS, LR], seed=4)
    )


def LR_SHARE(rate: float) -> float:  # noqa: N802
    """How far a rate is from 1e-5 to 1, by decades."""
    from math import log10

    return (log10(rate) + 5) / 5


@pytest.mark.parametrize(
    "dimension",
    [LR, Interval("lr", 1, 2, True), Interval("lr", 1e-5, 1, False), Interval("b", 2, 90, True)],
)
def test_an_interval_is_read_as_it_is_written(dimension: Interval) -> None:
    assert read_interval(str(dimension)) == (dimension.low, dimension.high, dimension.log)
    assert read_interval("sgd,adam") is None
