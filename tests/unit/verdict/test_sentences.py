"""A verdict reads as a person would say it, and MLflow holds the same."""

from dataclasses import replace

import pytest

from optsweep.records.run import SweepRecord
from optsweep.records.values import label
from optsweep.tracking.verdict_tags import metrics, tags
from optsweep.verdict.judge import judge
from optsweep.verdict.sentences import few_sentences, headline, points, probability, sentences
from support.records import FOUR, LRS, SEARCH, Scores, failed, pruned, scored, sweep, with_runs


def of_scores(seeds: int = 5, **test: list[float]) -> SweepRecord:
    """Optimizers at one learning rate each with these test scores, ranked as they are given."""
    rows: Scores = {
        (name, 10.0**-place): [(0.9 - place / 100, one) for one in row[:seeds]]
        for place, (name, row) in enumerate(test.items(), start=1)
    }
    return scored(rows, "optimizer", "lr")


CLEAR = of_scores(adam=[0.97, 0.96, 0.972, 0.968, 0.975], sgd=[0.951, 0.944, 0.953, 0.946, 0.954])
CLOSE = of_scores(adam=[0.97, 0.96, 0.972, 0.968, 0.975], sgd=[0.968, 0.962, 0.967, 0.971, 0.967])


def test_a_winner_is_named_with_difference_interval_seeds_and_p() -> None:
    assert headline(judge(CLEAR)) == (
        "adam at 0.1 beats sgd at 0.01 by 1.9 points "
        "(95 % interval 1.7 to 2.2, 5 seeds, p < 0.001)."
    )


def test_what_is_undecided_is_said_with_the_seeds_that_would_decide() -> None:
    assert headline(judge(CLOSE)) == (
        "Undecided between adam at 0.1 and sgd at 0.01: 0.2 points, interval -0.4 to 0.8 "
        "(5 seeds, p = 0.39); about 45 seeds would decide a difference of this size."
    )


def test_a_tiny_difference_would_take_more_than_a_thousand_seeds() -> None:
    record = of_scores(a=[0.9, 0.8, 0.85, 0.83], b=[0.89, 0.81, 0.84, 0.8399])
    assert "more than 1,000 seeds would decide" in headline(judge(record))


def test_an_interval_that_leaves_zero_out_without_deciding_is_explained() -> None:
    record = of_scores(
        4,
        a=[0.90, 0.92, 0.91, 0.93],
        b=[0.89, 0.90, 0.905, 0.907],
        c=[0.895, 0.93, 0.90, 0.92],
        d=[0.88, 0.92, 0.93, 0.91],
    )
    lines = [line for line in sentences(judge(record)) if "leaves out zero" in line]
    assert lines and all(line.startswith("Undecided between a at") for line in lines)


def test_the_end_says_which_split_did_what_and_how() -> None:
    assert sentences(judge(CLEAR))[-1] == (
        "Chosen on validation, judged on test; compared by paired differences at shared seeds "
        "(t test)."
    )


def test_of_many_candidates_a_terminal_shows_the_first() -> None:
    names = [f"optimizer{number}" for number in range(9)]
    verdict = judge(sweep({"optimizer": names, "lr": LRS, "seed": [0, 1, 2]}))
    assert len(verdict.comparisons) == 36
    said = few_sentences(verdict)
    assert "And 31 more comparisons, in verdict.json." in said and len(said) < 18
    assert len(sentences(verdict)) > 36


def test_candidates_beyond_twenty_are_ranked_and_not_compared() -> None:
    names = [f"optimizer{number}" for number in range(25)]
    verdict = judge(sweep({"optimizer": names, "seed": [0, 1]}))
    assert len(verdict.standings) == 25
    assert len(verdict.comparisons) == 20 * 19 / 2


def test_names_that_would_steer_a_terminal_are_made_plain() -> None:
    rows: Scores = {("\x1b[31mred",): [(0.9, 0.9)] * 2, ("b",): [(0.8, 0.8)] * 2}
    assert not any("\x1b" in line for line in sentences(judge(scored(rows, "optimizer"))))


@pytest.mark.parametrize(
    ("difference", "expected"),
    [(0.019, "1.9"), (-0.003, "-0.3"), (0.0004, "0.04"), (0.0, "0.0"), (-1e-12, "0.0")],
)
def test_differences_are_in_points(difference: float, expected: str) -> None:
    assert points(difference) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.0004, "p < 0.001"), (0.0123, "p = 0.012")])
def test_p_values_are_written_as_in_papers(p: float, expected: str) -> None:
    assert probability(p) == expected


def test_mlflow_holds_the_lead_and_what_is_decided() -> None:
    verdict = judge(CLEAR)
    found = metrics(verdict)
    assert found["verdict/lead"] == pytest.approx(0.0194)
    assert 0 < found["verdict/lead_low"] < found["verdict/lead"] < found["verdict/lead_high"]
    assert found["verdict/seeds"] == 5 and found["verdict/diverged"] == 0
    assert tags(verdict)["verdict.decided"] == "true"
    assert tags(verdict)["verdict.best"] == "adam at 0.1"
    assert tags(judge(CLOSE))["verdict.decided"] == "false"


def test_a_leader_that_is_behind_on_test_has_a_negative_lead() -> None:
    verdict = judge(of_scores(sgd=[0.94, 0.95, 0.951], adam=[0.96, 0.971, 0.97]))
    found = metrics(verdict)
    assert found["verdict/lead"] < 0
    assert found["verdict/lead_low"] < found["verdict/lead"] < found["verdict/lead_high"]
    assert tags(verdict)["verdict.decided"] == "false"


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


def test_a_search_says_what_it_pruned_and_how_to_repeat_its_best() -> None:
    verdict = judge(SEARCH)
    said = sentences(verdict)
    leader = verdict.leader
    assert leader is not None
    rate = label(leader.swept["lr"])
    assert said[0] == (
        "One seed is not enough to decide; repeat the best, with all else as it was, by "
        f"-m optimizer={leader.name} lr={rate} seed=0,1,2,3,4."
    )
    assert "Of 9 runs 2 were pruned, as they looked hopeless early; no score holds them." in said
    assert not any("extend" in line or "edge" in line for line in said)
    assert metrics(verdict)["verdict/pruned"] == 2


def test_a_pruned_run_is_no_finished_seed() -> None:
    record = of_scores(adam=[0.97, 0.96, 0.972], sgd=[0.951, 0.944, 0.953])
    record = with_runs(record, {0: pruned(record.runs[0], 1)})
    verdict = judge(record)
    score = verdict.standing("adam").score
    assert score is not None and score.seeds == 2
    assert verdict.comparisons[0].seeds == 2
    assert (verdict.pruned, verdict.failed, verdict.diverged) == (1, 0, 0)


def test_a_best_near_the_end_of_an_interval_is_named_with_a_wider_one() -> None:
    best = judge(SEARCH).leader
    assert best is not None
    rate = float(best.swept["lr"])
    narrow = replace(SEARCH, search={"lr": f"interval({rate / 50:g},{rate * 1.01:g})"})
    (line,) = [line for line in sentences(judge(narrow)) if "Near the end" in line]
    assert f"lr={label(rate)} (the high end of interval(" in line
    assert f"Type lr=interval({rate / 50:g},{float(f'{rate * 1.01:g}') * 10:g})" in line
