"""The data of the page's scripts: columns of what was swept, scores, and curves."""

import json
from dataclasses import replace
from itertools import pairwise
from math import nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optsweep.records.run import SweepRecord
from optsweep.records.values import label, printable
from optsweep.report.figures.style import PALETTE, Hue
from optsweep.report.interactive import Script, page_data
from optsweep.report.terminal_table import ranked_by_workload
from support.records import FOUR, SEARCH, SIXTY, TWELVE, failed, sweep, with_runs


def data_of(record: SweepRecord, most: int = 100_000) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page_data(record, ranked_by_workload(record), most).json)
    return found


def test_each_run_has_its_values_scores_and_curves() -> None:
    data = data_of(SIXTY)
    by_id = {run.run_id: run for run in SIXTY.runs}
    for place, run_id in enumerate(data["ids"]):
        run = by_id[run_id]
        for key in data["keys"][:3]:
            assert key["choices"][key["values"][place]] == label(run.swept[key["name"]])
        assert data["scores"]["val/accuracy"][place] == pytest.approx(
            run.metrics["val/accuracy"], rel=1e-3
        )
        history = dict(run.history["test/loss"])
        for epoch, value in zip(data["epochs"], data["curves"]["test/loss"][place], strict=False):
            assert value == pytest.approx(history[epoch], rel=1e-3)
    assert data["keys"][3]["name"] == "ended"  # some diverged


def test_a_curve_ends_where_its_last_value_is() -> None:
    (run, *_) = FOUR.runs
    broken = replace(run, history={"val/loss": [(1, 0.5), (2, nan), (3, 0.25), (4, nan), (5, nan)]})
    data = data_of(replace(FOUR, runs=[replace(broken, metrics={"val/loss": nan})]))
    assert data["curves"]["val/loss"] == [[0.5, None, 0.25]]
    assert data["scores"]["val/loss"] == [None]


def test_long_curves_are_thinned_evenly_with_both_ends() -> None:
    record = sweep({"optimizer": ["sgd", "adam"]}, epochs=100)
    data = page_data(record, ranked_by_workload(record), 2 * 6 * 12)
    epochs = json.loads(data.json)["epochs"]
    assert (epochs[0], epochs[-1], len(epochs)) == (1, 100, 12)
    assert {b - a for a, b in pairwise(epochs)} == {9}
    assert (data.epochs, data.epochs_shown) == (100, 12)


def test_colours_are_those_of_the_pictures() -> None:
    optimizer, lr = data_of(TWELVE)["keys"][:2]
    by_name = dict(zip(optimizer["choices"], optimizer["styles"], strict=True))
    assert [by_name[name] for name in sorted(by_name)] == [[colour, 0] for colour in PALETTE[:3]]
    assert [colour for colour, _ in lr["styles"]] == list(Hue.of(TWELVE).colours.values())
    assert data_of(TWELVE)["colour"] == "optimizer"
    assert data_of(sweep({"lr": [0.1, 0.01]}))["colour"] == "lr"


@pytest.mark.parametrize("record", [SEARCH, with_runs(FOUR, {0: failed(FOUR.runs[0], "boom")})])
def test_each_run_and_configuration_has_its_place(record: SweepRecord) -> None:
    ranked = ranked_by_workload(record)
    data = page_data(record, ranked)
    assert [data.places[id(run)] for own in ranked.values() for run in own] == list(
        range(len(record.runs))
    )
    assert len(set(data.configurations.values())) == len(record.runs)  # no seed was swept


@given(st.text())
def test_no_name_ends_the_element_that_holds_it(name: str) -> None:
    record = replace(FOUR, runs=[replace(run, name=f"{name}</script><!--") for run in FOUR.runs])
    text = page_data(record, {"": record.runs}).json
    assert not set(text) & set("<>&")
    assert json.loads(text)["names"][0] == printable(f"{name}</script><!--")


def test_a_program_cannot_end_its_element() -> None:
    script = Script.of('const text = "</script><!--";')
    assert script.text == 'const text = "<\\/script><\\!--";'
