"""Every statistical statement against scipy, on published or simulated data."""

import json
from dataclasses import replace
from unittest.mock import patch

import jsonschema
import numpy as np
import pytest
from scipy import stats

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.verdict.comparison import corrected, seeds_needed
from optsweep.verdict.intervals import estimate
from optsweep.verdict.judge import judge
from optsweep.verdict.sentences import sentences
from optsweep.verdict.verdict import Verdict, as_json
from support.command import ROOT
from support.records import (
    FOUR,
    LRS,
    OPTIMIZERS,
    SIXTY,
    TWELVE,
    Scores,
    failed,
    scored,
    sweep,
    with_runs,
)

# Student's own data (Biometrika, 1908): hours of sleep gained by ten patients under two drugs.
ONE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
TWO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def of_pairs(**scores: list[float]) -> SweepRecord:
    """A sweep of optimizers with these test accuracies, whose validation says nothing else."""
    return scored(
        {(name,): [(0.5, one) for one in row] for name, row in scores.items()}, "optimizer"
    )


def test_the_paired_comparison_gives_the_published_figures() -> None:
    (pair,) = judge(of_pairs(two=TWO, one=ONE)).comparisons
    assert (pair.first, pair.second, pair.outcome, pair.seeds) == ("two", "one", "beats", 10)
    assert pair.difference == pytest.approx(1.58)
    assert (pair.low, pair.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert pair.p == pytest.approx(0.00283289, abs=1e-8)
    assert pair.p == pytest.approx(stats.ttest_rel(TWO, ONE).pvalue)


def test_a_score_has_students_interval() -> None:
    (standing,) = judge(of_pairs(one=ONE)).standings
    assert standing.score is not None
    expected = stats.ttest_1samp(ONE, 0).confidence_interval(0.95)
    assert (standing.score.low, standing.score.high) == pytest.approx(tuple(expected))
    assert standing.score.mean == pytest.approx(0.75)
    assert standing.score.deviation == pytest.approx(1.78901, abs=1e-5)


def test_a_bootstrap_interval_is_scipys() -> None:
    found = judge(replace(of_pairs(two=TWO, one=ONE), intervals="bootstrap"))
    expected = stats.bootstrap((np.array(TWO),), np.mean, rng=np.random.default_rng(0))
    assert found.intervals == "bootstrap"
    assert sentences(found)[-1].endswith("(t test); intervals by bootstrap.")
    score = found.standing("two").score
    assert score is not None
    assert (score.low, score.high) == tuple(expected.confidence_interval)
    again = judge(replace(of_pairs(two=TWO, one=ONE), intervals="bootstrap"))
    assert again == found


def test_p_values_are_corrected_by_holm() -> None:
    (pair,) = judge(of_pairs(two=TWO, one=ONE)).comparisons
    raw = (0.01, 0.04, 0.03, 0.005)
    found = corrected([replace(pair, p=p, p_holm=None, outcome="undecided") for p in raw])
    assert [each.p_holm for each in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [each.outcome for each in found] == ["beats", "undecided", "undecided", "beats"]


@pytest.mark.parametrize(
    ("size", "published"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (0.01, None)]
)
def test_seeds_that_would_decide(size: float, published: int | None) -> None:
    """Cohen's small, medium and large effects, two-sided at 5 %, as power tables have them."""
    assert seeds_needed(size, 0.05) == published


def test_the_seeds_named_would_decide_nearly_anything_however_far_out() -> None:
    for size in (0.05, 0.3, 0.88, 3.0, 30.0):
        for alpha in (0.05, 0.05 / 21):
            needed = seeds_needed(size, alpha)
            if needed is not None and needed > 2:
                crit = stats.t.isf(alpha / 2, [needed - 2, needed - 1])
                nc = size * np.sqrt([needed - 1, needed])
                before, at = stats.nct.sf(crit, [needed - 2, needed - 1], nc)
                assert before < 0.8 <= at + 1e-3, (size, alpha)


def simulated(rng: np.random.Generator, seeds: int, rates: int, ahead: float = 0.0) -> SweepRecord:
    """Three optimizers, of which the first is `ahead` of the others.

    The seed moves all runs alike; a run's own luck moves validation and test alike; each split
    adds its own noise. So a choice that is lucky on validation is lucky on test too.
    """
    shape = (3, rates, seeds)
    level = 0.9 + rng.normal(0, 0.003, seeds) + rng.normal(0, 0.004, shape)
    level[0] += ahead
    val, test = level + rng.normal(0, 0.005, shape), level + rng.normal(0, 0.003, shape)
    names, lrs = ("a", "b", "c"), [10.0**-n for n in range(rates)]
    runs = [
        RunRecord(
            name="",
            swept={"optimizer": name, "lr": lr, "seed": seed},
            metrics={
                "val/accuracy": float(val[n, m, seed]),
                "test/accuracy": float(test[n, m, seed]),
            },
        )
        for n, name in enumerate(names)
        for m, lr in enumerate(lrs)
        for seed in range(seeds)
    ]
    return SweepRecord("", [], {"optimizer": names, "lr": lrs, "seed": range(seeds)}, runs)


@pytest.mark.long
def test_a_false_winner_is_named_in_at_most_six_percent_of_sweeps() -> None:
    rng = np.random.default_rng(7)
    # statsmodels collects garbage at each correction; how many seeds would decide is not asked.
    with patch("gc.collect"), patch("optsweep.verdict.comparison.seeds_needed", return_value=None):
        verdicts = (judge(simulated(rng, seeds=5, rates=2)) for _ in range(2000))
        wrong = sum(any(c.outcome == "beats" for c in v.comparisons) for v in verdicts)
    assert 0.005 * 2000 < wrong <= 0.06 * 2000


def test_a_true_difference_of_two_deviations_is_found_with_ten_seeds() -> None:
    rng = np.random.default_rng(8)
    # The paired difference's deviation: twice the variance of luck and of the test's noise.
    deviation = (2 * (0.004**2 + 0.003**2)) ** 0.5
    with patch("gc.collect"), patch("optsweep.verdict.comparison.seeds_needed", return_value=None):
        verdicts = [judge(simulated(rng, 10, 1, 2 * deviation)) for _ in range(200)]
    both = [{(c.first, c.second) for c in v.comparisons if c.outcome == "beats"} for v in verdicts]
    assert sum({("a", "b"), ("a", "c")} <= each for each in both) >= 0.9 * 200


def test_settings_are_chosen_on_validation_and_judged_on_test() -> None:
    record = scored(
        {
            ("adam", 1e-3): [(0.95, 0.80), (0.96, 0.82), (0.97, 0.84)],
            ("adam", 1e-2): [(0.90, 0.99), (0.90, 0.99), (0.90, 0.99)],
            ("sgd", 1e-1): [(0.94, 0.90), (0.95, 0.93), (0.96, 0.95)],
        },
        "optimizer",
        "lr",
    )
    found = judge(record)
    assert (found.chosen_on, found.judged_on) == (["val"], "test")
    leader = found.leader
    assert leader is not None and leader.swept == {"optimizer": "adam", "lr": 1e-3}
    assert leader.score is not None and leader.score.mean == pytest.approx(0.82)
    (pair,) = found.comparisons
    assert (pair.first, pair.outcome) == ("sgd", "beats")
    assert "though validation had adam ahead" in sentences(found)[0]


def test_without_validation_one_split_does_both_and_that_is_said() -> None:
    found = judge(sweep({"optimizer": OPTIMIZERS, "lr": LRS, "seed": [0, 1, 2]}, val=False))
    assert (found.chosen_on, found.judged_on) == (["test"], "test")
    assert any("Chosen and judged on test alike, as val_fraction=0" in s for s in sentences(found))


def test_equal_validation_accuracies_are_ranked_by_the_loss() -> None:
    record = scored({(1e-3,): [(0.9, 0.8)], (1e-2,): [(0.9, 0.9)]}, "lr")
    for run, loss in zip(record.runs, (0.5, 0.4), strict=True):
        run.metrics["val/loss"] = loss
    assert judge(record).standings[0].swept == {"lr": 1e-2}


def test_one_seed_gives_no_statement_about_chance() -> None:
    for record in (FOUR, TWELVE, sweep({"optimizer": ["sgd", "adam"], "seed": [3]})):
        found = judge(record)
        assert {pair.outcome for pair in found.comparisons} == {"too few seeds"}
        assert not any(pair.p or pair.low for pair in found.comparisons)
    assert sentences(judge(FOUR))[0] == ("One seed is not enough to decide; add seed=0,1,2,3,4.")
    assert "add seed=3,4,5,6,7" in sentences(found)[0]


def test_two_seeds_have_intervals_that_are_called_wide() -> None:
    found = judge(of_pairs(a=[0.9, 0.91], b=[0.8, 0.83]))
    (pair,) = found.comparisons
    assert pair.outcome == "undecided" and pair.low is not None and pair.low < 0
    assert "2 seeds make wide intervals; more seeds narrow them." in sentences(found)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("intervals", ["t", "bootstrap"])
@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"a": [0.9] * 3, "b": [0.9] * 3}, "a and b score the same at each of 3 seeds"),
        (
            {"a": [0.9, 0.8, 0.7], "b": [0.85, 0.75, 0.65]},
            "a is ahead of b by 5.0 points at each of 3 seeds",
        ),
        ({"a": [0.9, 0.9, 0.9], "b": [0.8, 0.7, 0.6]}, "a beats b by|Undecided between a and b"),
    ],
    ids=["ties", "same difference", "one without spread"],
)
def test_seeds_without_spread_give_neither_warnings_nor_nan(
    scores: dict[str, list[float]], words: str, intervals: str
) -> None:
    found = judge(replace(of_pairs(**scores), intervals=intervals))
    said = " ".join(sentences(found))
    assert any(each in said for each in words.split("|")), said
    assert "nan" not in said.lower()
    assert "NaN" not in json.dumps(as_json(found, []))


def test_pairs_are_made_of_the_seeds_that_both_have() -> None:
    rows: Scores = {
        ("a",): [(0.9, 0.95), (0.9, 0.94), None, (0.9, 0.92)],
        ("b",): [(0.5, 0.85), None, (0.5, 0.86), (0.5, 0.84)],
    }
    (pair,) = judge(scored(rows, "optimizer")).comparisons
    assert pair.seeds == 2
    assert pair.difference == pytest.approx((0.95 - 0.85 + 0.92 - 0.84) / 2)


def test_a_setting_that_lost_seeds_does_not_win_in_silence() -> None:
    rows: Scores = {
        ("a", 0.1): [(0.99, 0.99), (0.99, 0.98), (0.99, 0.99), (0.99, 0.985), None],
        ("b", 0.1): [(0.5, 0.5), (0.5, 0.51), (0.5, 0.5), (0.5, 0.52), (0.5, 0.5)],
    }
    found = judge(scored(rows, "optimizer", "lr"))
    assert "though a lost 1 of its 5 seeds" in sentences(found)[0]
    assert "Of 10 runs 1 diverged (a 1)." in sentences(found)
    assert any("4 seeds); lost 1 of its 5 seeds." in line for line in sentences(found))


def test_a_diverged_seed_counts_against_a_setting_that_is_to_be_chosen() -> None:
    rows: Scores = {
        ("a", 0.1): [(0.99, 0.99), (0.99, 0.98), None],
        ("a", 0.01): [(0.8, 0.8), (0.8, 0.8), (0.8, 0.8)],
    }
    assert judge(scored(rows, "optimizer", "lr")).standings[0].swept["lr"] == 0.01


def test_runs_that_failed_are_counted() -> None:
    record = with_runs(TWELVE, {1: failed(TWELVE.runs[1], "boom"), 2: failed(TWELVE.runs[2], "")})
    found = judge(record)
    assert (found.runs, found.failed) == (12, 2)
    assert any("2 did not finish" in each for each in sentences(found))


def test_candidates_are_optimizers_else_what_is_no_number_else_all_runs() -> None:
    def names(**grid: list[object]) -> list[str]:
        return sorted(each.name for each in judge(sweep(grid)).standings)

    assert names(model=["mlp", "cnn"], optimizer=["sgd", "adam"]) == ["adam", "sgd"]
    assert names(lr=[1e-3, 1e-2], model=["mlp", "cnn"]) == ["cnn", "mlp"]
    assert names(lr=[1e-3, 1e-2], batch_size=[16, 32]) == ["sgd"]


def test_a_sweep_of_which_nothing_is_left_has_no_verdict() -> None:
    gone = [failed(run, "boom") for run in FOUR.runs]
    for record in (replace(FOUR, runs=[]), replace(FOUR, runs=gone)):
        found = judge(record)
        assert found.leader is None and found.comparisons == []
        assert sentences(found) == []
        check(found)


def check(verdict: Verdict) -> None:
    schema = json.loads((ROOT / "docs" / "verdict.schema.json").read_text())
    content = json.loads(json.dumps(as_json(verdict, sentences(verdict)), allow_nan=False))
    jsonschema.Draft202012Validator(schema).validate(content)


@pytest.mark.parametrize(
    "record",
    [FOUR, TWELVE, SIXTY, sweep({}), sweep({"model": ["mlp", "cnn"], "batch_size": [8, 16]})],
    ids=["four", "twelve", "sixty", "one run", "models"],
)
def test_verdict_json_follows_its_schema(record: SweepRecord) -> None:
    check(judge(record))
    check(judge(replace(record, target=0.9, intervals="bootstrap")))


def test_an_estimate_of_one_value_is_that_value() -> None:
    assert estimate([0.5]).mean == 0.5
    assert estimate([0.5]).low is None
