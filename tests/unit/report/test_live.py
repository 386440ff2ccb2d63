"""The page of a running sweep, on records: nothing ended yet, half of it, and with failures."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.report.live import RELOADING, SHOWN, Glance, RunInHand, live_page
from support.records import FOUR, SIXTY, TWELVE, failed, sweep, with_runs

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> {{ 7*7 }}"


def under_way(record: SweepRecord, ended: int) -> SweepRecord:
    """The same sweep when so many of its runs had ended."""
    waiting = {n: failed(run, "", status="SCHEDULED") for n, run in enumerate(record.runs)}
    return with_runs(record, {n: run for n, run in waiting.items() if n >= ended})


def in_hand(runs: Sequence[RunRecord], epochs: int = 3) -> list[RunInHand]:
    """These runs when they had trained so many of their epochs."""
    return [
        RunInHand(run.name, 5, {name: points[:epochs] for name, points in run.history.items()})
        for run in runs
    ]


def glance(runs: int, shown: Sequence[RunInHand] = (), **given: object) -> Glance:
    known = {"in_hand": len(shown), "waiting": 0, "seconds": 80.0, "left": 40.0, **given}
    return Glance(runs=runs, shown=shown, **known)  # type: ignore[arg-type]  # of several types


def polylines(html: str) -> list[list[tuple[float, float]]]:
    """The points of each curve."""
    lines = re.findall(r'<polyline class="\w+" points="([^"]+)"/>', html)
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]
        for line in lines
    ]


def test_before_a_run_has_ended_the_page_shows_those_that_train() -> None:
    html = live_page(under_way(FOUR, 0), glance(4, in_hand(FOUR.runs[:2])))
    assert "4 runs: 2 in hand, 2 to do" in html
    assert "80.0 s so far, about 40.0 s left" in html
    assert "No run has ended yet." in html
    assert "epoch 3 of 5: validation loss" in html
    assert len(polylines(html)) == 2 * 2 * 2  # runs, metrics, splits
    assert RELOADING in html and 'id="runs"' not in html


def test_nothing_at_all_is_a_page_too() -> None:
    html = live_page(under_way(FOUR, 0), glance(4, left=None))
    assert "4 runs: 0 in hand, 4 to do. 80.0 s so far." in html.replace("\n", " ")
    assert "None at this moment." in html


def test_half_of_a_sweep_is_ranked_and_not_judged() -> None:
    html = live_page(under_way(SIXTY, 30), glance(60, in_hand(SIXTY.runs[30:32])))
    assert "So far, with 30 of 60 runs:" in html
    assert "Best of 6 configurations" in html
    assert "and no verdict" in html
    assert "beats" not in html and "leads" not in html
    assert "60 runs: 30 finished, 2 in hand, 28 to do" in html
    assert 'id="configurations"' in html and "table.csv" not in html
    assert f"<title>30/60 Sweep of {', '.join(['optimizer', 'lr'])} and seed</title>" in html


def test_failures_are_shown_with_their_errors() -> None:
    bad = failed(TWELVE.runs[3], "ValueError: it broke", "last words")
    html = live_page(with_runs(under_way(TWELVE, 6), {3: bad}), glance(12))
    assert "5 finished, 1 failed, 0 in hand, 6 to do" in html
    assert "failed: ValueError: it broke" in html and "last words" in html


def test_a_cluster_whose_files_are_elsewhere_is_no_puzzle() -> None:
    html = live_page(under_way(FOUR, 0), glance(4, waiting=4))
    assert "MLflow has their curves" in html


def test_a_sweep_that_ended_without_its_report_says_so_and_rests() -> None:
    html = live_page(under_way(FOUR, 2), glance(4, ended=True))
    assert RELOADING not in html
    assert "before its report was written" in html
    assert "resume=true" in html


@pytest.mark.parametrize("epochs", [1, 2, 5, 1000])
def test_curves_lie_in_their_charts(epochs: int) -> None:
    losses = [math.nan, math.inf, *[1e30 / epoch for epoch in range(1, epochs + 1)]]
    history = {"train/loss": list(enumerate(losses)), "train/accuracy": [(1, 0.0), (2, 1.0)]}
    html = live_page(under_way(FOUR, 0), glance(4, [RunInHand("one", epochs + 1, history)]))
    lines = polylines(html)
    assert len(lines) == 2
    assert all(0 <= x <= 100 and 0 <= y <= 40 for line in lines for x, y in line)
    assert max(map(len, lines)) <= 102


def test_a_run_of_zero_losses_or_none_that_is_finite_has_a_chart() -> None:
    nothing = {"train/loss": [(1, 0.0)], "train/accuracy": [(1, math.nan)]}
    html = live_page(under_way(FOUR, 0), glance(4, [RunInHand("one", 5, nothing)]))
    assert polylines(html) == [[(20, 40), (20, 40)]]


def test_texts_of_others_are_escaped_and_nothing_is_asked_of_a_network() -> None:
    bad = failed(replace(FOUR.runs[0], name=NASTY), NASTY, NASTY)
    record = replace(with_runs(under_way(FOUR, 2), {0: bad}), overrides=[NASTY], run_id=NASTY)
    html = live_page(record, glance(4, [RunInHand(NASTY, 5, {})]))
    assert "<script" not in html and "<img" not in html and "{{ 7*7 }}" in html
    addresses = re.findall(r"<[^>]*?\b(?:src|srcset|href|action)=\"([^\"]*)\"", html)
    assert all(address.startswith("data:") for address in addresses)
    assert "default-src 'none'" in html


def test_a_thousand_runs_are_a_small_page() -> None:
    record = sweep({"optimizer": ["sgd", "adam"], "lr": [0.1, 0.01], "seed": list(range(250))})
    html = live_page(under_way(record, 900), glance(1000, in_hand(record.runs[900 : 900 + SHOWN])))
    assert len(html) < 300_000
    assert "1,000 runs:" in html
