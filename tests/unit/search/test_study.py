"""A study: what it proposes, what it records, what it remembers, and when it calls a run hopeless.

Trials are made up here; nothing is trained.
"""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from support.damages import DAMAGES

pytest.importorskip("optuna")

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from optsweep.errors import SettingsError
from optsweep.records.run import RunRecord
from optsweep.records.search_intervals import drawn_with
from optsweep.search.pruning import Rungs
from optsweep.search.search import Grid, Search
from optsweep.search.space import Choice, Dimension, Interval
from optsweep.search.study import JOURNAL, Study
from optsweep.search.study_journal import NAME, open_study

SPACE: list[Dimension] = [
    Choice("optimizer", ("sgd", "adam", "rmsprop")),
    Interval("lr", 1e-5, 1.0, log=True),
]
GIVEN = {"sampler": "tpe", "n_trials": 12, "pruning": False, "seed": 0}
SCHEDULED = RunRecord("", status="SCHEDULED")
Point = Mapping[str, str]


def accuracy(point: Point) -> float:
    """As real runs have it: best at each optimizer's own rate, worse away from it."""
    best = {"sgd": 0.2, "adam": 1e-3, "rmsprop": 4e-4}[point["optimizer"]]
    return max(0.1, 0.88 - 0.05 * math.log10(float(point["lr"]) / best) ** 2)


def finished(value: float, epochs: int = 9) -> RunRecord:
    history = {"val/accuracy": [(epoch, value) for epoch in range(1, epochs + 1)]}
    return RunRecord("", metrics={"val/accuracy": value}, history=history)


def run_trials(
    study: Study, score: Callable[[Point], float] = accuracy, most: int = 99
) -> tuple[list[Point], list[RunRecord]]:
    """One trial after another, as a single worker has it."""
    points: list[Point] = list(study.points)
    records = [finished(score(point)) for point in points]
    while len(points) < most and (point := study.next(records)) is not None:
        points.append(point)
        records.append(run_trial(study, len(points) - 1, score(point)))
    return points, records


def run_trial(study: Study, place: int, value: float) -> RunRecord:
    hopeless = study.hopeless(place)
    for epoch in range(1, 9):
        if hopeless and hopeless(epoch, value):
            return replace(finished(value, epoch), pruned=True)
    return finished(value)


def stored(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """What Optuna itself reads in the folder."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    return optuna.load_study(study_name=NAME, storage=storage).trials


def test_a_search_finds_better_values_than_it_began_with(tmp_path: Path) -> None:
    points, _ = run_trials(Study(Search(SPACE, 30), tmp_path, 1, 9))
    assert len(points) == 30
    scores = [accuracy(point) for point in points]
    assert sum(scores[15:]) / 15 > sum(scores[:8]) / 8 + 0.05
    assert max(scores) > 0.87


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_is_the_same_each_time_and_another_at_another_seed(
    tmp_path: Path, sampler: str
) -> None:
    found = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        search = Search(SPACE, 12, sampler, seed=seed)
        found.append(run_trials(Study(search, tmp_path / name, 1, 9))[0])
    assert found[0] == found[1] != found[2]


def test_which_of_two_trials_ends_first_changes_nothing(tmp_path: Path) -> None:
    """The next trial waits for the one that it is proposed with, and for no other."""
    found = []
    for name, first in (("a", 0), ("b", 1)):
        study = Study(Search(SPACE, 12), tmp_path / name, 2, 9)
        points: list[Point] = []
        records: list[RunRecord] = []
        running: list[int] = []
        while len(points) < 12:
            while len(running) < 2 and (point := study.next(records)) is not None:
                running.append(len(points))
                points.append(point)
                records.append(SCHEDULED)
            ended = running.pop(min(first, len(running) - 1))
            records[ended] = finished(accuracy(points[ended]))
        found.append(points)
    assert found[0] == found[1]


def test_a_stopped_search_continues_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, _ = run_trials(Study(Search(SPACE, 12), tmp_path / "whole", 1, 9))
    begun, _ = run_trials(Study(Search(SPACE, 12), tmp_path / "begun", 1, 9), most=10)
    assert begun == whole[:10]
    resumed = Study(Search(SPACE, 12), tmp_path / "begun", 1, 9)
    assert resumed.points == begun
    assert run_trials(resumed)[0] == whole


@pytest.mark.parametrize("how", DAMAGES)
def test_a_search_whose_journal_was_damaged_is_the_same(tmp_path: Path, how: str) -> None:
    whole, _ = run_trials(Study(Search(SPACE, 12), tmp_path / "whole", 1, 9))
    run_trials(Study(Search(SPACE, 12), tmp_path / "begun", 1, 9), most=10)
    journal = tmp_path / "begun" / JOURNAL
    journal.write_bytes(DAMAGES[how](journal.read_bytes()))
    for _ in range(2):  # what is written behind the damage is read again
        open_study.cache_clear()
        resumed = Study(Search(SPACE, 12), tmp_path / "begun", 1, 9)
        assert run_trials(resumed)[0] == whole


def test_more_trials_continue_the_same_study(tmp_path: Path) -> None:
    few, records = run_trials(Study(Search(SPACE, 10), tmp_path, 1, 9))
    more = Study(Search(SPACE, 12), tmp_path, 1, 9)
    assert more.points == few
    assert more.next(records) is not None
    assert Study(Search(SPACE, 5), tmp_path, 1, 9).next([*records, SCHEDULED]) is None


def test_how_trials_ended_is_recorded(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 4), tmp_path, 4, 9)
    for _ in range(4):
        assert study.next([]) is not None
    nan = replace(finished(0.7), diverged=True)
    study.next([finished(0.8), nan, replace(SCHEDULED, status="FAILED"), SCHEDULED])
    trials = stored(tmp_path)
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    assert [trial.value for trial in trials] == [0.8, 0.0, None, None]


def test_a_grid_is_every_point_in_order_and_ends(tmp_path: Path) -> None:
    space = [Choice("optimizer", ("sgd", "adam")), Choice("lr", ("1e-3", "1e-2", "1e-1"))]
    search = Search.from_config(GIVEN | {"sampler": "grid", "n_trials": None}, space)
    assert search.n_trials == 6
    points, _ = run_trials(Study(search, tmp_path, 1, 9), lambda point: 0.5)
    assert [tuple(point.values()) for point in points] == [
        (optimizer, lr) for optimizer in ("sgd", "adam") for lr in ("1e-3", "1e-2", "1e-1")
    ]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_choices_are_tried_once_each(tmp_path: Path, sampler: str) -> None:
    space = [Choice("optimizer", ("sgd", "adam")), Choice("epochs", ("1", "3", "5"), step=2)]
    search = Search.from_config(GIVEN | {"sampler": sampler, "n_trials": 50}, space)
    study = Study(search, tmp_path, 1, 9)
    points, _ = run_trials(study, lambda point: 0.5)
    assert len(points) == len({tuple(point.values()) for point in points}) == 6
    assert Study(search, tmp_path, 1, 9).points == points


def test_many_runs_end_early_and_the_best_never_does(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 30, pruning=True), tmp_path, 1, 9)
    points, records = run_trials(study)
    best = max(range(30), key=lambda place: accuracy(points[place]))
    assert not records[best].pruned
    lengths = [record.epochs for record in records]
    assert lengths.count(1) > 10
    assert sum(lengths) < 0.75 * 9 * 30  # more than a third continue, as later ones are better
    states = [trial.state for trial in stored(tmp_path)]
    pruned = [record.pruned for record in records]
    assert [state == TrialState.PRUNED for state in states] == pruned


def test_longer_runs_are_looked_at_later(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 9, pruning=True), tmp_path, 9, 90)
    for _ in range(9):
        study.next([])
    answers = {}
    for place in range(9):
        hopeless = study.hopeless(place)
        assert hopeless is not None
        answers[place] = [epoch for epoch in (1, 2, 3) if hopeless(epoch, 0.9 - place / 10)]
    assert answers == {0: [], **{place: [3] for place in range(1, 9)}}


@pytest.mark.parametrize(
    ("epochs", "expected"), [(1, (1, 1)), (9, (1, 1)), (18, (1, 3)), (27, (1, 3)), (90, (3, 9))]
)
def test_rungs_lie_early_in_a_run(epochs: int, expected: tuple[int, int]) -> None:
    rungs = Rungs.of(epochs)
    assert (rungs.first, rungs.last) == expected


def test_a_run_that_falls_behind_what_others_had_early_is_hopeless_later(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 4, pruning=True), tmp_path, 4, 9)
    for _ in range(4):
        study.next([])
    first, *others = (study.hopeless(place) for place in range(4))
    assert first is not None
    assert not first(1, 0.3)  # nothing is known yet that it could be behind
    assert not first(2, 0.4)
    for other in others:
        assert other is not None
        other(1, 0.5)
    assert not first(3, 0.6)
    assert not first(4, 0.2)  # its best so far counts
    other = study.hopeless(1)
    assert other is not None
    other(2, 0.9)
    assert not first(5, 0.6)  # what others reach later says nothing about the same epochs


def test_a_run_that_stays_behind_is_ended_at_its_next_epoch(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 3, pruning=True), tmp_path, 3, 9)
    for _ in range(3):
        study.next([])
    slow, quick = study.hopeless(0), study.hopeless(1)
    assert slow is not None and quick is not None
    assert not slow(1, 0.1)
    assert not quick(1, 0.8)
    assert slow(2, 0.2)


def test_an_epoch_that_is_reported_again_gets_the_same_answer(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 2, pruning=True), tmp_path, 2, 9)
    study.next([])
    study.next([])
    good, bad = study.hopeless(0), study.hopeless(1)
    assert good is not None and bad is not None
    assert [good(1, 0.9), bad(1, 0.2), bad(1, 0.2), good(1, 0.9)] == [False, True, True, False]


def test_without_pruning_no_run_is_asked(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 1), tmp_path, 1, 9)
    study.next([])
    assert study.hopeless(0) is None


def test_a_reused_run_counts_for_the_pruning_of_others(tmp_path: Path) -> None:
    study = Study(Search(SPACE, 3, pruning=True), tmp_path, 1, 9)
    study.next([])
    study.next([finished(0.9)])
    hopeless = study.hopeless(1)
    assert hopeless is not None and hopeless(1, 0.5)


@pytest.mark.parametrize(
    ("sampler", "space", "trials"), [("tpe", SPACE, 11), ("random", [SPACE[0]], 3)]
)
def test_a_search_whose_file_was_cut_anywhere_continues_as_if_it_had_not_been(
    sampler: str, space: list[Dimension], trials: int, tmp_path: Path
) -> None:
    search = Search(space, trials, sampler)
    score = accuracy if len(space) > 1 else lambda point: 0.5
    whole, _ = run_trials(Study(search, tmp_path, 1, 9), score)
    journal = (tmp_path / JOURNAL).read_bytes()
    ends = [place + 1 for place, byte in enumerate(journal) if byte == ord("\n")]
    cuts = [0, 1, *(end - 20 * (end % 2) for end in ends)]  # between two lines, or within one
    for cut in random.Random(0).sample(cuts, 12):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / JOURNAL).write_bytes(journal[:cut])
        assert run_trials(Study(search, folder, 1, 9), score)[0] == whole, cut
        assert [t.params for t in stored(folder) if "again" not in t.user_attrs][-1]


@pytest.mark.parametrize("content", [b"\0" * 500, b"foreign\n", b"[1]\n2\n", b'{"op_code": 99}\n'])
def test_a_search_whose_file_is_foreign_begins_anew_and_says_so(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    assert len(run_trials(Study(Search(SPACE, 3), tmp_path, 1, 9))[0]) == 3
    assert str(tmp_path / JOURNAL) in caplog.text


GRIDS = [
    Grid(["optimizer=sgd"], [Interval("lr", 0.01, 1.0, log=True)]),
    Grid(
        ["optimizer=adam"],
        [
            Interval("lr", 1e-4, 1e-2, log=True),
            Choice("optimizer.betas", ("[0.9,0.99]", "[0.9,0.999]")),
        ],
    ),
]


def job_of(search: Search, point: Point) -> dict[str, str]:
    return dict(each.split("=", 1) for each in search.overrides(point))


def test_each_trial_of_several_grids_is_of_one_and_within_its_range(tmp_path: Path) -> None:
    search = Search.of(GIVEN, GRIDS)
    points, _ = run_trials(Study(search, tmp_path, 1, 9), lambda p: accuracy(job_of(search, p)))
    jobs = [job_of(search, point) for point in points]
    assert len(jobs) == len({tuple(job.items()) for job in jobs}) == 12
    assert {job["optimizer"] for job in jobs} == {"sgd", "adam"}
    for job in jobs:
        low, high = (0.01, 1.0) if job["optimizer"] == "sgd" else (1e-4, 1e-2)
        assert low <= float(job["lr"]) <= high
        assert ("optimizer.betas" in job) == (job["optimizer"] == "adam")
    assert Study(search, tmp_path, 1, 9).points == points


def test_several_grids_without_intervals_end_with_all_their_runs(tmp_path: Path) -> None:
    grids = [
        Grid(["a=1"], [Choice("b", ("1", "2"))]),
        Grid(["a=2"], [Choice("c", ("1", "2", "3"))]),
    ]
    search = Search.of(GIVEN, grids)
    assert search.n_trials == 5
    points, _ = run_trials(Study(search, tmp_path, 1, 9), lambda point: 0.5)
    assert len({tuple(search.overrides(point)) for point in points}) == len(points) <= 5


def test_a_search_says_what_each_of_several_grids_draws_from() -> None:
    search = Search.of(GIVEN, GRIDS)
    lr = "interval(0.01,1) with sgd; interval(0.0001,0.01) with adam"
    assert search.texts == {"lr": lr, "optimizer.betas": "[0.9,0.99],[0.9,0.999]"}
    assert drawn_with(lr, "adam") == "interval(0.0001,0.01)"
    assert drawn_with(lr, "momentum") == "" and drawn_with("interval(1,2)", "x") == "interval(1,2)"
    assert [job[0] for job in search.probes] == ["optimizer=sgd"] * 2 + ["optimizer=adam"] * 3
    with pytest.raises(SettingsError, match="it takes one grid"):
        Search.of(GIVEN | {"sampler": "grid"}, GRIDS)
