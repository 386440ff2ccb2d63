"""What a search is asked for, and what is refused."""

from dataclasses import replace

import pytest

from optsweep.config.launchers import Launch, RayLaunch, SlurmLaunch
from optsweep.errors import SettingsError
from optsweep.search.search import Search, refuse_pruning_apart, refuse_with_search
from optsweep.search.space import Choice, Dimension, Interval

SPACE: list[Dimension] = [
    Choice("optimizer", ("sgd", "adam", "rmsprop")),
    Interval("lr", 1e-5, 1.0, log=True),
]
GIVEN = {"sampler": "tpe", "n_trials": 12, "pruning": False, "seed": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_trials": 0}, ("hydra.sweeper.n_trials=0:", "n_trials=20")),
        ({"n_trials": "many"}, ("hydra.sweeper.n_trials=many:", "integer")),
        ({"sampler": "tpa"}, ("sampler=tpa:", "tpe, random, grid", "sampler=tpe")),
        ({"pruning": "maybe"}, ("pruning=maybe:", "true or false")),
        ({"seed": -1}, ("hydra.sweeper.seed=-1:", "seed=0")),
        ({"sampler": "grid"}, ("lr=interval(1e-05,1):", "choices", "lr=1e-3,1e-2,1e-1")),
    ],
)
def test_what_cannot_be_searched_is_refused(
    change: dict[str, object], words: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as refusal:
        Search.from_config(GIVEN | change, SPACE)
    assert [word for word in words if word not in str(refusal.value)] == []
    assert "\n" not in str(refusal.value)


def test_nothing_to_search_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"nothing to search.*lr=interval"):
        Search.from_config(GIVEN, [])


def test_a_search_is_known_by_what_it_draws_from_and_how_not_by_its_number_of_trials() -> None:
    search = Search(SPACE, 12)
    same = replace(search, n_trials=20)
    others = [replace(search, seed=1), replace(search, pruning=True), replace(search, sampler="x")]
    assert search.identify(["a"]) == same.identify(["a"])
    names = {each.identify(["a"]) for each in (search, *others, replace(search, space=SPACE[1:]))}
    assert len(names | {search.identify(["b"])}) == 6


@pytest.mark.parametrize(
    ("extend", "launch", "said"),
    [
        (2, Launch(), "extend=2"),
        (0, Launch(stack=4), "stack=4.* hydra.launcher.workers=4 for more"),
        (0, RayLaunch(stack=4), "stack=4.* hydra.launcher.max_parallel=4 for more"),
        (0, SlurmLaunch(stack=1), "type hydra.launcher.max_parallel=4"),
    ],
)
def test_what_does_not_go_with_a_search_is_refused(extend: int, launch: Launch, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        refuse_with_search(extend, launch)


@pytest.mark.parametrize("launch", [Launch(), Launch(stack=1), SlurmLaunch(stack=1, workers=2)])
def test_what_goes_with_a_search_is_let_pass(launch: Launch) -> None:
    refuse_with_search(0, launch)


def test_runs_that_share_no_folder_prune_nothing() -> None:
    search = Search(SPACE, 4)
    refuse_pruning_apart(search)
    with pytest.raises(SettingsError, match=r"hydra\.launcher\.shared=true"):
        refuse_pruning_apart(replace(search, pruning=True))
