"""A verdict reads as a person would say it, and MLflow holds the same."""

import re
from dataclasses import replace

import pytest

from optsweep.records.run import NO_TEST, SweepRecord
from optsweep.records.values import label, points
from optsweep.tracking.verdict_tags import best_tags, metrics, tags
from optsweep.verdict.candidates import best_runs
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.sweep_sentences import few_sentences, headline
from support.records import (
    FOUR,
    LRS,
    OPTIMIZERS,
    SEARCH,
    SIXTY,
    Scores,
    confirmed,
    failed,
    pruned,
    scored,
    sweep,
    with_runs,
)


def of_scores(seeds: int = 5, **test: list[float]) -> SweepRecord:
    """Optimizers at one learning rate each with these test scores, ranked as they are given."""
    rows: Scores = {
        (name, 10.0**-place): [(0.9 - place / 100, one) for one in row[:seeds]]
        for place, (name, row) in enumerate(test.items(), start=1)
    }
    return scored(rows, "optimizer", "lr")


CLEAR = of_scores(adam=[0.97, 0.96, 0.972, 0.968, 0.975], sgd=[0.951, 0.944, 0.953, 0.946, 0.954])
CLOSE = of_scores(adam=[0.97, 0.96, 0.972, 0.968, 0.975], sgd=[0.968, 0.962, 0.967, 0.971, 0.967])
OPEN = of_scores(adam=[0.97, 0.96, 0.972, 0.968, 0.975], sgd=[0.94, 0.975, 0.967, 0.951, 0.97])
DATASETS = sweep(
    {"dataset": ["x", "y", "z"], "optimizer": OPTIMIZERS, "lr": LRS, "seed": [0, 1, 2]}
)


def said(record: SweepRecord) -> list[str]:
    return few_sentences(judge(record))


def test_three_lines_answer_and_the_rest_follows_by_importance() -> None:
    lines = said(CLEAR)
    assert lines[:3] == [
        "adam is best. sgd is worse by 1.7 to 2.2 points.",
        "Each candidate has one learning rate.",
        "How sure: 95 %, at 5 seeds, on these test samples, not on new ones.",
    ]
    assert lines[3] == (
        "adam at 0.1 beats sgd at 0.01 by 1.9 points (95 % interval 1.7 to 2.2 points, p = 4.7e-5)."
    )
    assert lines[-1] == "Chosen on validation, judged on test."


def test_what_is_undecided_is_said_with_a_range_of_seeds_that_would_settle_it() -> None:
    lines = said(OPEN)
    assert lines[0] == "Undecided between adam and sgd."
    (line,) = [line for line in lines if "fresh seeds would settle" in line]
    assert line == (
        "Undecided between adam at 0.1 and sgd at 0.01: 0.8 points (95 % interval -1.2 to 2.9 "
        "points, p = 0.32); 11 to 198 fresh seeds would settle a difference of 1 point."
    )


def test_what_makes_no_practical_difference_is_said_to_be_so() -> None:
    lines = said(CLOSE)
    assert lines[0] == "adam or sgd: no practical difference (within 1 point, 5 seeds)."
    assert lines[3].startswith("adam at 0.1 and sgd at 0.01 are equivalent within 1 point (p = 0.0")
    wide = replace(CLOSE, margin=0.002)
    assert said(wide)[0] == "Undecided between adam and sgd."


def test_the_rates_that_may_be_the_best_are_named_with_one_candidate_too() -> None:
    lines = said(sweep({"lr": LRS, "seed": list(range(5))}))
    assert (
        lines[0] == "Best learning rate for sgd: 0.1 (95 %); 0.01, 0.001 and 0.0001 are excluded."
    )
    assert lines[1] == "How sure: 95 % that the best is named, on the data that chose."
    lines = said(sweep({"lr": LRS}))
    assert lines[0] == "Best learning rate for sgd: any of 4 (95 %), chosen 0.1."
    assert lines[1].startswith("How sure: not at all, one seed for each learning rate")
    assert lines[2] == "Add seed=0,1,2,3,4."


def test_what_was_not_confirmed_comes_with_the_command_that_confirms() -> None:
    lines = said(SIXTY)
    assert lines[2] == "How sure: not yet, the runs that chose a configuration also judge it."
    assert lines[3] == (f"To confirm at fresh seeds, type: {SIXTY.command} confirm=5 resume=true")
    typed = replace(SIXTY, overrides=["lr=1", "confirm=auto", "resume=true"])
    assert said(typed)[3].endswith("-m lr=1 confirm=auto resume=true")
    after = said(confirmed(SIXTY))
    assert not any("To confirm" in line for line in after)
    assert after[2] == (
        "How sure: 95 % for 3 comparisons together, at 5 seeds, on these test samples, "
        "not on new ones."
    )


def test_several_workloads_have_an_answer_each_and_a_summary() -> None:
    lines = said(DATASETS)
    names = [line for line in lines if line.endswith(":")]
    assert names == ["dataset=x:", "dataset=y:", "dataset=z:"]
    assert sum(line.strip().startswith("Best learning rate (95 %): ") for line in lines) == 3
    assert lines[-2].startswith("Workloads (of 3) in which no other is ahead: ")
    assert "1.1 times the lowest error, a description and no test: " in lines[-1]
    command = f"{DATASETS.command} confirm=5 resume=true"
    assert f"To confirm at fresh seeds, type: {command}" in lines
    assert headline(judge(DATASETS)).count(" | ") == 2


def test_of_many_candidates_a_terminal_shows_the_first() -> None:
    names = [f"optimizer{number}" for number in range(9)]
    record = sweep({"optimizer": names, "lr": LRS, "seed": [0, 1, 2]})
    assert len(judge(record).answer.workloads[0].comparisons) == 36
    assert "More comparisons are in the file." in said(record) and len(said(record)) < 24


def test_names_that_would_steer_a_terminal_are_made_plain() -> None:
    rows: Scores = {("\x1b[31mred",): [(0.9, 0.9)] * 2, ("b",): [(0.8, 0.8)] * 2}
    assert not any("\x1b" in line for line in said(scored(rows, "optimizer")))


@pytest.mark.parametrize(
    ("difference", "expected"),
    [(0.019, "1.9"), (-0.003, "-0.3"), (0.0004, "0.04"), (0.0, "0.0"), (-1e-12, "0.0")],
)
def test_differences_are_in_points(difference: float, expected: str) -> None:
    assert points(difference) == expected


def test_mlflow_holds_the_lead_and_what_is_decided() -> None:
    verdict = judge(CLEAR)
    found = metrics(verdict)
    assert found["verdict/lead"] == pytest.approx(0.0194)
    assert 0 < found["verdict/lead_low"] < found["verdict/lead"] < found["verdict/lead_high"]
    assert found["verdict/seeds"] == 5 and found["verdict/diverged"] == 0
    assert tags(verdict)["verdict.decided"] == "true"
    assert tags(verdict)["verdict.best"] == "adam at 0.1"
    assert tags(verdict)["verdict"] == "adam is best. sgd is worse by 1.7 to 2.2 points."
    assert tags(judge(CLOSE))["verdict.decided"] == "true"
    assert tags(judge(OPEN))["verdict.decided"] == "false"
    assert tags(judge(SIXTY))["verdict.decided"] == "false"


def test_mlflow_holds_no_score_of_several_workloads_at_once() -> None:
    verdict = judge(DATASETS)
    assert set(metrics(verdict)) == {f"verdict/{name}" for name in ("edges", "diverged", "failed")}
    assert tags(verdict)["verdict.best"].startswith("dataset=x: ")
    assert tags(verdict)["verdict.best"].count(" | ") == 2
    best = best_runs(DATASETS)
    found = best_tags(best)
    assert set(found) == {"best_run", "best_run_id"}
    assert found["best_run"] == " | ".join(f"{name}: {run.name}" for name, run in best.items())
    alone = best_tags(best_runs(FOUR))
    assert alone["best.optimizer"] in alone["best_run"] and " | " not in alone["best_run_id"]


def test_one_seed_gives_mlflow_no_p() -> None:
    found = metrics(judge(replace(FOUR, target=0.5)))
    assert "verdict/p" not in found and "verdict/lead_low" not in found
    assert found["verdict/epochs_to_target"] >= 1 and found["verdict/seconds_to_target"] > 0
    assert tags(judge(FOUR))["verdict.edges"] == "adam lr low, sgd lr high"


def test_a_sweep_without_a_sound_run_gives_mlflow_its_losses() -> None:
    gone = with_runs(FOUR, {n: failed(run, "boom") for n, run in enumerate(FOUR.runs)})
    assert metrics(judge(gone)) == {
        "verdict/edges": 0, "verdict/diverged": 0, "verdict/failed": 4,
    }  # fmt: skip
    assert tags(judge(gone))["verdict.best"] == ""


def test_a_search_says_what_it_pruned_and_how_to_confirm_its_best() -> None:
    lines = said(SEARCH)
    assert lines[3] == f"To confirm at fresh seeds, type: {SEARCH.command} confirm=5 resume=true"
    assert "Of 9 runs 2 were pruned, as they looked hopeless early; no score holds them." in lines
    assert not any("extend" in line or "edge" in line for line in lines)
    assert metrics(judge(SEARCH))["verdict/pruned"] == 2


def test_a_pruned_configuration_is_no_candidates_choice() -> None:
    rows: Scores = {("a", 0.1): [(0.99, 0.99)], ("a", 0.01): [(0.9, 0.9)]}
    record = scored(rows, "optimizer", "lr")
    record = with_runs(record, {0: pruned(record.runs[0], 1)})
    verdict = judge(record)
    (candidate,) = verdict.answer.workloads[0].candidates
    assert (candidate.chosen, candidate.pruned) == ("0.01", ["0.1"])
    assert (verdict.pruned, verdict.failed, verdict.diverged) == (1, 0, 0)


def test_a_best_near_the_end_of_an_interval_is_named_with_a_wider_one() -> None:
    rate = float(judge(SEARCH).workloads[0].candidates[0].swept["lr"])
    narrow = replace(SEARCH, search={"lr": f"interval({rate / 50:g},{rate * 1.01:g})"})
    (line,) = [line for line in said(narrow) if "Near the end" in line]
    assert f"lr={label(rate)} (the high end of interval(" in line
    assert f"Type lr=interval({rate / 50:g},{float(f'{rate * 1.01:g}') * 10:g})" in line


def without_test(record: SweepRecord) -> SweepRecord:
    """The same sweep on data without a test part."""
    runs = [
        replace(
            run,
            correct=None,
            metrics={name: v for name, v in run.metrics.items() if not name.startswith("test/")},
            history={name: v for name, v in run.history.items() if not name.startswith("test/")},
        )
        for run in record.runs
    ]
    return replace(record, runs=runs)


def test_without_test_data_nothing_is_claimed_of_it() -> None:
    for record in (CLEAR, CLOSE, OPEN, FOUR, confirmed(SIXTY), DATASETS):
        verdict = judge(without_test(record))
        lines = few_sentences(verdict)
        assert verdict.judged_on == "val"
        assert sum(NO_TEST in line for line in lines) == len(verdict.parts)
        claimed = [line for line in lines if re.search("test (data|samples|acc)|on test", line)]
        assert all(NO_TEST in line for line in claimed)


def test_of_two_datasets_that_without_test_data_is_judged_by_validation_alone() -> None:
    alone = {id(run) for run in DATASETS.runs if run.swept["dataset"] == "y"}
    stripped = without_test(DATASETS).runs
    runs = [b if id(a) in alone else a for a, b in zip(DATASETS.runs, stripped, strict=True)]
    verdict = judge(replace(DATASETS, runs=runs))
    judged = {details.name: details.judged_on for details in verdict.workloads}
    assert sorted(judged.values()) == ["test", "test", "val"]
    assert verdict.failed == judge(DATASETS).failed
    assert all(workload.best for workload in verdict.answer.workloads)
