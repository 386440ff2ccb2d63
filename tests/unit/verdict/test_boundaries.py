"""Best values on the edge of a grid, and the steps beyond it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optsweep.config.overrides import changed
from optsweep.errors import SettingsError
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.runs.job import Job
from optsweep.sweep.stages.added_jobs import AddedJobs
from optsweep.sweep.stages.extension import Extension
from optsweep.verdict.boundaries import boundaries, next_steps, next_value
from optsweep.verdict.candidates import candidates
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.rows.sweep_rows import by_text
from optsweep.verdict.sweep_sentences import few_sentences
from support.records import Scores, failed, scored, union, with_runs


def by_rate(**optimizers: dict[float, float]) -> SweepRecord:
    """Optimizers with these accuracies by learning rate."""
    rows: Scores = {
        (name, lr): [(accuracy, accuracy)]
        for name, row in optimizers.items()
        for lr, accuracy in row.items()
    }
    return scored(rows, "optimizer", "lr")


def flagged(record: SweepRecord) -> list[tuple[str, str, float, str, float | None, str]]:
    return [
        (e.contender, e.key, e.value, e.side, e.next, e.override)
        for each in candidates(record)
        for e in boundaries(each)
    ]


def test_each_candidates_best_is_looked_at_with_the_override_that_extends() -> None:
    record = by_rate(
        sgd={1e-3: 0.1, 1e-2: 0.2, 1e-1: 0.3},
        adam={1e-3: 0.9, 1e-2: 0.8, 1e-1: 0.1},
        rmsprop={1e-3: 0.5, 1e-2: 0.6, 1e-1: 0.1},
    )
    assert flagged(record) == [
        ("adam", "lr", 1e-3, "low", 1e-4, "lr=0.0001,0.001,0.01,0.1"),
        ("sgd", "lr", 1e-1, "high", 1.0, "lr=0.001,0.01,0.1,1"),
    ]


def test_a_rate_that_diverged_was_tried_and_one_that_failed_was_not() -> None:
    rows: Scores = {("sgd", 1e-2): [(0.8, 0.8)], ("sgd", 1e-1): [(0.9, 0.9)], ("sgd", 1.0): [None]}
    record = scored(rows, "optimizer", "lr")
    assert flagged(record) == []
    record = with_runs(record, {2: failed(record.runs[2], "killed")})
    assert [edge[3:5] for edge in flagged(record)] == [("high", 1.0)]


def test_seeds_and_names_have_no_edges() -> None:
    record = scored({("mlp",): [(0.9, 0.9), (0.8, 0.8)], ("cnn",): [(0.7, 0.7)] * 2}, "model")
    assert flagged(record) == []


def test_several_swept_numbers_are_looked_at_each() -> None:
    rows: Scores = {
        (lr, size): [(0.9 - abs(lr - 0.1) - size / 1000,) * 2]
        for lr in (0.01, 0.1)
        for size in (16, 32, 64)
    }
    found = flagged(scored(rows, "lr", "batch_size"))
    assert [edge[1:5] for edge in found] == [("lr", 0.1, "high", 1.0), ("batch_size", 16, "low", 8)]


@pytest.mark.parametrize(
    ("key", "values", "side", "expected"),
    [
        ("lr", [1e-3, 1e-2], "high", 0.1),
        ("lr", [1e-3, 1e-2], "low", 1e-4),
        ("lr", [0.03, 0.1, 0.3], "high", 0.9),
        ("lr", [1, 10], "high", 100),
        ("lr", [1, 10.0], "low", 0.1),
        ("model.width", [0.1, 0.2, 0.3], "high", 0.4),
        ("model.width", [0.1, 0.2, 0.3], "low", None),
        ("optimizer.weight_decay", [0, 1e-2], "high", 0.02),
        ("batch_size", [32, 64, 128], "high", 256),
        ("batch_size", [1, 2], "low", None),
        ("epochs", [5, 10, 15], "high", 20),
        ("optimizer.momentum", [0.5, 0.9], "high", None),
        ("optimizer.momentum", [0.5, 0.9], "low", 0.2777777778),
        ("val_fraction", [0.1, 0.2], "high", 0.4),
        ("lr", [1e307, 1e308], "high", None),
        ("optimizer.weight_decay", [0, 1e-4], "low", None),
        ("optimizer.beta2_decay", [-0.8, -0.2], "high", None),
        ("schedule.pct_start", [0.3, 0.6], "high", None),
    ],
)
def test_a_step_is_the_grids_own(
    key: str, values: list[float], side: Literal["low", "high"], expected: float | None
) -> None:
    found = next_value(key, values, side)
    assert found == expected
    assert type(found) is type(expected)


grids = st.one_of(
    st.lists(st.floats(1e-9, 1e6), min_size=2, max_size=5, unique=True),
    st.lists(st.integers(0, 10**6), min_size=2, max_size=5, unique=True),
    st.lists(st.floats(0, 0.999), min_size=2, max_size=5, unique=True),
    st.lists(st.floats(-1, 0), min_size=2, max_size=5, unique=True),
)
KEYS = ("lr", "optimizer.weight_decay", "optimizer.momentum", "model.dropout", "epochs", "patience")


@settings(deadline=None)
@given(st.sampled_from(KEYS), grids, st.data())
def test_no_step_leaves_the_side_of_0_or_a_share(
    key: str, values: list[float], data: st.DataObject
) -> None:
    found = next_value(key, sorted(values), data.draw(st.sampled_from(["low", "high"])))
    if found is None:
        return
    if min(values) > 0:
        assert found > 0
    if min(values) >= 0:
        assert found >= 0
    if max(values) <= 0:
        assert found <= 0
    if key in ("optimizer.momentum", "model.dropout") and max(values) < 1:
        assert found < 1


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("epochs", (1, 2, 3)),
        ("patience", (2, 4, 8)),
        ("dataset.limit", (100, 200)),
        ("dataset.resize", (8, 16)),
        ("optimizer.weight_decay", (1e-3, 1e-4, 0.0)),
    ],
)
def test_budgets_and_zero_are_no_edges(key: str, values: tuple[float, ...]) -> None:
    rows: Scores = {
        (value, lr): [(0.5 + place / 10 - abs(lr - 0.1),) * 2]
        for place, value in enumerate(values)
        for lr in (0.01, 0.1, 1.0)
    }
    record = scored(rows, key, "lr")
    assert flagged(record) == []
    assert not any("edge" in line for line in few_sentences(judge(record)))


def test_no_more_steps_are_taken_than_asked_and_none_once_the_best_is_inside() -> None:
    def asked(accuracies: dict[float, float], most: int) -> list[float]:
        rows: Scores = {(lr,): [(accuracy,) * 2] for lr, accuracy in accuracies.items()}
        typed: Scores = {(lr,): rows[lr,] for lr in (1e-3, 1e-2)}
        found, before = (candidates(scored(each, "lr")) for each in (rows, typed))
        return [each.value for each in next_steps(found, before, most)]

    assert asked({1e-3: 0.1, 1e-2: 0.2}, 0) == []
    assert asked({1e-3: 0.1, 1e-2: 0.2}, 1) == [0.1]
    assert asked({1e-3: 0.1, 1e-2: 0.2, 0.1: 0.3}, 1) == []
    assert asked({1e-3: 0.1, 1e-2: 0.2, 0.1: 0.3}, 2) == [1.0]
    assert asked({1e-3: 0.1, 1e-2: 0.2, 0.1: 0.3, 1.0: 0.2}, 9) == []


def test_a_step_that_failed_is_not_asked_for_again() -> None:
    record = by_rate(sgd={1e-3: 0.1, 1e-2: 0.2, 1e-1: 0.3})
    record = with_runs(record, {2: failed(record.runs[2], "killed")})
    typed = replace(record, runs=record.runs[:2])
    assert flagged(record) != []
    assert next_steps(candidates(record), candidates(typed), 3) == []


class Composer:
    """Stands where Hydra composes: remembers what it was asked for, refuses rates above 10."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    def __call__(self, overrides: Sequence[Sequence[str]]) -> list[Job]:
        self.asked += overrides
        if any("lr=100" in each for job in overrides for each in job):
            raise SettingsError("lr=100: too large")
        jobs: list[Any] = [tuple(each) for each in overrides]
        return jobs


def extension(
    record: SweepRecord, most: int
) -> tuple[Extension, Composer, list[list[str]], list[str]]:
    overrides = [[f"{key}={value}" for key, value in run.swept.items()] for run in record.runs]
    composer, said = Composer(), list[str]()
    added = AddedJobs(overrides, composer, said.append)

    def describe(records: Sequence[RunRecord]) -> SweepRecord:
        return replace(record, runs=records)

    return Extension(describe, len(record.runs), most, added), composer, overrides, said


def test_every_seed_of_the_best_configuration_goes_a_step_further() -> None:
    rows: Scores = {
        ("sgd", 0.01): [(0.8, 0.8)] * 2,
        ("sgd", 0.1): [(0.9, 0.9)] * 2,
        ("adam", 0.01): [(0.9, 0.9)] * 2,
        ("adam", 0.1): [(0.8, 0.8)] * 2,
    }
    more, composer, overrides, _ = extension(scored(rows, "optimizer", "lr"), 3)
    more(scored(rows, "optimizer", "lr").runs)
    assert composer.asked == [
        ["optimizer=sgd", "lr=1.0", "seed=0"],
        ["optimizer=sgd", "lr=1.0", "seed=1"],
        ["optimizer=adam", "lr=0.001", "seed=0"],
        ["optimizer=adam", "lr=0.001", "seed=1"],
    ]
    assert overrides[8:] == composer.asked


def test_a_step_that_cannot_be_run_is_named_once_and_the_sweep_ends() -> None:
    rows: Scores = {("sgd", 1.0): [(0.8, 0.8)], ("sgd", 10.0): [(0.9, 0.9)]}
    record = scored(rows, "optimizer", "lr")
    more, _, overrides, said = extension(record, 3)
    assert more(record.runs, 1) == [] and said == []  # not while a run is under way
    assert more(record.runs) == [] and more(record.runs) == []
    assert said == ["extend: lr=100 is not tried: lr=100: too large"]
    assert len(overrides) == 2


def test_an_override_keeps_the_name_by_which_it_was_typed() -> None:
    typed = ["optimizer=sgd", "+optimizer.nesterov=true", "++lr=0.1"]
    assert changed(typed, "lr", 1.0) == ["optimizer=sgd", "+optimizer.nesterov=true", "++lr=1.0"]


def test_runs_that_never_started_are_no_reason_to_continue() -> None:
    record = by_rate(sgd={1e-3: 0.1, 1e-2: 0.2})
    gone: list[RunRecord] = [replace(run, status="SCHEDULED", metrics={}) for run in record.runs]
    none = candidates(replace(record, runs=gone))
    assert next_steps(none, none, 3) == []


def searched(best: float, text: str, key: str = "lr") -> list[tuple[str, str]]:
    """The side and the override of what is flagged where a search's best lies there."""
    record = scored({(best,): [(0.9, 0.9)], (best * 1.1,): [(0.8, 0.8)]}, key)
    (candidate,) = candidates(record)
    return [(edge.side, edge.override) for edge in boundaries(candidate, {key: text})]


def test_a_search_of_a_share_is_advised_to_stay_below_1() -> None:
    high = "optimizer.momentum=interval(0,0.95)"
    assert searched(0.9, "interval(0,0.9)", "optimizer.momentum") == [("high", high)]
    high = "optimizer.eps=interval(0,1.8)"
    assert searched(0.9, "interval(0,0.9)", "optimizer.eps") == [("high", high)]


@pytest.mark.parametrize(
    ("best", "text", "expected"),
    [
        (0.01, "interval(1e-05,1)", []),
        (0.5, "interval(1e-05,1)", []),
        (0.8, "interval(1e-05,1)", [("high", "lr=interval(1e-05,10)")]),
        (1.5e-5, "interval(1e-05,1)", [("low", "lr=interval(1e-06,1)")]),
        (0.99, "interval(0,1)", [("high", "lr=interval(0,2)")]),
        (0.5, "tag(linear,interval(1e-05,1))", []),
        (1.001, "tag(linear,interval(1,1.1))", [("low", "lr=tag(linear,interval(0.9,1.1))")]),
        (0.1, "1e-3,1e-2,1e-1", [("high", "lr=0.001,0.01,0.1,1")]),
        (0.01, "1e-3,1e-2,1e-1", []),
        (0.01, "interval(0,1)", []),
        (0.101, "interval(0.1,0.9)", [("low", "lr=interval(0.01,0.9)")]),
        (1, "int(interval(1,100))", []),
        (2, "int(interval(2,9))", [("low", "lr=int(interval(1,9))")]),
    ],
)
def test_of_a_search_the_ends_of_what_was_searched_count(
    best: float, text: str, expected: list[tuple[str, str]]
) -> None:
    assert searched(best, text) == expected


BETAS = ([0.9, 0.99], [0.9, 0.999])
SGD: Scores = {("sgd", lr): [(a, a)] for lr, a in ((0.1, 0.6), (1.0, 0.7))}
ADAM: Scores = {
    ("adam", lr, str(betas)): [(a + place / 50,) * 2]
    for lr, a in ((1e-4, 0.9), (1e-3, 0.8))
    for place, betas in enumerate(BETAS)
}
UNION = union(scored(SGD, "optimizer", "lr"), scored(ADAM, "optimizer", "lr", "optimizer.betas"))


def test_of_a_union_each_candidate_continues_its_own_grid() -> None:
    more, composer, _, _ = extension(UNION, 1)
    more(UNION.runs)
    beta = f"optimizer.betas={BETAS[1]}"
    assert composer.asked == [
        ["optimizer=adam", "lr=1e-05", beta, "seed=0"],
        ["optimizer=sgd", "lr=10.0", "seed=0"],
    ]
    further = [
        replace(UNION.runs[1], swept={**UNION.runs[1].swept, "lr": 10.0}),
        replace(UNION.runs[3], swept={**UNION.runs[3].swept, "lr": 1e-5}),
    ]
    better = [replace(run, metrics=dict.fromkeys(run.metrics, 0.99)) for run in further]
    assert more([*UNION.runs, *better]) == []  # a step each, though 1 lies beyond adam's grid


def test_of_a_union_no_list_is_advised_for_all() -> None:
    edges = [edge for each in judge(UNION).workloads[0].candidates for edge in each.edges]
    assert [(edge.contender, edge.side, edge.override) for edge in edges] == [
        ("adam", "low", ""),
        ("sgd", "high", ""),
    ]
    (line,) = [each for each in few_sentences(judge(UNION)) if each.startswith("On the edge")]
    assert line.endswith("a better value may lie beyond. Type extend=3.")


def test_of_a_union_each_candidate_is_named_by_what_it_was_tuned_in() -> None:
    found = {each.name: list(by_text(UNION, each)) for each in candidates(UNION)}
    assert found["sgd"] == ["1", "0.1"]
    assert found["adam"][0] == f"lr=0.0001 optimizer.betas={BETAS[1]}"
    fixed = {(*key[:2], str(BETAS[0])): row for key, row in ADAM.items()}  # the same for all
    one = union(scored(SGD, "optimizer", "lr"), scored(fixed, "optimizer", "lr", "optimizer.betas"))
    assert [list(by_text(one, each)) for each in candidates(one)] == [
        ["0.0001", "0.001"],
        ["1", "0.1"],
    ]
    assert judge(one).workloads[0].tuning == "learning rate"
