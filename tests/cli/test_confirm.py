"""Sweeps that judge what they chose at fresh seeds, also where they are killed meanwhile."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.command import copy_project, run
from support.interrupted import Started
from support.store import artifacts, client, runs

SWEEP = ("-m", "optimizer=sgd,adam", "lr=1e-3,1e-2", "seed=0,1", "figures=none")
SIZE = ("epochs=2", "model.hidden=[16]", "threads=1")


class Swept(NamedTuple):
    """A finished sweep: its project, what it printed, and the judgement of its workload."""

    project: Path
    printed: str
    judged: Mapping[str, Any]


def passed(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    done = run(project, *SWEEP, *SIZE, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done


def verdict(project: Path) -> Mapping[str, Any]:
    """The only sweep's verdict, without what differs between two runs of the same sweep."""
    (path,) = project.glob("outputs/2*/*/verdict.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def workload(project: Path) -> Mapping[str, Any]:
    (found,) = verdict(project)["workloads"]
    assert isinstance(found, dict)
    return found


def seeds_of(project: Path) -> list[tuple[str, float, int]]:
    found = [run.data.params for run in runs(project)]
    return sorted((own["optimizer"], float(own["lr"]), int(own["seed"])) for own in found)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep without fresh seeds."""
    project = copy_project(tmp_path_factory.mktemp("chosen") / "project")
    return Swept(project, passed(project).stdout, workload(project))


@pytest.fixture(scope="module")
def confirmed(chosen: Swept) -> Swept:
    """The same sweep, resumed with three fresh seeds."""
    done = passed(chosen.project, "confirm=3", "resume=true")
    return Swept(chosen.project, done.stdout, workload(chosen.project))


@pytest.mark.long
def test_without_fresh_seeds_nobody_beats_anybody(chosen: Swept) -> None:
    assert {each["outcome"] for each in chosen.judged["comparisons"]} <= {"leads", "undecided"}
    assert "confirm=5" in chosen.printed and "resume=true" in chosen.printed


@pytest.mark.long
def test_what_was_chosen_is_judged_at_fresh_seeds(confirmed: Swept) -> None:
    project = confirmed.project
    tried = seeds_of(project)
    assert len(tried) == 8 + 6 and len(set(tried)) == 14
    fresh = [each for each in tried if each[2] > 1]
    rates = {name: {rate for own, rate, _ in fresh if own == name} for name in ("sgd", "adam")}
    assert [seed for _, _, seed in fresh] == 2 * [2, 3, 4]
    assert all(len(own) == 1 for own in rates.values())
    (compared,) = confirmed.judged["comparisons"]
    assert compared["seeds"] == 3 and compared["reason"] != "not confirmed"
    assert compared["samples"] == 359  # the spread over test samples counts too
    (sweep,) = runs(project, "sweep")
    assert "correct.safetensors" in artifacts(project, sweep.info.run_id)


@pytest.mark.long
def test_a_sweep_is_confirmed_once(confirmed: Swept) -> None:
    project = confirmed.project
    again = passed(project, "confirm=3", "resume=true")
    assert len(seeds_of(project)) == 14 and "at 3 fresh seeds" in again.stdout
    assert workload(project) == confirmed.judged
    passed(project, "resume=true")  # as it was begun
    assert workload(project) == confirmed.judged
    done = run(project, *SWEEP, *SIZE, "confirm=2", "resume=true")
    assert done.returncode == 2 and "begun with confirm=3" in done.stderr


@pytest.mark.long
def test_looks_end_where_all_is_decided(project: Path) -> None:
    done = passed(project, "confirm=auto", "max_seeds=5")
    fresh = [seed for _, _, seed in seeds_of(project) if seed > 1]
    assert len(fresh) in (6, 10), done.stdout
    (compared,) = workload(project)["comparisons"]
    assert compared["reason"] != "continues"
    assert verdict(project)["looks"] == [3, 5]


@pytest.mark.long
def test_a_report_from_the_store_judges_as_the_sweep_did(confirmed: Swept) -> None:
    project = confirmed.project
    (sweep,) = runs(project, "sweep")
    done = run(project, f"sweep={sweep.info.run_id}", script="experiments/report.py")
    assert done.returncode == 0, done.stderr
    path = project / "outputs" / "reports" / sweep.info.run_id / "verdict.json"
    (found,) = json.loads(path.read_text())["workloads"]
    assert found["comparisons"] == confirmed.judged["comparisons"]
    assert client(project).get_run(sweep.info.run_id).data.tags["optsweep.looks"] == "[]"


@pytest.mark.long
def test_a_sweep_that_is_killed_while_it_confirms_ends_as_one_that_was_not(
    project: Path, tmp_path: Path
) -> None:
    whole = copy_project(tmp_path / "whole")
    size = (*SIZE[1:], "epochs=40", "confirm=3", "hydra.launcher.stack=1")
    assert run(whole, *SWEEP, *size).returncode == 0
    started = Started(project, *SWEEP, *size)
    started.wait_for(lambda project: any(project.glob("outputs/*/*/8/history.jsonl")))
    started.die()
    assert run(project, *SWEEP, *size, "resume=true").returncode == 0
    assert seeds_of(project) == seeds_of(whole)
    assert workload(project)["comparisons"] == workload(whole)["comparisons"]
