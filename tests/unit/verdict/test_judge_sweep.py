"""A sweep's verdict: what is compared with what, who judges, and every figure against scipy."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from optsweep.records.merging import merge
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.verdict.candidates import candidates, compared_key, workloads
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.performance_profile import profile
from optsweep.verdict.scores.answer import Comparison
from optsweep.verdict.sweep_sentences import sentences
from optsweep.verdict.verdict import Verdict, verdict_json
from support.command import ROOT
from support.records import (
    FOUR,
    LRS,
    OPTIMIZERS,
    SEARCH,
    SIXTY,
    TWELVE,
    Scores,
    confirmed,
    failed,
    pruned,
    scored,
    sweep,
    with_runs,
)

# Student's own data (Biometrika, 1908): hours of sleep gained by ten patients under two drugs.
ONE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
TWO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "docs" / "verdict.schema.json").read_text())
)
DATASETS = sweep(
    {"dataset": ["digits", "cifar10"], "optimizer": OPTIMIZERS, "lr": LRS, "seed": [0, 1]}
)


def of_pairs(**scores: list[float]) -> SweepRecord:
    """A sweep of optimizers with these test accuracies, whose validation says nothing else."""
    return scored(
        {(name,): [(0.5, one) for one in row] for name, row in scores.items()}, "optimizer"
    )


def only_pair(record: SweepRecord) -> Comparison:
    ((pair,),) = [each.comparisons for each in judge(record).answer.workloads]
    return pair


def said(record: SweepRecord) -> list[str]:
    return [line for own in sentences(judge(record)).values() for line in own]


def test_the_paired_comparison_gives_the_published_figures() -> None:
    pair = only_pair(of_pairs(two=TWO, one=ONE))
    assert (pair.first, pair.second, pair.outcome, pair.seeds) == ("two", "one", "beats", 10)
    assert pair.difference == pytest.approx(1.58)
    assert (pair.low, pair.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert pair.p == pytest.approx(0.00283289, abs=1e-8)
    assert pair.p == pytest.approx(stats.ttest_rel(TWO, ONE).pvalue)


def test_a_score_has_students_interval() -> None:
    ((candidate,),) = [each.candidates for each in judge(of_pairs(one=ONE)).answer.workloads]
    assert candidate.score is not None
    expected = stats.ttest_1samp(ONE, 0).confidence_interval(0.95)
    assert (candidate.score.low, candidate.score.high) == pytest.approx(tuple(expected))
    assert candidate.score.mean == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("grid", "typed", "compared", "names"),
    [
        ({"optimizer": ["sgd", "adam"], "lr": [0.1, 1]}, None, "optimizer", [""]),
        ({"optimizer": ["x", "y"], "model": ["a", "b"]}, None, "optimizer", ["model=a", "model=b"]),
        ({"optimizer": ["sgd", "adam"], "model": ["a", "b"]}, "model", "model", [""]),
        ({"model": ["a", "b"], "schedule": ["x", "y"]}, None, "schedule", ["model=a", "model=b"]),
        ({"lr": [0.1, 1], "model": ["a", "b"]}, None, "model", [""]),
        ({"model": ["a", "b"], "model.width": [1, 2]}, None, "model", [""]),
        ({"model.width": [1, 2], "lr": [0.1, 1]}, None, "model.width", [""]),
        ({"loss": ["x", "y"], "dataset": ["a", "b"]}, None, "loss", ["dataset=a", "dataset=b"]),
        ({"dataset": ["a", "b"], "lr": [0.1, 1]}, None, None, ["dataset=a", "dataset=b"]),
        ({"dataset.limit": [1, 2], "epochs": [1, 2]}, None, None,
         [f"dataset.limit={n} epochs={m}" for n in (1, 2) for m in (1, 2)]),
        ({"epochs": [1, 2], "lr": [0.1, 1]}, "epochs", "epochs", [""]),
        ({"lr": [0.1, 1], "seed": [0, 1]}, None, None, [""]),
    ],
)  # fmt: skip
def test_workloads_are_what_differs_besides_what_is_compared_and_tuned(
    grid: dict[str, list[Any]], typed: str | None, compared: str | None, names: list[str]
) -> None:
    record = replace(sweep(grid, epochs=1) if "epochs" not in grid else sweep(grid), compare=typed)
    assert compared_key(record.grid, typed) == compared
    found = workloads(record)
    assert list(found) == names
    assert [run for part in found.values() for run in part.runs] == record.runs or len(names) > 1
    assert sum(len(part.runs) for part in found.values()) == len(record.runs)
    assert [each.name for each in judge(record).answer.workloads] == names


def test_nothing_is_compared_across_workloads() -> None:
    """What printed that adam at dataset=digits beats sgd at dataset=fashion_mnist."""
    verdict = judge(DATASETS)
    assert [each.name for each in verdict.answer.workloads] == ["dataset=digits", "dataset=cifar10"]
    for workload, details in verdict.parts:
        assert {each.name for each in workload.candidates} == set(OPTIMIZERS)
        assert len(workload.comparisons) == 3
        for each in details.candidates:
            assert f"dataset={each.swept['dataset']}" == workload.name


def test_pairs_of_all_workloads_are_corrected_together() -> None:
    verdict = judge(confirmed(DATASETS))
    every = [pair for each in verdict.answer.workloads for pair in each.comparisons]
    raw = [pair.p for pair in every if pair.p is not None]
    assert len(raw) == verdict.answer.pairs == 6
    rejected, adjusted, *_ = multipletests(raw, method="holm")
    assert [pair.p_holm for pair in every] == pytest.approx(adjusted.tolist())
    assert [pair.outcome.startswith("beats") for pair in every] == rejected.tolist()


def test_what_chose_does_not_judge() -> None:
    choosing = judge(SIXTY)
    assert {pair.outcome for each in choosing.answer.workloads for pair in each.comparisons} <= {
        "leads",
        "undecided",
    }
    verdict = judge(confirmed(SIXTY))
    (workload,), (details,) = verdict.answer.workloads, verdict.workloads
    runs = {run.run_id: run for run in confirmed(SIXTY).runs}
    for candidate in workload.candidates:
        own = [runs[each] for each in details.candidate(candidate.name).run_ids]
        assert [run.params["seed"] for run in own] == [100, 101, 102, 103, 104]
        scores = [run.metrics["test/accuracy"] for run in own]
        assert candidate.score and candidate.score.mean == pytest.approx(np.mean(scores))
        assert candidate.runs == 25 and candidate.runs_to_tune == 20
    for pair in workload.comparisons:
        ours, theirs = (
            [runs[each].metrics["test/accuracy"] for each in details.candidate(name).run_ids]
            for name in (pair.first, pair.second)
        )
        assert pair.p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)
        assert pair.difference == pytest.approx(np.mean(ours) - np.mean(theirs))


def simulated(
    rng: np.random.Generator, seeds: int, rates: int, ahead: float = 0.0, fresh: int = 0
) -> SweepRecord:
    """Three optimizers, of which the first is `ahead` of the others, confirmed at `fresh` seeds.

    The seed moves all runs alike; a run's own luck moves validation and test alike; each split
    adds its own noise. So a choice that is lucky on validation is lucky on test too.
    """
    total = seeds + fresh
    shape = (3, rates, total)
    level = 0.9 + rng.normal(0, 0.003, total) + rng.normal(0, 0.004, shape)
    level[0] += ahead
    val, test = level + rng.normal(0, 0.005, shape), level + rng.normal(0, 0.003, shape)
    names, lrs = ("a", "b", "c"), [10.0**-n for n in range(rates)]
    chosen = val[:, :, :seeds].mean(2).argmax(1)
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
        for seed in range(total)
        if seed < seeds or m == chosen[n]
    ]
    grid = {"optimizer": names, "lr": lrs, "seed": range(total)}
    return SweepRecord("", [], grid, runs, confirm_seeds=range(seeds, total))


def beats(record: SweepRecord) -> set[tuple[str, str]]:
    return {
        (pair.first, pair.second)
        for each in judge(record).answer.workloads
        for pair in each.comparisons
        if pair.outcome.startswith("beats")
    }


@pytest.mark.parametrize(
    ("sweeps", "bound"),
    [
        pytest.param(200, 0.095, id="quick"),  # three standard deviations above 0.05
        pytest.param(2000, 0.065, id="2000", marks=pytest.mark.long),
    ],
)
def test_a_false_winner_is_rare_and_never_there_unconfirmed(sweeps: int, bound: float) -> None:
    rng = np.random.default_rng(7)
    wrong = [bool(beats(simulated(rng, 5, rates=4, fresh=5))) for _ in range(sweeps)]
    assert np.mean(wrong) <= bound
    assert not any(beats(simulated(rng, 5, rates=4)) for _ in range(sweeps // 2))


def test_a_true_difference_of_two_deviations_is_found_with_ten_seeds() -> None:
    rng = np.random.default_rng(8)
    # The paired difference's deviation: twice the variance of luck and of the test's noise.
    deviation = (2 * (0.004**2 + 0.003**2)) ** 0.5
    both = [beats(simulated(rng, 10, 1, 2 * deviation)) for _ in range(200)]
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
    verdict = judge(record)
    assert (verdict.chosen_on, verdict.judged_on) == (["val"], "test")
    (workload,) = verdict.answer.workloads
    adam = workload.candidate("adam")
    assert adam.chosen == "0.001" and adam.chosen_by == pytest.approx(0.96)
    assert adam.score and adam.score.mean == pytest.approx(0.82)
    (pair,) = workload.comparisons
    assert (pair.first, pair.outcome) == ("sgd", "leads")  # as adam's rate was chosen


def test_without_validation_one_split_does_both_and_that_is_said() -> None:
    record = sweep({"optimizer": OPTIMIZERS, "lr": LRS, "seed": [0, 1, 2]}, val=False)
    found = judge(record)
    assert (found.chosen_on, found.judged_on) == (["test"], "test")
    assert any("Chosen and judged on test alike, as val_fraction=0" in s for s in said(record))


def test_equal_validation_accuracies_are_ranked_by_the_loss() -> None:
    record = scored({(1e-3,): [(0.9, 0.8)], (1e-2,): [(0.9, 0.9)]}, "lr")
    for run, loss in zip(record.runs, (0.5, 0.4), strict=True):
        run.metrics["val/loss"] = loss
    assert judge(record).workloads[0].candidates[0].swept == {"lr": 1e-2}


def test_one_seed_gives_no_statement_about_chance() -> None:
    for record in (FOUR, TWELVE, sweep({"optimizer": ["sgd", "adam"], "seed": [3]})):
        found = judge(record)
        pairs = found.answer.workloads[0].comparisons
        assert {(pair.outcome, pair.reason) for pair in pairs} == {("undecided", "one seed")}
        assert not any(pair.p or pair.low for pair in pairs)
        assert any("confirm=5 resume=true" in line for line in said(record))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({"a": [0.9] * 3, "b": [0.9] * 3}, "0.0 points at 3 seeds, no spread"),
        ({"a": [0.9, 0.8, 0.7], "b": [0.85, 0.75, 0.65]}, "5.0 points at 3 seeds, no spread"),
        ({"a": [0.9, 0.9, 0.9], "b": [0.8, 0.7, 0.6]}, "a beats b by|Undecided between a and b"),
    ],
    ids=["ties", "same difference", "one without spread"],
)
def test_seeds_without_spread_give_neither_warnings_nor_nan(
    scores: dict[str, list[float]], words: str
) -> None:
    text = " ".join(said(of_pairs(**scores)))
    assert any(each in text for each in words.split("|")), text
    assert "nan" not in text.lower()
    check(judge(of_pairs(**scores)))


def test_lost_seeds_count_as_chance_in_choice_and_judgement() -> None:
    rows: Scores = {
        ("a", 0.1): [(0.95, 0.95), (0.95, 0.94), None, (0.95, 0.92)],
        ("a", 0.01): [(0.80, 0.85), (0.80, 0.86), (0.8, 0.84), (0.8, 0.84)],
        ("b", 0.1): [(0.5, 0.85), None, (0.5, 0.86), (0.5, 0.84)],
    }
    record = scored(rows, "optimizer", "lr")
    ten = replace(record, runs=[replace(run, classes=10) for run in record.runs])
    (workload,) = judge(ten).answer.workloads
    assert workload.lost_counts_as == 0.1
    assert workload.candidate("a").chosen == "0.01"  # as (0.95 * 3 + 0.1) / 4 < 0.8
    b = workload.candidate("b")
    assert b.score and b.score.mean == pytest.approx((0.85 + 0.1 + 0.86 + 0.84) / 4)
    two = replace(record, runs=[replace(run, classes=2) for run in record.runs])
    assert judge(two).answer.workloads[0].candidate("a").chosen == "0.1"
    assert candidates(two)[0].configurations[0].swept["lr"] == 0.1


def test_killed_runs_say_nothing_and_failed_ones_speak_against() -> None:
    rows: Scores = {("a", 0.1): [(0.9, 0.9)] * 3, ("a", 0.01): [(0.8, 0.8)] * 3}
    record = scored(rows, "optimizer", "lr")
    killed = with_runs(record, {0: failed(record.runs[0], "", status="KILLED")})
    assert judge(killed).answer.workloads[0].candidate("a").chosen == "0.1"
    broken = with_runs(record, {0: failed(record.runs[0], "boom")})
    assert judge(broken).answer.workloads[0].candidate("a").chosen == "0.01"
    assert candidates(broken)[0].configurations[0].swept["lr"] == 0.01


def test_a_winner_that_holds_only_without_lost_seeds_is_undecided() -> None:
    rows: Scores = {
        ("a",): [None, None, None, (0.99, 0.985), (0.99, 0.98)],
        ("b",): [(0.5, 0.5), (0.5, 0.51), (0.5, 0.5), (0.5, 0.52), (0.5, 0.5)],
    }
    pair = only_pair(scored(rows, "optimizer"))
    assert (pair.outcome, pair.reason) == ("undecided", "holds only without lost runs")
    assert "Of 10 runs 3 diverged (a 3)." in said(scored(rows, "optimizer"))


def test_the_table_ranks_first_what_the_answer_chose() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        record = simulated(rng, 3, rates=5, fresh=3)
        (workload,) = judge(record).answer.workloads
        for each in candidates(record):
            chosen = workload.candidate(each.name).chosen
            assert (
                each.best is not None and f"{each.best.swept['lr']:g}" == f"{float(chosen or 0):g}"
            )


def test_candidates_are_optimizers_else_what_is_no_number_else_all_runs() -> None:
    def names(**grid: list[object]) -> list[str]:
        return sorted(each.name for each in judge(sweep(grid)).answer.workloads[0].candidates)

    assert names(model=["mlp", "cnn"], optimizer=["sgd", "adam"]) == ["adam", "sgd"]
    assert names(lr=[1e-3, 1e-2], model=["mlp", "cnn"]) == ["cnn", "mlp"]
    assert names(lr=[1e-3, 1e-2], batch_size=[16, 32]) == ["sgd"]


def test_rates_are_excluded_by_paired_tests_on_what_chose() -> None:
    record = sweep({"lr": LRS, "seed": list(range(5))})
    ((candidate,),) = [each.candidates for each in judge(record).answer.workloads]
    scores = {
        lr: [run.metrics["val/accuracy"] for run in record.runs if run.swept["lr"] == lr]
        for lr in LRS
    }
    able = [
        f"{lr:g}"
        for lr in LRS
        if not any(
            stats.ttest_rel(other, scores[lr], alternative="greater").pvalue < 0.05 / (len(LRS) - 1)
            for each, other in scores.items()
            if each != lr
        )
    ]
    assert sorted(candidate.not_excluded) == able
    assert sorted([*candidate.not_excluded, *candidate.excluded]) == sorted(f"{lr:g}" for lr in LRS)


def test_which_test_samples_were_right_widens_the_claim_to_new_ones() -> None:
    rng = np.random.default_rng(0)
    record = of_pairs(a=[0.0] * 4, b=[0.0] * 4)
    base = rng.random(400) < 0.8
    runs = []
    for run in record.runs:
        correct = np.where(rng.random(400) < 0.05, ~base, base)
        metrics = {**run.metrics, "test/accuracy": float(correct.mean())}
        runs.append(replace(run, correct=correct, metrics=metrics))
    pair = only_pair(replace(record, runs=runs))
    assert pair.samples == 400 and pair.these_samples is not None
    assert any("on new test samples." in line for line in said(replace(record, runs=runs)))


def test_looks_are_taken_in_the_order_of_the_fresh_seeds() -> None:
    seeds = [104, 100, 103, 101, 102]
    record = replace(confirmed(SIXTY, seeds), looks=[3, 5], runs=confirmed(SIXTY).runs)
    verdict = judge(record)
    assert verdict.answer.looks == [3, 5]
    runs = {(run.params["optimizer"], run.params["seed"]): run for run in record.runs}
    for pair in verdict.answer.workloads[0].comparisons:
        differences = [
            runs[pair.first, seed].metrics["test/accuracy"]
            - runs[pair.second, seed].metrics["test/accuracy"]
            for seed in seeds[: pair.seeds]
        ]
        assert pair.difference == pytest.approx(np.mean(differences))


def test_a_sweep_of_which_nothing_is_left_has_no_verdict() -> None:
    gone = [failed(run, "boom") for run in FOUR.runs]
    for record in (replace(FOUR, runs=[]), replace(FOUR, runs=gone)):
        verdict = judge(record)
        assert verdict.leader is None
        assert all(not each.best and not each.comparisons for each in verdict.answer.workloads)
        assert said(record) == []
        check(verdict)


def test_merged_sweeps_are_judged_workload_by_workload() -> None:
    first, second = (
        replace(sweep({"optimizer": OPTIMIZERS, "seed": [0, 1]}, dataset=name), run_id=name)
        for name in ("digits", "cifar10")
    )
    second = replace(second, runs=[replace(r, run_id=f"{r.run_id}b") for r in second.runs])
    verdict = judge(merge([first, second]))
    assert [each.name for each in verdict.answer.workloads] == ["dataset=digits", "dataset=cifar10"]
    assert verdict.confirming == ""
    check(verdict)


def test_the_profile_is_that_of_dolan_and_more() -> None:
    costs: list[dict[str, float | None]] = [
        {"a": 1.0, "b": 1.3},
        {"a": 4.0, "b": 2.0},
        {"a": 3.0, "b": None},
    ]
    found = profile("error", costs)
    assert found is not None
    shares = {
        name: dict(zip(found.factors, own, strict=True)) for name, own in found.shares.items()
    }
    for factor in found.factors:
        assert shares["a"][factor] == pytest.approx((2 + (factor >= 4 / 2)) / 3)
        assert shares["b"][factor] == pytest.approx((1 + (factor >= 1.3)) / 3)
    assert profile("error", costs[:2]) is None
    assert judge(DATASETS).profile is None


def check(verdict: Verdict) -> None:
    """It follows its schema, no sentence names two workloads, and no number is made up."""
    lines = sentences(verdict)
    content = json.loads(json.dumps(verdict_json(verdict, lines), allow_nan=False, default=str))
    SCHEMA.validate(content)
    for place, each in enumerate(content["workloads"]):
        others = [name for name in lines if name != each["name"]]
        own = {**content["sweep"], "workloads": [content["sweep"]["workloads"][place]]}
        source = {**content, "workloads": [{**each, "sentences": []}], "sweep": own}
        numbers, texts = list(leaves(source, (int, float))), " ".join(leaves(source, str))
        for line in each["sentences"]:
            assert not any(name in line for name in others), line
            said = re.sub(r"[\w.]+=\S+", "", line)  # what is to be typed is no figure
            for text in re.findall(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", said):
                is_known = any(is_rounded(text, number) for number in numbers)
                assert is_known or text in texts, (text, line)


def leaves(value: Any, kind: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each, kind)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each, kind)]
    return [value] if isinstance(value, kind) and not isinstance(value, bool) else []


def is_rounded(text: str, number: float) -> bool:
    """Whether the text is the number, or its hundredfold, rounded to the text's digits."""
    try:
        plain = float(text.replace(",", ""))
    except ValueError:
        return False
    mantissa, _, power = text.partition("e")
    step = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return any(abs(plain - each) <= 0.51 * step for each in (number, 100 * number))


@pytest.mark.parametrize(
    "record",
    [
        *(FOUR, TWELVE, SIXTY, SEARCH, DATASETS, confirmed(DATASETS), sweep({})),
        sweep({"model": ["mlp", "cnn"], "batch_size": [8, 16]}),
        sweep({"dataset": ["x", "y", "z"], "optimizer": OPTIMIZERS, "seed": [0, 1, 2]}),
    ],
    ids=["four", "twelve", "sixty", "search", "two", "confirmed", "one run", "models", "three"],
)
def test_verdict_json_follows_its_schema(record: SweepRecord) -> None:
    check(judge(record))
    check(judge(replace(record, target=0.9)))


ENDINGS = st.sampled_from(["sound", "sound", "sound", "diverged", "FAILED", "KILLED", "pruned"])


@st.composite
def sweeps(draw: st.DrawFn) -> SweepRecord:
    """Sweeps over two workloads whose runs end in any way, confirmed or not, in looks or not."""
    seeds, fresh = draw(st.integers(1, 4)), draw(st.integers(0, 4))
    runs: list[RunRecord] = []
    for dataset in ("digits", "cifar10"):
        for optimizer in OPTIMIZERS[: draw(st.integers(1, 3))]:
            for lr in LRS[: draw(st.integers(1, 3))]:
                for seed in range(seeds + (fresh if lr == LRS[0] else 0)):
                    swept = {"dataset": dataset, "optimizer": optimizer, "lr": lr, "seed": seed}
                    runs.append(_ended(draw, RunRecord("run", f"{len(runs)}", swept=swept)))
    keys = ("dataset", "optimizer", "lr", "seed")
    grid = {key: list(dict.fromkeys(run.swept[key] for run in runs)) for key in keys}
    looks = draw(st.sampled_from([(), (2, 4)])) if fresh else ()
    fresh_seeds: Sequence[int] = range(seeds, seeds + fresh)
    return SweepRecord(
        "s", ["lr=1"], grid, runs, confirm_seeds=fresh_seeds, looks=looks, target=0.5
    )


def _ended(draw: st.DrawFn, run: RunRecord) -> RunRecord:
    ending = draw(ENDINGS)
    val, test = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    if ending in ("FAILED", "KILLED"):
        return failed(run, "boom", status=ending)
    metrics = {"val/accuracy": val, "test/accuracy": test}
    history = {key: [(1, value)] for key, value in metrics.items()}
    run = replace(run, metrics=metrics, history=history, seconds=1.0, classes=10)
    return pruned(run, 1) if ending == "pruned" else replace(run, diverged=ending == "diverged")


@settings(max_examples=60, deadline=None)
@given(sweeps())
def test_sentences_name_one_workload_and_say_what_the_file_holds(record: SweepRecord) -> None:
    verdict = judge(record)
    check(verdict)
    for workload in verdict.answer.workloads:
        names = [each.name for each in workload.candidates if each.chosen is not None]
        assert len(workload.comparisons) == len(list(combinations(names, 2)))
        assert not any(
            pair.outcome.startswith("beats") and pair.reason for pair in workload.comparisons
        )
