"""What MLflow's page shows as descriptions, of made-up sweeps."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from optsweep.records.run import SweepRecord
from optsweep.report.descriptions import of_running_sweep, of_sweep, places, small_copy
from optsweep.report.markdown import of_run, page_of, text
from optsweep.verdict.judge_sweep import judge
from support.records import FOUR, SEARCH, SIXTY, TWELVE, failed, sweep, with_runs

WORKLOADS = sweep({"dataset": ["digits", "mnist"], "optimizer": ["sgd", "adam"], "seed": [0, 1]})
BROKEN = with_runs(FOUR, {n: failed(run, "it broke") for n, run in enumerate(FOUR.runs)})


def described(record: SweepRecord, picture: str | None = "figures/verdict.png") -> str:
    return of_sweep(record, judge(record), page_of("1", record.run_id), picture, "/tmp/sweep")


def test_the_answer_comes_first_then_how_to_confirm_it_and_the_picture() -> None:
    said = described(SIXTY).split("\n\n")
    assert said[0].startswith("**Undecided between adam and rmsprop.")
    assert said[0].endswith("**")
    place = said.index("To confirm at fresh seeds, type:")
    assert said[place + 1].startswith("    python experiments/run.py -m optimizer=sgd,adam,rmsprop")
    assert said[place + 1].endswith("confirm=5 resume=true")
    address = f"get-artifact?path=figures%2Fverdict.png&run_uuid={SIXTY.run_id}"
    assert said[place + 2] == f"![the answer as a picture]({address})"
    assert "    /tmp/sweep" in said


def test_the_table_ranks_configurations_over_seeds_or_runs() -> None:
    rows = [line for line in described(SIXTY).splitlines() if line.startswith("|")]
    assert rows[0] == "| best | optimizer | lr | validation accuracy | test accuracy |"
    assert rows[2].startswith("| 1 | adam | 0.001 | 0.9") and " ± " in rows[2]
    assert len(rows) == 2 + 10 and "and 2 more, in the report" in described(SIXTY)
    rows = [line for line in described(FOUR).splitlines() if line.startswith("| [1]")]
    (best,) = rows
    assert best.startswith("| [1](#/experiments/1/runs/0000")


@pytest.mark.parametrize("record", [FOUR, TWELVE, SIXTY, SEARCH, WORKLOADS, BROKEN])
def test_a_description_is_short_enough(record: SweepRecord) -> None:
    assert len(described(record, None)) < 8000


def test_each_workload_has_its_answer_and_its_table() -> None:
    said = described(WORKLOADS)
    assert "### dataset=digits" in said and "### dataset=mnist" in said
    assert "| best dataset=digits |" in said and "| best dataset=mnist |" in said


def test_a_picture_is_copied_in_the_width_of_the_page(tmp_path: Path) -> None:
    Image.new("RGBA", (1650, 400)).save(tmp_path / "verdict.png")
    copy = small_copy(tmp_path / "verdict.png")
    with Image.open(copy) as found:
        assert copy.name == "verdict-small.png" and found.size == (600, 145)


def test_where_nothing_finished_that_is_the_answer() -> None:
    assert described(BROKEN).startswith("No run finished without diverging (4 failed).")
    said = described(BROKEN, None)
    assert "![" not in said and "[4 runs](#/experiments/1/runs?searchFilter=tags." in said
    assert "orderByAsc=false): 4 failed." in said


def test_a_sweep_that_runs_says_so() -> None:
    assert of_running_sweep("optsweep -m lr=1").startswith("**This sweep is running.**")


def test_a_run_says_what_it_is_and_the_best_their_places() -> None:
    run = SIXTY.runs[0]
    said = of_run(run.name, run.params, "#/experiments/1/runs/2")
    assert said.startswith(f"**{run.name}**, of [this sweep](#/experiments/1/runs/2)\n\n")
    assert said.endswith("model mlp, dataset digits, batch size 64, epochs 5")
    assert of_run("a", {}, None) == "**a**"
    found = places(SIXTY)
    assert len(found) == 20
    assert sorted(found.values())[0].startswith(
        "Place **1** of 60 runs, by validation accuracy 0.9"
    )


@given(st.text())
def test_no_sign_of_a_text_is_markup(words: str) -> None:
    said = text(words)
    assert "<" not in said and ">" not in said and "\n" not in said
    bare = said.replace("\\\\", "").replace("\\|", "").replace("\\`", "")
    assert "|" not in bare and "`" not in bare


def test_values_of_a_table_cannot_leave_their_cells() -> None:
    wild = replace(FOUR.runs[0], swept={**FOUR.runs[0].swept, "optimizer": "a|b\n<img src=x>"})
    record = with_runs(FOUR, {0: wild})
    assert "a\\|b &lt;img src=x&gt;" in described(record) and "<img" not in described(record)
