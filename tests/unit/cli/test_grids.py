"""Unions of grids: which jobs the strings give, which are the same, and rates for `lr=auto`."""

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from hydra_plugins.optsweep.grid import combinations
from optsweep.cli.composing import Composed
from optsweep.cli.grids import Grids, middle_rate, rates
from optsweep.cli.input_errors import in_one_line
from optsweep.cli.jobs import swept_keys, typed_once
from optsweep.config.overrides import changed
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from support.config import config_of

PARSER = OverridesParser.create()
VALUES = {
    "optimizer": ["sgd", "momentum", "adam"],
    "lr": ["0.001", "0.1", "1"],
    "optimizer.betas": ["[0.9,0.99]", "[0.9,0.999]"],
    "model.hidden": ["[16]", "[32,32]"],
    "+optimizer.foo": ["1", "'a b'"],
    "seed": ["0", "1", "2"],
}
Choices = dict[str, list[str]]
grids = st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(1, 3), max_size=3).map(
    lambda counts: {key: VALUES[key][:count] for key, count in counts.items()}
)


def split(overrides: Any) -> list[list[str]]:
    """The jobs that Hydra's own sweeper makes of a grid."""
    return BasicSweeper.split_arguments(overrides, None)[0]


def typed(choices: Choices) -> list[str]:
    return [f"{key}={','.join(values)}" for key, values in choices.items()]


def jobs_of(strings: Sequence[str] | None, *beside: str, first: Sequence[str] = ()) -> Any:
    return Grids(strings, first, beside).jobs(PARSER, combinations)


@settings(deadline=None)
@given(st.lists(grids, min_size=1, max_size=4), grids, grids)
def test_a_unions_jobs_are_what_its_strings_say(
    union: list[Choices], first: Choices, beside: Choices
) -> None:
    strings = [" ".join(f'"{word}"' for word in typed(grid)) for grid in union]
    found = jobs_of(strings, *typed(beside), first=typed(first))
    # What the command line says counts before the string, and that before the file's params.
    whole = [{**first, **grid, **beside} for grid in union]
    combinations = [
        [f"{key}={value}" for key, value in zip(grid, values, strict=True)]
        for grid in whole
        for values in itertools.product(*grid.values())
    ]
    assert found == combinations
    hydras = [
        split(PARSER.parse_overrides([*typed(first), *typed(g), *typed(beside)])) for g in union
    ]
    assert found == list(itertools.chain(*hydras))


@settings(deadline=None)
@given(grids)
def test_without_strings_there_is_one_grid(grid: Choices) -> None:
    expected = split(PARSER.parse_overrides(typed(grid)))
    assert jobs_of(None, *typed(grid)) == jobs_of([], *typed(grid)) == expected


@pytest.mark.parametrize("given", ["lr=1", 5, [1], [["lr=1"]], {"a": "b"}])
def test_strings_are_asked_for(given: Any) -> None:
    with pytest.raises(SettingsError, match=r"must be a list of strings.* type '"):
        jobs_of(given)


@pytest.mark.parametrize(
    ("string", "words"),
    [
        ("lr=1 momentum", "momentum"),
        ("lr=1,", "nothing follows the comma"),
        ("lr='1", "no closing quotation"),
        ("lr=interval(1,2)", "a grid takes a list or a range"),
        ("hydra.launcher.workers=2", "type it beside hydra.sweeper.grids"),
        ("-m", "NAME=VALUE"),
    ],
)
def test_a_string_that_cannot_be_read_is_named(string: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        jobs_of(["lr=1", string])
    line = in_one_line(refused.value, [])
    assert line.startswith("hydra.sweeper.grids, string 2 of 2, ") and string in line
    assert words in line


def test_what_is_refused_of_a_job_names_the_string_that_it_is_of() -> None:
    made = Grids(["lr=1,2", "lr=-1,3"], [], ["seed=0"])
    first, second, third, _ = made.jobs(PARSER, combinations)
    for job in (first, second):
        with pytest.raises(SettingsError, match="string 1 of 2"), made.naming(job):
            raise SettingsError("no")
    with pytest.raises(SettingsError, match="string 2 of 2, 'lr=-1,3'"), made.naming(third):
        raise SettingsError("no")
    with pytest.raises(SettingsError, match=r"^no$"), made.naming(["lr=9"]):  # added later
        raise SettingsError("no")


# Which keys are swept, and which jobs are the same


def composed(*overrides: str) -> Composed:
    """A job's config, as a launcher has it."""
    config = config_of(*overrides)
    values: Any = {str(k): v for k, v in _plain(config).items() if k != "hydra"}
    choices = dict(config.hydra.runtime.choices)
    return Composed(values, {}, choices, list(overrides), 0, "", Path(), None, {})


def every(jobs: Sequence[list[str]]) -> Iterator[Composed]:
    return (composed(*job) for job in jobs)


def _plain(config: Any) -> Any:
    from omegaconf import OmegaConf

    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return OmegaConf.to_container(own, resolve=True)


def read(*jobs: str) -> tuple[list[str], list[int]]:
    """The swept keys of jobs, and the places of those that differ."""
    made = [composed(*job.split()) for job in jobs]
    settings = [Settings.from_config(one.values, one.choices) for one in made]
    keys = swept_keys(made)
    return keys, typed_once(keys, made, settings)


def test_a_key_that_some_jobs_lack_is_swept_where_what_they_have_differs() -> None:
    keys, _ = read("optimizer=sgd lr=0.1", "optimizer=adam lr=1 optimizer.betas=[0.9,0.99]")
    assert keys == ["optimizer", "lr", "optimizer.betas"]
    assert read("lr=0.1 epochs=10", "lr=1")[0] == ["lr"]  # ten epochs are the default
    assert read("lr=0.1 epochs=5", "lr=0.1")[0] == ["epochs"]


@pytest.mark.long
def test_jobs_that_are_the_same_run_once() -> None:
    assert read("lr=0.1", "lr=1e-1", "lr=0.2", "lr=0.1 epochs=10")[1] == [0, 2]
    assert read("optimizer=sgd", "", "optimizer=adam")[1] == [0, 2]
    assert read("threads=1", "threads=2")[1] == [0, 1]  # equal results, but asked for
    paths = [f"dataset=image_folder dataset.path=/{name}" for name in "ab"]
    assert read(*paths)[1] == [0, 1]


# Rates


def test_rates_have_equal_ratios_and_few_digits() -> None:
    assert rates(1e-4, 1e-2, 5) == [1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2]
    assert rates(0.01, 1, 3) == [0.01, 0.1, 1]
    assert rates(0.01, 1, 2) == [0.01, 1]
    assert rates(0.01, 1, 1) == [0.1]


@settings(deadline=None)
@given(st.floats(1e-8, 1e2), st.floats(1.01, 1e6), st.integers(2, 30))
def test_rates_ascend_from_end_to_end_and_can_be_typed_again(
    low: float, ratio: float, count: int
) -> None:
    found = rates(low, low * ratio, count)
    assert (found[0], found[-1], len(found)) == (low, low * ratio, count)
    assert sorted(set(found)) == found
    assert [float(repr(rate)) for rate in found] == found
    steps = [math.log(b / a) for a, b in itertools.pairwise(found)]
    assert max(steps) < 3 * math.log(ratio) / (count - 1) + 0.2


def test_auto_gives_each_optimizer_its_own_range() -> None:
    made = Grids(["optimizer=sgd,adam lr=auto", "optimizer=momentum lr=0.5"], [], ["rates=3"])
    jobs = made.with_rates(
        made.jobs(PARSER, combinations), lambda jobs: (composed(*j) for j in jobs)
    )
    found = {name: [j[1] for j in jobs if j[0] == f"optimizer={name}"] for name in ("sgd", "adam")}
    for name, own in found.items():
        low, high = composed(f"optimizer={name}").values["optimizer"]["_rates_"]
        assert own == [f"lr={rate!r}" for rate in rates(float(low), float(high), 3)]
    assert jobs[-1] == ["optimizer=momentum", "lr=0.5", "rates=3"]
    with pytest.raises(SettingsError, match="string 1 of 2"), made.naming(jobs[0]):
        raise SettingsError("no")


def test_an_optimizer_without_a_range_is_refused_with_what_to_add() -> None:
    made = Grids(None, [], ["lr=auto", "optimizer._rates_=null"])
    with pytest.raises(SettingsError, match=r"type lr=1e-3, or add .*_rates_.*conf/optimizer/sgd"):
        made.with_rates(made.jobs(PARSER, combinations), every)


def test_a_single_run_takes_the_middle_of_the_range() -> None:
    one = composed("lr=auto", "optimizer=adam", "optimizer._rates_=[1e-5,1e-1]")
    assert middle_rate(one.values, one.choices) == 1e-3
    assert middle_rate(composed().values, one.choices) is None


def test_a_value_is_changed_where_it_was_typed_or_not() -> None:
    assert changed(["lr=1", "seed=0"], "lr", 0.1) == ["lr=0.1", "seed=0"]
    assert changed(["seed=0"], "lr", 0.1) == ["seed=0", "lr=0.1"]
