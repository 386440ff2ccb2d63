"""A search from the command line: what is searched, what is refused, and what it leaves behind."""

import shlex
import signal
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from optsweep.cli.searching import read_space
from optsweep.errors import SettingsError
from optsweep.search.space import Choice, Dimension
from support.command import copy_project, run
from support.interrupted import Points, Started, no_process_is_left, points
from support.store import by_name, history, runs

pytest.importorskip("optuna")

SPACE = ("optimizer=sgd,adam", "lr=interval(1e-5,1)")
SEARCH = ("-m", "hydra/sweeper=optuna", *SPACE, "figures=none", "model.hidden=[16]")


def read(*typed: str) -> tuple[list[str], list[Dimension]]:
    return read_space(OverridesParser.create().parse_overrides(list(typed)))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lr=interval(1e-5,1)", "interval(1e-05,1)"),
        ("lr=tag(log, interval(1,2))", "tag(log,interval(1,2))"),
        ("lr=tag(linear, interval(1e-5,1))", "tag(linear,interval(1e-05,1))"),
        ("batch_size=int(interval(16,256))", "int(interval(16,256))"),
        ("optimizer=choice(sgd,adam)", "sgd,adam"),
        ("optimizer=sgd,adam,sgd", "sgd,adam"),
        ("model.hidden=[256],[64,64]", "[256],[64,64]"),
        ("epochs=range(1,6,2)", "1,3,5"),
    ],
)
def test_what_is_swept_is_searched(typed: str, expected: str) -> None:
    fixed, (dimension,) = read("val_fraction=0.2", typed, "+optimizer.nesterov=true")
    assert fixed == ["val_fraction=0.2", "+optimizer.nesterov=true"]
    assert (dimension.key, str(dimension)) == (typed.partition("=")[0], expected)


def test_a_range_of_whole_numbers_has_an_order() -> None:
    _, space = read("epochs=range(1,6,2)", "lr=range(0.1,0.3,0.1)", "batch_size=16,32")
    steps = [each.step for each in space if isinstance(each, Choice)]
    assert steps == [2, None, None]


def test_a_seed_is_not_searched() -> None:
    with pytest.raises(SettingsError, match=r"seed=0,1: .*luckiest.*seed=0,1,2,3,4"):
        read("lr=interval(0,1)", "seed=0,1")


def test_what_holds_a_secret_is_not_searched() -> None:
    with pytest.raises(
        SettingsError, match=r"dataset\.mirror=.*password.*keeps its choices"
    ) as error:
        read('dataset.mirror="http://me:secret@a","http://b"')
    assert "secret" not in str(error.value)


def refusal(project: Path, *arguments: str) -> str:
    done = run(project, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return line


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("-m 'lr=interval(1e-5,1)'", ("lr=1e-3,1e-2,1e-1", "add hydra/sweeper=optuna")),
        ("-m hydra/sweeper=optuna 'lr=interval(-1,1)'", ("lr=-1", "above 0")),
        ("-m hydra/sweeper=optuna 'lr=interval(0.1,1)' optimizer=sgd,adm", ("adm", "adam")),
        ("-m hydra/sweeper=optuna 'lr=interval(0.1,1)' extend=2", ("extend=2", "leave extend out")),
        (
            "-m hydra/sweeper=optuna 'lr=interval(0.1,1)' hydra.sweeper.trials=2",
            ("hydra.sweeper.trials", "n_trials"),
        ),
    ],
)
def test_what_is_typed_wrongly_is_one_line(
    project: Path, command: str, words: tuple[str, ...]
) -> None:
    line = refusal(project, *shlex.split(command))
    assert [word for word in words if word not in line] == [], line


def test_without_optuna_the_line_says_what_to_install(project: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap" / "optuna"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise ImportError('not here')\n")
    env = {"PYTHONPATH": str(trap.parent)}
    done = run(project, *SEARCH, env=env)
    assert done.returncode == 2
    assert "pip install 'optsweep[optuna]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.long
def test_a_search_with_pruning_is_shown_and_reused(project: Path) -> None:
    asked = (*SEARCH, "epochs=9", "hydra.sweeper.pruning=true", "hydra.sweeper.n_trials=9")
    done = run(project, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    found = runs(project)
    assert {one.info.status for one in found} == {"FINISHED"}
    pruned = [one for one in found if one.data.tags.get("optsweep.pruned") == "true"]
    assert len(found) == 9 and 0 < len(pruned) < 9
    for one in found:
        lengths = len(history(project, one.info.run_id, "val/accuracy"))
        assert (lengths < 9) if one in pruned else (lengths == 9)
    (parent,) = runs(project, "sweep")
    asked_for = {key: parent.data.params[f"search.{key}"] for key in ("lr", "optimizer")}
    assert asked_for == {"lr": "interval(1e-05,1)", "optimizer": "sgd,adam"}
    (table,) = project.glob("outputs/*/*/table.csv")
    rows = table.read_text().splitlines()[1:]
    noted = ["pruned after " in row for row in rows]
    assert noted == sorted(noted) and sum(noted) == len(pruned)  # ranked after the others

    again = run(project, *asked, "resume=true")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(runs(project)) == 9 and len(runs(project, "sweep")) == 1
    assert list(project.glob("outputs/*/*")) == [table.parent]
    # A grid of its own takes no pruned run over.
    params = pruned[0].data.params
    grid = ("-m", f"optimizer={params['optimizer']}", f"lr={params['lr']},0.5", "epochs=9")
    done = run(project, *grid, "figures=none", "model.hidden=[16]", "resume=true")
    assert done.returncode == 0, done.stdout + done.stderr
    name, first = pruned[0].info.run_name, pruned[0].info.run_id
    ids = [each.info.run_id for each in runs(project) if each.info.run_name == name]
    (whole,) = [each for each in ids if each != first]
    assert len(history(project, whole, "val/accuracy")) == 9


def scores(project: Path) -> Points:
    """Every run's losses and accuracies by epoch."""
    splits = ("train/", "val/", "test/")
    return {key: each for key, each in points(project).items() if key[1].startswith(splits)}


@pytest.mark.long
def test_a_killed_search_continues_as_if_it_had_not_been(project: Path, tmp_path: Path) -> None:
    more = ("epochs=30", "threads=1", "hydra.sweeper.n_trials=10", "hydra.launcher.workers=2")
    asked = (*SEARCH, *more)
    other = copy_project(tmp_path / "other")
    assert run(other, *asked).returncode == 0
    started = Started(project, *asked)
    started.wait_for_epochs()
    time.sleep(0.5)
    started.process.send_signal(signal.SIGKILL)
    started.end()
    assert no_process_is_left(started)
    resumed = run(project, *asked, "resume=true")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert scores(project) == scores(other)
    assert set(by_name(project)) == set(by_name(other))
    assert {one.info.status for one in runs(project)} == {"FINISHED"}
    assert len(runs(project)) == 10
