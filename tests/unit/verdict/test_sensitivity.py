"""How wide the good learning rates are, and how soon a target is reached."""

from dataclasses import replace

import pytest

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.verdict.candidates import candidates
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.sensitivity import Sensitivity, sensitivity
from optsweep.verdict.sweep_sentences import few_sentences
from optsweep.verdict.time_to_target import TargetTime, time_to_target
from support.records import Scores, failed, scored, sweep, with_runs


def over_rates(rates: dict[float, float | None]) -> SweepRecord:
    rows: Scores = {(lr,): [None if each is None else (each, each)] for lr, each in rates.items()}
    return scored(rows, "lr")


def found(record: SweepRecord) -> Sensitivity:
    (one,) = candidates(record)
    answer = sensitivity(one)
    assert answer is not None
    return answer


def test_a_rate_at_which_a_seed_diverged_is_not_stable() -> None:
    rows: Scores = {(0.01,): [(0.9, 0.9), (0.9, 0.9)], (0.1,): [(0.95, 0.9), None]}
    answer = found(scored(rows, "lr"))
    assert answer.largest_stable == 0.01
    assert [(p.lr, p.mean, p.runs, p.diverged) for p in answer.points] == [
        (0.01, 0.9, 2, 0),
        (0.1, 0.95, 2, 1),
    ]


def test_the_band_reaches_from_the_lowest_to_the_highest_seed() -> None:
    rows: Scores = {(0.01,): [(0.9, 0.9), (0.7, 0.9), (0.8, 0.9)], (0.1,): [(0.5, 0.5)] * 3}
    point = found(scored(rows, "lr")).points[0]
    assert (point.low, point.high) == (0.7, 0.9)
    assert point.mean == pytest.approx(0.8)


def test_beside_another_value_the_best_counts_at_each_rate() -> None:
    rows: Scores = {
        (0.01, 16): [(0.9, 0.9)],
        (0.01, 32): [(0.8, 0.8)],
        (0.1, 16): [(0.6, 0.6)],
        (0.1, 32): [(0.895, 0.9)],
    }
    answer = found(scored(rows, "lr", "batch_size"))
    assert [point.mean for point in answer.points] == [0.9, 0.895]


def test_where_all_diverged_nothing_is_stable() -> None:
    answer = found(over_rates({0.1: None, 1.0: None}))
    assert answer.largest_stable is None


def test_one_rate_has_no_sensitivity() -> None:
    (one,) = candidates(sweep({"seed": [0, 1]}))
    assert sensitivity(one) is None


def learning(*accuracies: float, seconds: tuple[float, ...] = ()) -> RunRecord:
    points = list(enumerate(accuracies, start=1))
    return RunRecord(
        "run",
        metrics={"val/accuracy": accuracies[-1], "test/accuracy": accuracies[-1]},
        history={"val/accuracy": points},
        seconds=sum(seconds) or 6.0,
        epoch_seconds=list(enumerate(seconds, start=1)),
    )


def of_runs(rows: dict[str, list[RunRecord]]) -> SweepRecord:
    runs = [
        replace(run, swept={"optimizer": name, "seed": seed}, run_id=f"{name}{seed}")
        for name, own in rows.items()
        for seed, run in enumerate(own)
    ]
    return SweepRecord("", [], {"optimizer": list(rows), "seed": [0, 1]}, runs)


def test_the_time_is_that_of_the_first_crossing() -> None:
    run = learning(0.5, 0.9, 0.7, 0.95, seconds=(1.0, 2.0, 3.0, 4.0))
    (one,) = candidates(of_runs({"sgd": [run]}))
    assert time_to_target(one, 0.9) == [TargetTime({"optimizer": "sgd"}, 1, 1, 2.0, 3.0)]
    assert time_to_target(one, 0.96) == [TargetTime({"optimizer": "sgd"}, 1, 0, None, None)]


def test_a_run_that_stopped_early_counts_the_epochs_that_it_took() -> None:
    short = replace(
        learning(0.5, 0.6, seconds=(1.0, 1.0)), params={"epochs": 9}, stopped_early=True
    )
    reached = learning(0.5, 0.7, 0.9, seconds=(2.0, 2.0, 2.0))
    (one,) = candidates(of_runs({"sgd": [short, reached]}))
    (time,) = time_to_target(one, 0.9)
    assert (time.runs, time.reached, time.epochs, time.seconds) == (2, 1, 5.0, 8.0)


def test_epochs_that_were_not_timed_share_the_time_evenly() -> None:
    (one,) = candidates(of_runs({"sgd": [learning(0.5, 0.9, 0.95)]}))
    assert time_to_target(one, 0.9)[0].seconds == 4.0


def test_a_runs_seconds_are_its_share_already() -> None:
    run = replace(learning(0.5, 0.9, seconds=(6.0, 6.0)), stack=4)
    (one,) = candidates(of_runs({"sgd": [run]}))
    assert time_to_target(one, 0.9)[0].seconds == 12.0


def test_misses_are_misses_and_optimizers_are_ranked() -> None:
    record = of_runs(
        {
            "slow": [learning(0.1, 0.2, 0.9), learning(0.1, 0.2, 0.9)],
            "never": [learning(0.1, 0.2, 0.3), failed(learning(0.9), "killed")],
            "lucky": [learning(0.9, 0.9, 0.9), learning(0.1, 0.1, 0.1)],
            "fast": [learning(0.1, 0.9, 0.9), learning(0.1, 0.2, 0.9)],
        }
    )
    verdict = judge(replace(record, target=0.85))
    (details,) = verdict.workloads
    assert list(details.fastest) == ["fast", "slow", "lucky", "never"]
    times = {each.name: each.times_to_target[0] for each in details.candidates}
    # All epochs over the runs that reached it: 2 + 3 over 2, 3 + 3 over 2, 1 + 3 over 1.
    assert {name: time.epochs for name, time in times.items()} == {
        "fast": 2.5, "slow": 3.0, "lucky": 4.0, "never": None,
    }  # fmt: skip
    assert (times["slow"].epochs_low, times["slow"].epochs_high) == (3.0, 3.0)
    assert (times["lucky"].epochs_low, times["lucky"].epochs_high) == (1.0, None)
    (line,) = [each for each in few_sentences(verdict) if "accuracy 0.85" in each]
    assert line == (
        "Validation accuracy 0.85 takes, runs that miss it included: "
        "fast in 2.5 epochs (5.0 s, 95 % interval 2 to 3, 2 of 2 seeds), "
        "slow in 3 epochs (6.0 s, 95 % interval 3 to 3, 2 of 2 seeds), "
        "lucky in 4 epochs (8.0 s, 95 % interval 1 to no end, 1 of 2 seeds), never never."
    )


def test_a_candidate_that_is_quick_in_most_seeds_is_not_behind_a_slow_one() -> None:
    record = of_runs(
        {
            "quick": [
                learning(0.9, *[0.9] * 49),
                learning(0.9, *[0.9] * 49),
                learning(*[0.1] * 50),
            ],
            "slow": [learning(*[0.1] * 49, 0.9)] * 3,
        }
    )
    (details,) = judge(replace(record, target=0.85)).workloads
    assert list(details.fastest) == ["quick", "slow"]
    assert [details.candidate(n).times_to_target[0].epochs for n in details.fastest] == [26, 50]


def test_without_a_target_nothing_is_timed() -> None:
    verdict = judge(of_runs({"sgd": [learning(0.9)]}))
    (details,) = verdict.workloads
    assert details.fastest == [] and details.candidates[0].times_to_target == []


def test_a_run_that_failed_is_a_miss() -> None:
    record = with_runs(of_runs({"a": [learning(0.9)] * 2}), {})
    record = with_runs(record, {1: failed(record.runs[1], "boom")})
    (one,) = candidates(record)
    (time,) = time_to_target(one, 0.5)
    assert (time.reached, time.runs) == (1, 2)
