"""A union of grids by the real command: planned, run, extended, judged, resumed and read back."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from support.command import run
from support.refusals import runs_in
from support.store import QUICK, runs

STRINGS = (
    "optimizer=sgd lr=0.1,1",
    "optimizer=adam lr=1e-3,1e-2 optimizer.betas=[0.9,0.99],[0.9,0.999]",
    "optimizer=sgd,momentum lr=1e-1",
)
UNION = f"hydra.sweeper.grids={json.dumps(STRINGS)}"
LINE = ("-m", UNION, *QUICK, "figures=none")
EACH = {"sgd": 2, "adam": 4, "momentum": 1}  # one of sgd's is typed twice


def planned(output: str) -> dict[str, int]:
    """How many runs a plan gives each candidate."""
    found = re.findall(r"^ +(\w+): (\d+) runs?\b", output, re.M)
    return {name: int(count) for name, count in found}


def judgement(path: Path) -> str:
    """A verdict as text, without the ids of runs, whose order is that of their start."""
    return re.sub(r'"run_ids": \[[^]]*\]', "", path.read_text())


def trained(project: Path) -> Counter[str]:
    return Counter(each.data.params["optimizer"] for each in runs(project))


@pytest.mark.long
def test_a_union_runs_as_planned_and_goes_through_all_that_a_grid_does(project: Path) -> None:
    before = {path.name for path in project.iterdir()}
    plan = run(project, *LINE, "plan=true")
    assert (plan.returncode, plan.stderr) == (0, "")
    assert planned(plan.stdout) == EACH
    assert "plan    7 of 8 runs differ; each runs once" in plan.stdout
    made = {path.name for path in project.iterdir()} - before
    assert made <= {"data", "mlflow.db-shm", "mlflow.db-wal"}
    assert runs_in(project / "mlflow.db") == 0

    assert run(project, *LINE).returncode == 0
    assert trained(project) == EACH
    plan = run(project, *LINE, "plan=true", "resume=true")
    assert "plan    7 runs: 7 reused, 0 to run" in plan.stdout

    more = run(project, *LINE, "extend=1", "confirm=2", "resume=true")
    assert more.returncode == 0, more.stdout + more.stderr
    assert re.search(r"^momentum +0\.1 +- ", more.stdout, re.M)  # it has no betas
    assert "extend: " in more.stdout and "confirm: " in more.stdout
    grown = trained(project)
    assert all(grown[name] > count for name, count in EACH.items())

    (verdict,) = (project / "outputs").glob("*/*/verdict.json")
    judged = judgement(verdict)
    again = run(project, "sweep=latest", f"out={project / 'again'}", script="experiments/report.py")
    assert again.returncode == 0, again.stdout + again.stderr
    assert judgement(project / "again" / "verdict.json") == judged


@pytest.mark.long
def test_auto_sweeps_each_range_and_a_file_chooses(project: Path) -> None:
    (project / "conf/sweep/mine.yaml").write_text(
        "# @package _global_\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    grids:\n"
        "      - optimizer=sgd,adam lr=auto\n      - optimizer=momentum lr=0.1\n"
        "rates: 2\nepochs: 1\n"
    )
    done = run(project, "sweep=mine", "model.hidden=[16]", "figures=none")
    assert done.returncode == 0, done.stdout + done.stderr
    rates = {(each.data.params["optimizer"], each.data.params["lr"]) for each in runs(project)}
    sgd_and_adam = {("sgd", "0.01"), ("sgd", "1.0"), ("adam", "0.0001"), ("adam", "0.01")}
    assert rates == sgd_and_adam | {("momentum", "0.1")}
    alone = run(project, "optimizer=adam", "lr=auto", "epochs=1", "figures=none", "plan=true")
    assert "lr=auto is 0.001 here" in alone.stdout and "1 run: adam lr=0.001" in alone.stdout
    assert len(runs(project)) == 5


@pytest.mark.long
def test_a_search_of_a_union_draws_from_each_optimizers_own_range(project: Path) -> None:
    pytest.importorskip("optuna")
    union = ("optimizer=sgd,adam lr=auto", "optimizer=momentum lr=interval(0.05,0.1)")
    line = ("-m", "hydra/sweeper=optuna", f"hydra.sweeper.grids={json.dumps(union)}", *QUICK)
    done = run(project, *line, "figures=none", "hydra.sweeper.n_trials=6")
    assert done.returncode == 0, done.stdout + done.stderr
    ranges = {"sgd": (0.01, 1), "adam": (1e-4, 1e-2), "momentum": (0.05, 0.1)}
    for each in runs(project):
        low, high = ranges[each.data.params["optimizer"]]
        assert low <= float(each.data.params["lr"]) <= high
    again = run(project, *line, "figures=none", "hydra.sweeper.n_trials=8", "resume=true")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(runs(project)) == 8
