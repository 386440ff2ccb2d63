"""A verdict on plain scores: who judges, what is decided, and the figures against their sources."""

import json
import re
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from optsweep.errors import SettingsError
from optsweep.verdict.scores.answer import Answer, Comparison, Workload, as_json
from optsweep.verdict.scores.holm import holm
from optsweep.verdict.scores.intervals import score_interval, share_interval
from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.scores.looks import LOOKS
from optsweep.verdict.scores.outcome_sentences import answer_lines, sentences
from optsweep.verdict.scores.rows import PHASES, STATUSES, Row
from optsweep.verdict.scores.settling import samples_to_settle, seeds_to_settle
from optsweep.verdict.scores.significance import over_seeds, over_seeds_and_samples
from optsweep.verdict.time_to_target import running_time, running_time_interval
from support.command import ROOT

# Student's own data (Biometrika, 1908): hours of sleep gained by ten patients under two drugs.
ONE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
TWO = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "docs" / "verdict.schema.json").read_text())
)


def rows_of(**scores: list[float]) -> list[Row]:
    """One configuration each, at seeds 0, 1, ...; not a number is a run that diverged."""
    return [
        Row(name, str(seed), None, status="diverged")
        if np.isnan(score)
        else Row(name, str(seed), score)
        for name, own in scores.items()
        for seed, score in enumerate(own)
    ]


def only_pair(rows: list[Row], lost: float | None = None, higher: bool = True) -> Comparison:
    ((pair,),) = [
        each.comparisons for each in judge_table(rows, lost=lost, higher=higher).workloads
    ]
    return pair


def said(answer: Answer) -> list[str]:
    return [line for each in answer.workloads for line in sentences(answer, each)]


def test_a_pair_gives_the_published_figures() -> None:
    pair = only_pair(rows_of(one=ONE, two=TWO))
    assert (pair.first, pair.second, pair.outcome, pair.seeds) == ("two", "one", "beats", 10)
    assert pair.difference == pytest.approx(1.58)
    assert (pair.low, pair.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert pair.p == pytest.approx(0.00283289, abs=1e-8)


def test_holms_steps_are_those_of_statsmodels() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005, 0.2]
    steps = holm(p_values, 0.05)
    rejected, adjusted, *_ = multipletests(p_values, method="holm")
    assert [step.rejected for step in steps] == rejected.tolist()
    assert [step.adjusted for step in steps] == pytest.approx(adjusted.tolist())
    assert all(step.rejected == (p < step.level) for step, p in zip(steps, p_values, strict=True))


def test_the_interval_leaves_out_zero_where_holm_decides() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        rows = rows_of(**{name: list(random.normal(size=5)) for name in "abcd"})
        for pair in judge_table(rows).workloads[0].comparisons:
            assert pair.low is not None and (pair.low > 0) == pair.outcome.startswith("beats")


def test_pairs_of_all_workloads_are_one_family() -> None:
    rows = rows_of(one=ONE, two=TWO)
    answer = judge_table([replace(row, workload=name) for name in "ab" for row in rows])
    assert answer.pairs == 2
    for each in answer.workloads:
        assert each.comparisons[0].p_holm == pytest.approx(2 * (each.comparisons[0].p or 0))


def test_equal_effort_is_said_once() -> None:
    same = rows_of(a=[0.9, 0.8], b=[0.5, 0.6], c=[0.1, 0.2])
    assert "Given: 1 configuration and 2 runs each." in said(judge_table(same))
    more = [*same, Row("c", "3", 0.1)]
    expected = "Given: a and b 1 configuration and 2 runs each, c 1 configuration and 3 runs."
    assert expected in said(judge_table(more))


def test_shares_have_exact_intervals() -> None:
    assert share_interval(2, 5) == pytest.approx(proportion_confint(2, 5, method="beta"))
    assert share_interval(0, 5)[0] == 0 and share_interval(5, 5)[1] == 1


def test_scores_stay_within_their_range() -> None:
    low, high = score_interval(0.97, 0.09, is_share=True) or (0, 0)
    assert 0 < low < 0.97 < high < 1
    assert score_interval(1.7, 0.2, is_share=False) == pytest.approx((1.5, 1.9))
    candidates = judge_table(rows_of(a=[0.99, 0.6, 0.98], b=[0.5, 0.01, 0.02])).workloads[0]
    for each in candidates.candidates:
        assert each.score and each.score.low is not None and each.score.high is not None
        assert 0 < each.score.low < each.score.mean < each.score.high < 1


def test_without_sample_effects_the_interval_is_students() -> None:
    seeds = np.random.default_rng(0).normal(size=(6, 1))
    found = over_seeds_and_samples(np.tile(seeds, 50))
    expected = over_seeds(seeds[:, 0])
    assert found.interval(0.95) == pytest.approx(expected.interval(0.95))
    assert found.floor == pytest.approx(0, abs=1e-12)


def test_the_two_way_layout_is_that_of_an_analysis_of_variance() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(4, 30)) + random.normal(size=30) + random.normal(size=(4, 1))
    seeds, samples = values.shape
    mean, rows, columns = values.mean(), values.mean(1), values.mean(0)
    ms_seed = samples * rows.var(ddof=1)
    ms_sample = seeds * columns.var(ddof=1)
    rest = values - rows[:, None] - columns + mean
    ms_rest = (rest**2).sum() / ((seeds - 1) * (samples - 1))
    both = ms_seed + ms_sample - ms_rest
    assert both > max(ms_seed, ms_sample)
    found = over_seeds_and_samples(values)
    assert found.variance == pytest.approx(both / values.size)
    parts = ms_seed**2 / 3 + ms_sample**2 / 29 + ms_rest**2 / 87
    assert found.df == pytest.approx(max(both**2 / parts, seeds - 1))


@given(
    st.integers(2, 6), st.integers(2, 40), st.floats(0, 2), st.floats(0, 2), st.integers(0, 2**32)
)
def test_nothing_is_surer_about_new_samples_than_about_these(
    seeds: int, samples: int, by_seed: float, by_sample: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(seeds, samples)) + by_sample * random.normal(size=samples)
    values += by_seed * random.normal(size=(seeds, 1))
    on_new, on_these = over_seeds_and_samples(values), over_seeds(values.mean(1))
    rounding = 1 + 1e-6  # two ways to sum
    assert on_new.p_differs() * rounding >= on_these.p_differs()
    assert on_new.p_equivalent(0.1) * rounding >= on_these.p_equivalent(0.1)
    assert on_new.reach(0.95) * rounding >= on_these.reach(0.95)
    (low, high), level = on_new.interval(0.95) or (0, 0), on_new.p_differs()
    assert (level < 0.05) == (not low <= 0 <= high)


def test_one_seed_gives_mcnemars_test_of_two_networks() -> None:
    first, second = np.ones(100, bool), np.ones(100, bool)
    first[:3], second[10:25] = False, False
    rows = [Row("a", "0", 0.97, correct=first), Row("b", "0", 0.85, correct=second)]
    pair = only_pair(rows)
    assert (pair.outcome, pair.reason) == ("undecided", "one seed")
    assert pair.networks is not None
    assert (pair.networks.only_first, pair.networks.only_second) == (15, 3)
    assert pair.networks.p == pytest.approx(stats.binomtest(3, 18).pvalue)
    assert any("Of these two networks alone" in line for line in said(judge_table(rows)))


def test_lost_runs_count_as_the_worst_or_as_chance() -> None:
    rows = rows_of(a=[0.9, np.nan, 0.92], b=[0.5, 0.5, 0.6])
    found = judge_table(rows).workloads[0]
    score = found.candidate("a").score
    assert found.lost_counts_as == 0.5 and score and score.mean == pytest.approx(2.32 / 3)
    chance = judge_table(rows, lost=0.1).workloads[0].candidate("a")
    assert chance.score and chance.score.mean == pytest.approx(1.92 / 3)
    assert (chance.diverged_low, chance.diverged_high) == pytest.approx(
        proportion_confint(1, 3, method="beta")
    )


def test_a_difference_that_holds_only_without_lost_runs_is_undecided() -> None:
    adam, sgd = [np.nan, np.nan, 0.951, 0.96, 0.97], [0.90, 0.91, 0.90, 0.91, 0.92]
    pair = only_pair(rows_of(adam=adam, sgd=sgd), lost=0.1)
    assert (pair.outcome, pair.reason) == ("undecided", "holds only without lost runs")
    sound = only_pair(rows_of(adam=adam[2:], sgd=sgd[2:]))
    assert (sound.outcome, sound.first) == ("beats", "adam")


def test_a_difference_that_hangs_on_failed_runs_is_undecided() -> None:
    rows = rows_of(a=[0.9, 0.91, 0.92, 0.93], b=[0.9001, 0.9102, 0.1, 0.11])
    failed = [
        replace(row, score=None, status="failed") if row.score and row.score < 0.5 else row
        for row in rows
    ]
    pair = only_pair(failed, lost=0.1)
    assert pair.first == "a" and pair.outcome == "undecided" and pair.low is None


def test_the_same_difference_at_each_seed_is_undecided() -> None:
    pair = only_pair(rows_of(a=[0.9, 0.8], b=[0.8, 0.7]))
    assert (pair.outcome, pair.reason, pair.p) == ("undecided", "no spread", None)


def test_losses_are_better_when_lower() -> None:
    pair = only_pair(rows_of(one=ONE, two=TWO), higher=False)
    assert (pair.first, pair.outcome) == ("one", "beats")
    assert pair.difference == pytest.approx(1.58)


def test_confirmed_runs_judge_the_choice_of_the_others() -> None:
    tuned = [
        Row("a", str(seed), score + seed / 1000, label)
        for label, score in (("x", 0.9), ("y", 0.8))
        for seed in range(3)
    ]
    fresh = [Row("a", f"f{n}", 0.7 + n / 100, "x", phase="confirm") for n in range(3)]
    other = [Row("b", f"f{n}", 0.6 + n / 90) for n in range(3)]
    found = judge_table([*tuned, *fresh, *other]).workloads[0]
    candidate = found.candidate("a")
    assert (candidate.chosen, candidate.is_confirmed, candidate.runs) == ("x", True, 9)
    assert candidate.chosen_by == pytest.approx(0.901)
    assert candidate.score and candidate.score.mean == pytest.approx(0.71)
    assert candidate.excluded == ["y"] or "y" in candidate.not_excluded
    assert found.comparisons[0].outcome == "beats"
    with pytest.raises(SettingsError, match="seed 0 of a was used to tune"):
        judge_table([*tuned, Row("a", "0", 0.5, "x", phase="confirm")])
    with pytest.raises(SettingsError, match="a x has seed 2 twice"):
        judge_table([*tuned, Row("a", "2", 0.5, "x")])


def test_who_was_given_much_more_is_said_first() -> None:
    rows = [
        Row("a", str(seed), 0.8 + number / 100 + seed / 1000, str(number))
        for number in range(5)
        for seed in range(2)
    ]
    lines = said(judge_table([*rows, *rows_of(b=[0.5, 0.52])]))
    assert lines[0] == "Not given the same: a had 5 configurations, b 1."
    assert lines[1].startswith("a leads, not confirmed. b is behind by ")
    assert lines[2].startswith("Best configuration (95 %): a ")
    assert lines[3] == "How sure: not yet, the runs that chose a configuration also judge it."


def test_three_lines_answer() -> None:
    random = np.random.default_rng(3)
    common = {"adam": 0.95, "rmsprop": 0.951, "sgd": 0.91}
    drawn = {name: list(random.normal(mean, 0.004, 10)) for name, mean in common.items()}
    rows = rows_of(**drawn)
    lines = said(judge_table(rows))
    start = "rmsprop or adam: no practical difference (within 1 point, 10 seeds). sgd is worse than"
    assert lines[0].startswith(start)
    assert lines[1] == "Each candidate has one configuration."
    sure = "How sure: 95 % for 3 comparisons together, at 10 seeds, on these test samples, "
    assert lines[2] == f"{sure}not on new ones."


def test_the_seeds_to_settle_are_a_range() -> None:
    values = np.array([0.01, -0.01, 0.012, -0.014, 0.0])
    low, high = seeds_to_settle(over_seeds(values), 0.01, 0.05)
    assert low is not None and high is not None and 2 < low < 20 < high < 200


def test_where_test_samples_limit_no_seeds_settle_it() -> None:
    """Two networks that disagree on a tenth of 359 images."""
    random = np.random.default_rng(0)
    sign = np.where(random.random(359) < 0.1, random.choice([-1, 1], 359), 0).astype(float)
    noisy = np.array([np.where(random.random(359) < 0.02, 1, sign) for _ in range(5)])
    mean = over_seeds_and_samples(noisy)
    assert 1.96 * np.sqrt(mean.floor) > 0.015
    assert seeds_to_settle(mean, 0.01, 0.05) == (None, None)
    samples = samples_to_settle(mean, 0.01, 0.05)
    assert samples is not None and samples > 5_000


def test_the_running_time_counts_all_that_was_spent() -> None:
    assert running_time([1, 1, 50], [True, True, False]) == 26
    assert running_time([50, 50, 50], [True, True, True]) == 50
    assert running_time([5, 5], [False, False]) is None
    low, _ = running_time_interval([1, 1, 50], [True, True, False])
    assert low is not None and low <= 26
    assert running_time_interval([50, 50, 50], [True, True, True]) == (50, 50)
    assert running_time_interval([5, 5], [False, False]) == (None, None)


def in_looks(means: dict[str, tuple[float, int]]) -> list[Row]:
    """Candidates of two configurations, tuned at three seeds and confirmed at so many."""
    random = np.random.default_rng(4)
    rows = []
    for name, (mean, seeds) in means.items():
        for number in range(2):
            scores = random.normal(mean - number / 10, 0.003, 3)
            rows += [Row(name, str(n), score, str(number)) for n, score in enumerate(scores)]
        fresh = random.normal(mean, 0.003, seeds)
        rows += [Row(name, f"f{n}", score, "0", phase="confirm") for n, score in enumerate(fresh)]
    return rows


def test_in_looks_each_pair_is_judged_as_it_was_at_its_last() -> None:
    rows = in_looks({"adam": (0.95, 10), "rmsprop": (0.951, 10), "sgd": (0.91, 5)})
    answer = judge_table(rows, looks=LOOKS)
    (workload,) = answer.workloads
    found = {frozenset((pair.first, pair.second)): pair for pair in workload.comparisons}
    assert found[frozenset(("adam", "rmsprop"))].outcome == "equivalent"
    assert found[frozenset(("rmsprop", "sgd"))].outcome == "beats"
    behind = found[frozenset(("adam", "sgd"))]  # which rmsprop beat before
    assert (behind.outcome, behind.reason) == ("undecided", "dropped")
    assert workload.best == ["adam", "rmsprop"]
    assert {pair.seeds for pair in workload.comparisons} <= set(LOOKS)
    for pair in workload.comparisons:
        assert pair.low is not None and (pair.low > 0) == (pair.outcome == "beats")
        assert pair.p_holm is not None and (pair.p_holm < 0.05) == (pair.outcome == "beats")
    assert " in looks at 3, 5, 10 and 20, " in said(answer)[2]


def test_looks_that_are_not_finished_say_so() -> None:
    (pair,) = (
        judge_table(in_looks({"a": (0.9, 4), "b": (0.9, 4)}), looks=LOOKS).workloads[0].comparisons
    )
    assert (pair.outcome, pair.reason, pair.seeds) == ("undecided", "continues", 3)


NAMES = st.sampled_from(["adam", "sgd", "momentum"])
ROWS = st.builds(
    Row,
    candidate=NAMES,
    seed=st.integers(0, 4).map(str),
    score=st.floats(0, 1),
    configuration=st.sampled_from(["low", "middle", "high"]),
    workload=st.sampled_from(["digits", "fashion"]),
    phase=st.sampled_from(PHASES),
    status=st.sampled_from(STATUSES),
)


def a_sweep(drawn: list[Row]) -> list[Row]:
    """The rows without those that a table could not hold."""
    found: dict[tuple[str, ...], Row] = {}
    for row in drawn:
        fresh = f"f{row.seed}" if row.phase == "confirm" else row.seed
        score = row.score if row.status == "finished" else None
        key = (row.workload, row.candidate, row.configuration, fresh)
        found[key] = replace(row, seed=fresh, score=score)
    return list(found.values())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(ROWS, min_size=1, max_size=60).map(a_sweep),
    st.booleans(),
    st.sampled_from([(), (2, 4)]),
)
def test_sentences_say_what_the_file_holds(
    rows: list[Row], higher: bool, looks: tuple[int, ...]
) -> None:
    check_sentences(judge_table(rows, higher=higher, looks=looks))


@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=60).map(a_sweep), st.booleans())
def test_what_is_decided_is_not_said_to_be_open(rows: list[Row], higher: bool) -> None:
    answer = judge_table(rows, higher=higher)
    for workload in answer.workloads:
        said = " ".join(answer_lines(answer, workload))
        is_open = re.search(r"Undecided between|leads, not confirmed| is behind ", said)
        assert not (workload.is_decided and is_open), said
        assert workload.is_decided or is_open or not workload.comparisons or has_cycle(workload)


def has_cycle(workload: Workload) -> bool:
    """Whether one of the best is behind another, as pairs may share different seeds."""
    return any(each.second in workload.best for each in workload.comparisons if behind(each))


def behind(pair: Comparison) -> bool:
    return pair.outcome in ("beats", "leads")


def check_sentences(answer: Answer) -> None:
    """No sentence names two workloads, and each number in one stands in the file."""
    by_workload = {each.name: sentences(answer, each) for each in answer.workloads}
    content = json.loads(json.dumps(as_json(answer, by_workload), allow_nan=False))
    SCHEMA.validate(content)
    for each in content["workloads"]:
        others = [other["name"] for other in content["workloads"] if other is not each]
        numbers = list(numbers_in({**content, "workloads": [{**each, "sentences": []}]}))
        for line in each["sentences"]:
            assert not any(name in line for name in others)
            for text in re.findall(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", line):
                assert any(is_rounded(text, number) for number in numbers), (text, line)


@pytest.mark.parametrize("seeds", [1, 5])
def test_sentences_speak_of_new_samples_and_of_these(seeds: int) -> None:
    """Two candidates' networks that disagree on about a tenth of 360 images."""
    random = np.random.default_rng(0)
    known = random.random((3, 360)) < [[0.85], [0.1], [0.1]]
    rows = [
        Row(name, str(seed), float(correct.mean()), correct=correct)
        for name, own in (("adam", known[1]), ("sgd", known[2]))
        for seed in range(seeds)
        for correct in [(known[0] ^ own) ^ (random.random(360) < 0.01)]
    ]
    answer = judge_table(rows)
    check_sentences(answer)
    text = " ".join(said(answer))
    if seeds == 1:
        assert "Of these two networks alone, " in text and "on new" not in text
    else:
        assert "at 5 seeds, on new test samples." in text
        assert "On these 360 test samples alone: " in text
        assert "No number of seeds settles a difference of 1 point between " in text


def numbers_in(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers_in(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers_in(each)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


def is_rounded(text: str, number: float) -> bool:
    """Whether the text is the number, or its hundredfold, rounded to the text's digits."""
    plain = text.replace(",", "")
    mantissa, _, power = plain.partition("e")
    digits = len(mantissa.partition(".")[2])
    step = 10.0 ** (int(power or 0) - digits)
    return any(abs(float(plain) - each) <= 0.51 * step for each in (number, 100 * number))
