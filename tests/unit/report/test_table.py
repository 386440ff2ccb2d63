"""The sentence, and the table on terminals of several widths."""

from copy import deepcopy
from dataclasses import replace

import pytest
from rich.console import Console

from optsweep.records.run import SweepRecord
from optsweep.report.page import page
from optsweep.report.table_csv import table_csv
from optsweep.report.terminal_table import counts, score, sentence, terminal_table
from optsweep.verdict.ranking import best_run, ranked_configurations
from support.records import (
    FOUR,
    LRS,
    OPTIMIZERS,
    SEARCH,
    SIXTY,
    TWELVE,
    confirmed,
    failed,
    sweep,
    with_runs,
)

NASTY = "\x1b[31mred\x1b]0;title\x07 [bold]b[/] :smile: \udcff \x00"


def shown(record: SweepRecord, width: int = 80) -> list[str]:
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(terminal_table(record, width))
    return capture.get().splitlines()


def test_the_sentence_names_the_best_run_and_its_scores() -> None:
    winner = best_run(TWELVE.runs)
    assert winner is not None
    accuracies = [winner.metrics[f"{split}/accuracy"] for split in ("val", "test")]
    assert sentence(TWELVE) == (
        f"Best of 12 runs: {winner.name}, validation accuracy {accuracies[0]:.4f}, "
        f"test accuracy {accuracies[1]:.4f}."
    )


def test_the_sentence_says_that_ranking_fell_back_to_test() -> None:
    text = sentence(sweep({"lr": LRS}, val=False))
    assert text.endswith("Ranked by test, as val_fraction=0 leaves no validation data.")
    assert "validation accuracy" not in text


def test_the_sentence_names_the_best_configuration_where_seeds_were_swept() -> None:
    first = ranked_configurations(SIXTY.runs)[0]
    mean, deviation = first.mean("val/accuracy"), first.deviation("val/accuracy")
    text = sentence(SIXTY)
    start = (
        f"Best of 12 configurations: {first.name}, validation accuracy {mean:.4f} ± {deviation:.4f}"
    )
    assert text.startswith(start)
    assert "(mean ± standard deviation over 5 seeds)" in text
    winner = best_run(SIXTY.runs)
    assert winner is not None and f"Best single run: {winner.name}" in text


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param(replace(FOUR, runs=[]), "The sweep holds no runs.", id="empty"),
        pytest.param(
            replace(FOUR, runs=[replace(run, diverged=True) for run in FOUR.runs]),
            "No run finished without diverging (4 diverged); try a smaller lr.",
            id="all diverged",
        ),
        pytest.param(
            replace(FOUR, runs=[failed(run, "boom") for run in FOUR.runs]),
            "No run finished without diverging (4 failed).",
            id="all failed",
        ),
    ],
)
def test_the_sentence_where_nothing_won(record: SweepRecord, expected: str) -> None:
    assert sentence(record) == expected


def test_a_lone_run_is_not_the_best_of_one() -> None:
    assert sentence(sweep({})).startswith("The only run: sgd lr=0.001 seed=0, validation")
    assert sentence(sweep({"seed": [0, 1]})).startswith(
        "The only configuration, validation accuracy"
    )


def test_eighty_columns_hold_two_swept_values_and_all_scores() -> None:
    head = shown(TWELVE)[:2]
    assert head[0].split() == ["val", "val", "test", "test", "train", "train"]
    assert head[1].split() == ["optimizer", "lr", *["acc.", "loss"] * 3, "time", "notes"]
    assert max(map(len, shown(TWELVE))) <= 80
    assert len(shown(TWELVE)) == 3 + 12


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize(
    "record",
    [
        pytest.param(SIXTY, id="seeds"),
        pytest.param(TWELVE, id="runs"),
        pytest.param(sweep({}), id="one run"),
        pytest.param(sweep({"model.hidden": [[16], [512] * 30], "lr": LRS}), id="long values"),
    ],
)
def test_the_table_keeps_to_the_width(record: SweepRecord, width: int) -> None:
    lines = shown(record, width)
    assert max(map(len, lines)) <= width
    assert "acc." in lines[1]


def test_validation_outlives_what_gives_way() -> None:
    head = " ".join(shown(SIXTY, 50)[0].split())
    assert head == "val"
    assert " ".join(shown(SIXTY, 80)[0].split()) == "val test"


def test_the_best_thirty_are_shown_and_the_rest_counted() -> None:
    many = sweep({"optimizer": OPTIMIZERS, "lr": LRS, "batch_size": list(range(100))})
    lines = shown(many)
    assert len(lines) == 3 + 30 + 1
    assert lines[-1].strip() == "and 1,170 more runs, in table.csv"


def test_every_failure_has_its_reason_below_the_table() -> None:
    runs = {n: failed(TWELVE.runs[n], f"ValueError: reason {n}") for n in (2, 5)}
    runs[7] = replace(TWELVE.runs[7], reused=True)
    lines = [line.rstrip() for line in shown(with_runs(TWELVE, runs), 120)]
    assert lines[-2:] == [f"{TWELVE.runs[n].name}: failed: ValueError: reason {n}" for n in (2, 5)]
    assert sum("failed" in line for line in lines) == 4
    assert sum("reused" in line for line in lines) == 1


def test_names_steer_no_terminal_and_no_markup() -> None:
    record = sweep({"model": [NASTY, "plain"]})
    text = "\n".join(shown(record, 200))
    assert "red [bold]b[/] :smile: � �" in text
    assert "\x1b" not in text
    assert "\x1b" not in sentence(with_runs(record, {0: replace(record.runs[0], name=NASTY)}))


def test_scores_are_short_whatever_they_are() -> None:
    assert [score(value) for value in (None, 0.5, 12345678.0, float("nan"), float("inf"))] == [
        "",
        "0.5000",
        "1.23e+07",
        "nan",
        "inf",
    ]


def test_runs_are_counted_by_how_they_ended() -> None:
    runs = {0: failed(TWELVE.runs[0], "boom"), 1: failed(TWELVE.runs[1], "", status="KILLED")}
    assert counts(with_runs(TWELVE, runs)) == {
        "finished": 8,
        "diverged": 2,
        "failed": 1,
        "killed": 1,
    }


def test_pruned_runs_come_after_the_sound_ones_and_say_when_they_ended() -> None:
    lines = [line for line in shown(SEARCH, 100) if " s " in line or line.endswith(" s")]
    notes = [line.partition(" s ")[2].strip() for line in lines]
    sound = sum(run.sound for run in SEARCH.runs)
    assert notes[sound : sound + 2] == ["pruned after 3 epochs", "pruned after 1 epoch"]
    assert set(notes[:sound]) == {""}
    assert counts(SEARCH)["pruned"] == 2


def test_each_workload_is_ranked_by_itself() -> None:
    record = sweep({"dataset": ["b", "a"], "optimizer": OPTIMIZERS, "lr": LRS, "seed": [0, 1]})
    datasets = [
        line.split()[0] for line in shown(record, 120) if line.split()[:1] in (["a"], ["b"])
    ]
    assert datasets == ["b"] * 12 + ["a"] * 12
    first, second = sentence(record).splitlines()
    assert first.startswith("dataset=b: Best of 12 configurations: adam dataset=b lr=0.001")
    assert second.startswith("dataset=a: Best of 12 configurations: adam dataset=a lr=0.001")


def test_a_share_of_the_rows_is_for_each_workload() -> None:
    record = sweep({"dataset": ["b", "a"], "lr": LRS, "batch_size": list(range(10))})
    lines = shown(record, 120)
    assert sum(line.startswith("b ") for line in lines) == 15
    assert sum(line.startswith("a ") for line in lines) == 15
    assert lines[-1].strip() == "and 50 more runs, in table.csv"


def test_what_was_confirmed_is_ranked_by_the_seeds_that_chose() -> None:
    record = confirmed(SIXTY)
    assert ranked_configurations(record.runs, record.confirm_seeds)[0].name == "adam lr=0.001"
    order = [each.name for each in ranked_configurations(SIXTY.runs)]
    assert [e.name for e in ranked_configurations(record.runs, record.confirm_seeds)] == order
    assert sentence(record).startswith("Best of 12 configurations by the seeds that chose: adam ")
    assert "ranked by the seeds that chose" in "\n".join(shown(record, 120))


def test_balanced_accuracy_stands_beside_accuracy_where_there_is_any() -> None:
    for run in (unbalanced := deepcopy(FOUR)).runs:
        run.metrics |= {f"{split}/balanced_accuracy": 0.25 for split in ("val", "test")}
    assert "validation balanced accuracy 0.2500, test accuracy" in sentence(unbalanced)
    assert "test balanced accuracy 0.2500" in sentence(unbalanced)
    assert "bal." in "\n".join(shown(unbalanced, 120)) and "0.2500" in shown(unbalanced, 120)[3]
    assert "bal." not in "\n".join(shown(FOUR, 120))
    assert "val/balanced_accuracy" in table_csv(unbalanced.runs)
    assert "balanced" not in table_csv(FOUR.runs)
    assert '<th scope="col" class="number">balanced accuracy</th>' in page(unbalanced)
    assert "balanced" not in page(FOUR)
