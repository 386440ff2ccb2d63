"""What a sweep adds to its own jobs: stage after stage, and runs at fresh seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace as Made
from typing import Any

import pytest

from optsweep.config.launchers import Launch
from optsweep.errors import SettingsError
from optsweep.records.run import RunRecord
from optsweep.sweep.stages.added_jobs import AddedJobs
from optsweep.sweep.stages.confirmation import Confirmation, at_seed, confirmed_as_begun, plan
from optsweep.sweep.stages.stages import Stages
from optsweep.sweep.sweep import Sweep
from support.records import scored


def asked_in_turn(*answers: Sequence[Sequence[Any]]) -> list[Any]:
    """Stages that give these answers, one after another, and then nothing."""

    def stage(own: list[Any]) -> Any:
        return lambda records, running: own.pop(0) if own else []

    return [stage(list(own)) for own in answers]


def test_a_stage_begins_when_the_one_before_has_nothing_more_and_nothing_runs() -> None:
    stages: Any = Stages(asked_in_turn([["a"], [], ["b"]], [["c"]]))
    assert stages([], 0) == ["a"]
    assert stages([], 1) == []  # perhaps later
    assert stages([], 0) == ["b"]
    assert stages([], 0) == ["c"]
    assert stages([], 0) == []
    assert stages([], 0) == []


@pytest.mark.parametrize(
    ("confirm", "used", "expected"),
    [
        (None, {0}, ([], [])),
        (3, {0}, ([1, 2, 3], [])),
        (3, {1, 2, 5}, ([0, 3, 4], [])),
        ("auto", {0, 1, 2}, (list(range(3, 15)), [3, 5, 10, 12])),
    ],
)
def test_fresh_seeds_are_the_smallest_that_no_job_has_used(
    confirm: int | str | None, used: set[int], expected: tuple[list[int], list[int]]
) -> None:
    assert plan(confirm, 12, used) == expected


def test_another_seed_is_typed_whether_one_was_typed_or_not() -> None:
    assert at_seed(["lr=1", "seed=3"], 7) == ["lr=1", "seed=7"]
    assert at_seed(["lr=1", "+seed=3"], 7) == ["lr=1", "seed=7"]
    assert at_seed(["lr=1"], 7) == ["lr=1", "seed=7"]


def begun(**tags: str) -> Any:
    """An earlier start of a sweep with these tags."""
    run = Made(data=Made(tags={f"optsweep.{key}": value for key, value in tags.items()}))
    return [run]


def sweep_of(**changes: Any) -> Any:
    made = Sweep([], [], Path(), Launch(), resume=True, figures="none")
    return replace(made, **changes)


def test_a_sweep_is_confirmed_as_it_was_begun() -> None:
    earlier = begun(confirm_seeds="[3, 4]", looks="[]")
    assert confirmed_as_begun(sweep_of(), earlier).confirm_seeds == [3, 4]
    same = sweep_of(confirm_seeds=[3, 4])
    assert confirmed_as_begun(same, earlier).confirm_seeds == [3, 4]
    with pytest.raises(SettingsError, match=r"begun with confirm=2; .* type confirm=2, or"):
        confirmed_as_begun(sweep_of(confirm_seeds=[3, 4, 5]), earlier)


def test_looks_that_were_taken_are_not_planned_anew() -> None:
    earlier = begun(confirm_seeds="[3, 4, 5]", looks="[3]")
    with pytest.raises(SettingsError, match=r"type confirm=auto max_seeds=3, or"):
        confirmed_as_begun(sweep_of(confirm_seeds=[3, 4, 5, 6], looks=[3, 4]), earlier)


def test_a_sweep_that_was_not_confirmed_may_be_now() -> None:
    earlier = begun(confirm_seeds="[]", looks="[]")
    assert confirmed_as_begun(sweep_of(confirm_seeds=[3]), earlier).confirm_seeds == [3]


SCORES = {
    ("adam", 0.1): [(0.9, 0.9), (0.91, 0.9)],
    ("adam", 0.01): [(0.8, 0.8), (0.81, 0.8)],
    ("sgd", 0.1): [(0.5, 0.5), (0.52, 0.5)],
}
OVERRIDES = [[f"optimizer={o}", f"lr={lr}", f"seed={s}"] for o, lr in SCORES for s in (0, 1)]


def added(
    monkeypatch: pytest.MonkeyPatch, looks: Sequence[int], *further: RunRecord
) -> list[list[str]]:
    """The overrides of the jobs that a confirmation at three seeds asks for first."""
    record = scored(SCORES, "optimizer", "lr")
    overrides: list[list[str]] = [list(each) for each in OVERRIDES]

    def describe(records: Sequence[RunRecord]) -> Any:
        return replace(record, runs=records, confirm_seeds=[2, 3, 4], looks=looks)

    wanted: list[list[str]] = []

    def compose(given: Sequence[Sequence[str]]) -> Any:
        wanted.extend(map(list, given))
        return list(given)

    said: list[str] = []
    stage = Confirmation(describe, AddedJobs(overrides, compose, said.append))
    assert stage(record.runs, running=1) == []
    stage([*record.runs, *further], 0)
    return wanted


def test_each_chosen_configuration_runs_at_the_same_fresh_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = added(monkeypatch, [])
    expected = [
        [f"optimizer={name}", "lr=0.1", f"seed={seed}"]
        for name in ("adam", "sgd")
        for seed in (2, 3, 4)
    ]
    assert sorted(wanted) == sorted(expected)


def test_in_looks_the_first_seeds_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [words[-1] for words in added(monkeypatch, [2, 3])]
    assert sorted(seeds) == ["seed=2", "seed=2", "seed=3", "seed=3"]
