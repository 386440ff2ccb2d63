"""Nothing that one run does can hurt another: real crashes in real processes."""

import csv
import re
from pathlib import Path

import pytest
from mlflow.entities import Run

from support.command import copy_project, run
from support.store import QUICK, artifacts, runs

FRAGILE = '''
import os, signal, sys, time
import torch

class Fragile(torch.nn.Module):
    """Softmax regression that does what `fate` says in the first batch of the second epoch."""

    def __init__(self, input_shape, classes, fate="none", once=None):
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)
        self.fate, self.batches, self.once = fate, 0, once

    def forward(self, images):
        if self.training and len(images) > 2:  # not when it is tried
            self.batches += 1
            if self.batches == 25 and self.is_the_one():
                self.meet()
        return self.linear(images.flatten(1))

    def is_the_one(self):
        try:
            return not self.once or bool(open(self.once, "x"))
        except FileExistsError:
            return False

    def meet(self):
        print(f"last words before {self.fate}")
        if self.fate == "raise":
            raise RuntimeError("it broke in training")
        if self.fate == "exit":
            sys.exit(3)
        if self.fate == "hard_exit":
            os._exit(7)
        if self.fate == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fate == "hang":
            time.sleep(3600)
        if self.fate == "memory":
            torch.empty(10**15)
'''


def with_model(project: Path) -> Path:
    (project / "fragile.py").write_text(FRAGILE)
    (project / "conf/model/fragile.yaml").write_text(
        "_target_: fragile.Fragile\nfate: none\nonce: null\n"
    )
    return project


@pytest.fixture
def fragile(project: Path) -> Path:
    """A project with a model of its own, which fails on request."""
    return with_model(project)


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project in which each run met its fate, and what was printed."""
    project = with_model(copy_project(tmp_path_factory.mktemp("met") / "project"))
    fates = "model.fate=raise,exit,kill,hang,memory,none,a,b,c"
    code, output = sweep(project, fates, "epochs=3", "hydra.launcher.timeout=15")
    assert code == 1
    return project, output


def sweep(project: Path, *arguments: str) -> tuple[int, str]:
    done = run(
        project,
        *("-m", "model=fragile", "figures=none", *arguments),
        env={"PYTHONPATH": str(project)},
    )
    return done.returncode, done.stdout + done.stderr


def table(project: Path) -> list[dict[str, str]]:
    (folder,) = (project / "outputs").glob("*/*")
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def by_fate(project: Path) -> dict[str, Run]:
    return {found.data.params["model.fate"]: found for found in runs(project)}


@pytest.mark.long
def test_each_failure_has_its_own_reason_and_the_good_runs_finish(met: tuple[Path, str]) -> None:
    fragile, output = met
    assert "5 of 9 runs did not finish" in output
    found = by_fate(fragile)
    assert {fate: one.info.status for fate, one in found.items()} == {
        **dict.fromkeys(("raise", "exit", "kill", "hang", "memory"), "FAILED"),
        **dict.fromkeys(("none", "a", "b", "c"), "FINISHED"),
    }
    reasons = {
        "raise": "RuntimeError: it broke in training",
        "exit": "SystemExit: 3",
        "kill": "its process was killed by SIGKILL",
        "hang": "took longer than hydra.launcher.timeout=15 s",
    }
    rows = {row["model.fate"]: row for row in table(fragile)}
    (parent,) = runs(fragile, "sweep")
    report = fragile / "mlartifacts" / parent.info.run_id / "artifacts/report.html"
    for fate, reason in reasons.items():
        assert found[fate].data.tags["optsweep.error"] == reason
        assert reason in rows[fate]["notes"]
        assert reason in report.read_text()
        assert "error.txt" in artifacts(fragile, found[fate].info.run_id)
        assert f"fate={fate} seed=0 failed: {reason}" in output
    words = fragile / "mlartifacts" / found["raise"].info.run_id / "artifacts/error.txt"
    assert "it broke in training" in words.read_text()
    assert parent.info.status == "FINISHED"


@pytest.mark.long
def test_what_a_failed_run_printed_last_is_kept(met: tuple[Path, str]) -> None:
    fragile, _ = met
    (parent,) = runs(fragile, "sweep")
    report = fragile / "mlartifacts" / parent.info.run_id / "artifacts/report.html"
    said = re.findall("last words before ([a-z_]+)", report.read_text())
    assert sorted(set(said)) == ["exit", "hang", "kill", "memory", "raise"]


@pytest.mark.long
def test_running_out_of_memory_is_one_runs_failure(met: tuple[Path, str]) -> None:
    fragile, _ = met
    found = by_fate(fragile)
    assert found["memory"].info.status == "FAILED"
    assert found["none"].info.status == "FINISHED"


@pytest.mark.long
@pytest.mark.parametrize("fate", ["kill", "hard_exit"])
def test_a_crash_is_tried_again_from_its_checkpoint_in_its_own_run(
    fragile: Path, fate: str
) -> None:
    once = f"model.once={fragile}/once"
    retry = "hydra.launcher.retries=1"
    code, output = sweep(fragile, f"model.fate={fate}", "seed=0,1", once, "epochs=3", retry)
    assert code == 0, output
    found = runs(fragile)
    assert [one.info.status for one in found] == ["FINISHED"] * 2
    assert all(one.data.metrics["train/loss"] > 0 for one in found)


@pytest.mark.long
def test_what_raised_is_not_tried_again(fragile: Path) -> None:
    once = f"model.once={fragile}/once"
    retry = "hydra.launcher.retries=3"
    code, _ = sweep(fragile, "model.fate=raise", "seed=0,1", once, "epochs=3", retry)
    assert code == 1
    assert sorted(one.info.status for one in runs(fragile)) == ["FAILED", "FINISHED"]


@pytest.mark.long
def test_fail_fast_stops_at_the_first_failure(fragile: Path) -> None:
    fates = "model.fate=raise,hang,a,b,c,d"
    code, output = sweep(fragile, fates, "epochs=3", "hydra.launcher.fail_fast=true")
    assert code == 1, output
    statuses = [one.info.status for one in runs(fragile)]
    assert statuses.count("FAILED") == 1
    assert len(statuses) < 6
    assert "RUNNING" not in statuses


@pytest.mark.long
def test_in_the_launching_process_there_is_no_isolation_but_the_same_result(
    fragile: Path,
) -> None:
    code, _ = sweep(fragile, "model.fate=raise,none", "epochs=3", "hydra.launcher.workers=0")
    assert code == 1
    assert sorted(one.info.status for one in runs(fragile)) == ["FAILED", "FINISHED"]


@pytest.mark.long
def test_one_worker_isolates_too(fragile: Path) -> None:
    code, _ = sweep(fragile, "model.fate=kill,none", "epochs=3", "hydra.launcher.workers=1")
    assert code == 1
    assert sorted(one.info.status for one in runs(fragile)) == ["FAILED", "FINISHED"]


@pytest.mark.long
def test_sixteen_workers_lose_no_point(project: Path) -> None:
    done = run(
        project,
        *("-m", "seed=range(32)", "optimizer=sgd,adam", *QUICK, "epochs=5", "log_every=1"),
        *("figures=none", "hydra.launcher.workers=16"),
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    import sqlite3

    with sqlite3.connect(project / "mlflow.db") as database:
        ask = """SELECT key, COUNT(*) FROM metrics
            WHERE key NOT LIKE 'best/%' AND key NOT LIKE 'verdict/%' GROUP BY key"""
        counts = dict(database.execute(ask).fetchall())
    # 1294 samples in batches of 64 are 21 batches an epoch.
    assert counts.pop("batch/loss") == 64 * 5 * 21
    assert set(counts.values()) == {64 * 5}
    assert len(counts) == 8
