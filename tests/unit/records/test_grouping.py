"""Configurations over seeds, several sweeps as one, and values in words."""

from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import pytest

from optsweep.records.merging import common, merge
from optsweep.records.run import RunRecord
from optsweep.records.values import identity, label, named, printable
from optsweep.verdict.ranking import ranked_configurations
from support.records import FOUR, SIXTY, TWELVE, failed, sweep, with_runs


def scored(swept: dict[str, Any], accuracy: float, **more: Any) -> RunRecord:
    metrics = {"val/accuracy": accuracy, "val/loss": 1 - accuracy}
    return RunRecord(f"run {swept}", swept=swept, metrics=metrics, **more)


def test_runs_that_differ_in_seed_alone_are_one_setting() -> None:
    configurations = ranked_configurations(SIXTY.runs)
    assert len(configurations) == 12
    assert {len(configuration.runs) for configuration in configurations} == {5}
    assert all("seed" not in configuration.swept for configuration in configurations)


def test_mean_and_deviation_are_over_sound_runs_with_n_minus_one() -> None:
    runs = [scored({"lr": 0.1, "seed": seed}, value) for seed, value in enumerate((0.9, 0.8, 0.7))]
    runs.append(scored({"lr": 0.1, "seed": 3}, 0.1, diverged=True))
    runs.append(scored({"lr": 0.1, "seed": 4}, 0.1, status="FAILED"))
    (configuration,) = ranked_configurations(runs)
    assert configuration.mean("val/accuracy") == pytest.approx(mean((0.9, 0.8, 0.7)))
    assert configuration.deviation("val/accuracy") == pytest.approx(stdev((0.9, 0.8, 0.7)))
    assert configuration.notes == "1 of 5 diverged; 1 of 5 not finished"


def test_the_selected_epoch_is_the_earliest_of_the_best() -> None:
    points = [(0, 0.95), (1, 0.5), (2, 0.9), (3, 0.7), (4, 0.9)]
    history = {"val/accuracy": points, "test/accuracy": [(e, v - 0.1) for e, v in points]}
    run = RunRecord("a run", params={"select": "best"}, history=history)
    assert (run.selected_epoch, run.selection, run.notes) == (2, "best epoch 2", "best epoch 2")
    assert run.final_metrics() == {"val/accuracy": 0.9, "test/accuracy": 0.8}
    for other in (replace(run, params={}), replace(run, diverged=True)):
        assert other.selected_epoch is None
        assert other.final_metrics()["val/accuracy"] == points[-1][1]
    untrained = replace(run, history={"val/accuracy": points[:1]})
    assert untrained.selected_epoch is None and untrained.final_metrics() == {"val/accuracy": 0.95}


def test_a_run_that_stopped_early_is_sound_and_says_when_it_ended() -> None:
    history = {"val/accuracy": [(1, 0.5), (2, 0.4)]}
    run = replace(scored({"lr": 0.1, "seed": 0}, 0.5), stopped_early=True, history=history)
    assert run.sound and run.notes == "stopped after 2 epochs"
    (configuration,) = ranked_configurations([run, scored({"lr": 0.1, "seed": 1}, 0.5)])
    assert configuration.notes == "1 of 2 stopped early"
    assert len(configuration.sound) == 2


def test_one_run_has_no_deviation_and_none_no_mean() -> None:
    (one,) = ranked_configurations([scored({"lr": 0.1, "seed": 0}, 0.5)])
    assert (one.mean("val/accuracy"), one.deviation("val/accuracy")) == (0.5, None)
    (none,) = ranked_configurations([scored({"lr": 0.1, "seed": 0}, 0.5, diverged=True)])
    assert (none.mean("val/accuracy"), none.notes) == (None, "diverged")


def test_a_diverged_seed_counts_against_a_configuration_and_a_killed_one_does_not() -> None:
    runs = [
        *(scored({"lr": "wild", "seed": n}, 0.95, diverged=n == 0) for n in range(2)),
        *(scored({"lr": "calm", "seed": n}, 0.7) for n in range(2)),
        *(scored({"lr": "cut", "seed": n}, 0.9, status=["KILLED", "FINISHED"][n]) for n in (0, 1)),
        *(scored({"lr": "poor", "seed": n}, 0.1) for n in range(2)),
        *(scored({"lr": "gone", "seed": n}, 0.1, diverged=True) for n in range(2)),
    ]
    order = [configuration.swept["lr"] for configuration in ranked_configurations(runs)]
    assert order == ["cut", "calm", "wild", "poor", "gone"]


def test_equal_values_are_one_setting_however_they_are_held() -> None:
    runs = [scored({"lr": lr, "seed": seed}, 0.5) for seed, lr in enumerate((10, 10.0, "10"))]
    assert len(ranked_configurations(runs)) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1e-3, "0.001"),
        (1e-5, "1e-5"),
        (1e10, "1e10"),
        (10.0, "10"),
        (True, "true"),
        (None, "null"),
        ([512, 512], "[512,512]"),
        ((0.9, 0.999), "[0.9,0.999]"),
        ({"a": None}, "{a:null}"),
        ("adam", "adam"),
    ],
)
def test_values_are_worded_as_they_are_typed(value: Any, expected: str) -> None:
    assert label(value) == expected


def test_printable_keeps_lines_tabs_and_other_alphabets() -> None:
    assert printable("a\tb\r\nc\rd 犬 é") == "a\tb\nc\nd 犬 é"
    assert printable("\u202eevil\u2066 ltr") == "evil ltr"
    assert printable("\x1b[1;32mgreen\x1b[0m \x1b(B done\x7f") == "green  done�"


def test_the_optimizer_comes_first_and_by_its_name() -> None:
    assert named({"lr": 0.001, "optimizer": "adam", "x": [1]}) == "adam lr=0.001 x=[1]"


def test_rates_that_differ_in_the_last_digit_are_two() -> None:
    assert identity(0.1) != identity(0.1 + 2e-17 * 8)


def test_one_sweep_merged_is_itself() -> None:
    assert merge([TWELVE]) is TWELVE


def test_merged_sweeps_vary_what_differs_between_any_two_runs() -> None:
    first = sweep({"optimizer": ["sgd", "adam"]}, lr=0.1)
    second = sweep({"optimizer": ["adam"]}, lr=0.01)
    merged = merge([first, renamed(second, "b")])
    assert merged.grid == {"optimizer": ["sgd", "adam"], "lr": [0.1, 0.01]}
    assert [run.swept for run in merged.runs] == [
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": "adam", "lr": 0.1},
        {"optimizer": "adam", "lr": 0.01},
    ]
    assert "lr" not in merged.common and merged.common["model"] == "mlp"
    assert merged.command == f"{first.command}\n{second.command}"


def renamed(record: Any, prefix: str) -> Any:
    """The same sweep, its runs under other ids."""
    return replace(
        record, runs=[replace(run, run_id=prefix + run.run_id[1:]) for run in record.runs]
    )


def test_a_run_that_two_sweeps_share_counts_once_and_as_trained() -> None:
    reused = replace(TWELVE, runs=[replace(run, reused=True) for run in TWELVE.runs])
    merged = merge([reused, TWELVE])
    assert len(merged.runs) == 12
    assert not any(run.reused for run in merged.runs)


def test_runs_that_never_started_are_not_taken_for_one() -> None:
    idle = [replace(run, run_id="", status="SCHEDULED") for run in FOUR.runs]
    assert len(merge([replace(FOUR, runs=idle), replace(FOUR, runs=idle)]).runs) == 8


def test_what_an_option_decides_and_where_it_ran_are_not_swept() -> None:
    def with_params(record: Any, **params: Any) -> Any:
        runs = [replace(run, params={**run.params, **params}) for run in record.runs]
        return renamed(replace(record, runs=runs), params["threads"])

    own = with_params(sweep({"optimizer": ["sgd"]}), threads="1", device="cuda:0")
    other = with_params(
        sweep({"optimizer": ["adam"]}), threads="2", device="cuda:1", **{"optimizer.betas": (1, 2)}
    )
    assert list(merge([own, other]).grid) == ["optimizer"]
    tuned = with_params(
        sweep({"optimizer": ["adam"]}), threads="3", device="cuda", **{"optimizer.betas": (3, 4)}
    )
    assert list(merge([own, other, tuned]).grid) == ["optimizer", "optimizer.betas"]


def test_environments_that_differ_are_both_shown() -> None:
    other = replace(renamed(TWELVE, "b"), environment={"torch": "2.16.0", "python": "3.11.2"})
    merged = merge([TWELVE, other])
    assert merged.environment["torch"] == "2.15.0; 2.16.0"
    assert merged.environment["python"] == "3.11.2"


def test_runs_without_settings_do_not_hide_what_the_others_share() -> None:
    bare = replace(failed(FOUR.runs[0], "boom"), params={})
    record = with_runs(FOUR, {0: bare})
    assert common(record.runs, record.grid)["dataset"] == "digits"
