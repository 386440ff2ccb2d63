"""What a sweep has to give on every engine: the same as on this machine, bit for bit."""

import csv
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import mlflow.entities

from support.command import copy_project, run, start
from support.interrupted import Points, points
from support.models import GATED
from support.store import by_name

_FATED = '''
import os, pathlib, signal, uuid
import torch

class Fated(torch.nn.Module):
    """Softmax regression that is killed once, or raises, in the second epoch, as `fate` says."""

    def __init__(self, input_shape, classes, marks, fate="none"):
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)
        self.marks, self.fate, self.batches = pathlib.Path(marks), fate, 0
        self.attempt = uuid.uuid4().hex  # a process may carry several runs out

    def forward(self, images):
        if self.training and len(images) > 2:  # not when it is tried
            self.batches += 1
            with open(self.marks / f"{self.fate}-{self.attempt}", "a") as file:
                file.write(".")
            if self.batches == 25 and self.fate == "raise":
                raise RuntimeError("it broke in training")
            if self.batches == 25 and self.fate == "kill" and not self.killed():
                os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(images.flatten(1))

    def killed(self):
        try:
            (self.marks / "killed").mkdir()
        except FileExistsError:
            return True
        return False
'''
# Of its two runs that may be killed, one is.
SWEEP = ("-m", "model=fated", "model.fate=none,kill,raise", "optimizer=sgd,adam", "epochs=3")
HOW = ("threads=1", "hydra.launcher.stack=1", "hydra.launcher.retries=1")
_EPOCH = 21  # batches


def project_with(root: Path) -> Path:
    """A project with the models `fated` and `gated`."""
    project = copy_project(root / "project")
    for name, code, marks in (("fated", _FATED, "marks"), ("gated", GATED, "gates")):
        (project / f"{name}.py").write_text(code)
        (project / f"conf/model/{name}.yaml").write_text(
            f"_target_: {name}.{name.title()}\n{marks}: {project}/{marks}\n"
        )
        (project / marks).mkdir()
    with (project / "conf/model/fated.yaml").open("a") as file:
        file.write("fate: none\n")
    return project


def swept(project: Path, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Carries `SWEEP` out; returns the exit code and what was printed."""
    around = {"PYTHONPATH": str(project), **(env or {})}
    done = run(project, *SWEEP, *HOW, "figures=none", *arguments, env=around)
    return done.returncode, done.stdout + done.stderr


def searched(
    project: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """Carries a search of four trials out, two at a time; returns its table."""
    search = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "epochs=2", "threads=1")
    space = ("optimizer=sgd,adam", "lr=interval(1e-4,1)", "figures=none")
    done = run(project, *search, *space, *arguments, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return table(project)


def table(project: Path) -> list[dict[str, str]]:
    """The sweep's table without what differs from one sweep to the next."""
    (file,) = project.glob("outputs/*/*/table.csv")
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    return [
        {key: row[key] for key in row if key not in ("seconds", "run_id", "id")} for row in rows
    ]


def assert_as_on_this_machine(project: Path, local: Path) -> None:
    """Table, MLflow and report are as on this machine; one run continued from its checkpoint."""
    assert points(project) == points(local)
    assert table(project) == table(local)
    found, expected = by_name(project), by_name(local)
    assert {name: _logged(one) for name, one in found.items()} == {
        name: _logged(one) for name, one in expected.items()
    }
    (report,) = project.glob("outputs/*/*/report.html")
    assert "it broke in training" in report.read_text()
    sizes = sorted(len(mark.read_text()) for mark in (project / "marks").glob("kill-*"))
    # One was killed in its 25th batch and continued with the second epoch; the other was not.
    assert sizes == [25, 2 * _EPOCH, 3 * _EPOCH]


def _logged(one: "mlflow.entities.Run") -> tuple[object, ...]:
    tags = {key: one.data.tags.get(f"optsweep.{key}") for key in ("kind", "error", "diverged")}
    params = {key: value for key, value in one.data.params.items() if key != "model.marks"}
    return one.info.status, tags, params


class Gate:
    """A sweep of runs that wait before their second and fourth epochs."""

    def __init__(self, project: Path, *arguments: str, env: Mapping[str, str] | None = None):
        self.project = project
        command = [sys.executable, str(project / "experiments/run.py"), "-m", "model=gated"]
        self.process = start(
            [*command, "epochs=5", "figures=none", *HOW, *arguments],
            project,
            {"PYTHONPATH": str(project), **(env or {})},
        )

    def wait_for(self, runs: int, kept: str = "*/*/*/checkpoint.bin") -> None:
        """Returns once so many runs, or stacks, wait at the first gate, by their checkpoints."""
        for _ in range(1800):
            if len(list((self.project / "outputs").glob(kept))) == runs:
                return
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.1)
        raise TimeoutError

    def open(self) -> None:
        for gate in ("1", "3"):
            (self.project / "gates" / gate).touch()

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=200)
        return self.process.returncode, output


def steps(project: Path) -> dict[str, list[int]]:
    """The epochs that MLflow holds of each run, doubled ones too."""
    found: Points = points(project)
    return {
        name: [step for step, _ in found[name, key]] for name, key in found if key == "val/loss"
    }
