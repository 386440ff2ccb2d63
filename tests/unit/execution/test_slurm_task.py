"""What a Slurm job does before its task, without Slurm."""

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optsweep.config.launchers import SlurmLaunch
from optsweep.execution.slurm import job


def test_a_job_finds_the_modules_that_its_launcher_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = sys.path[:]
    monkeypatch.setattr(sys, "path", [*here, str(tmp_path)])
    sent = pickle.dumps(job.SlurmTask(SlurmLaunch()))
    there: list[str] = here[1:]
    monkeypatch.setattr(sys, "path", there)
    paths = SimpleNamespace(folder=tmp_path, submitted_pickle=tmp_path, result_pickle=tmp_path)
    for name in ("log_to_output", "_leave_when_requeued", "_end_when_unwanted"):
        monkeypatch.setattr(job, name, lambda *args: None)
    monkeypatch.setattr("submitit.JobEnvironment", lambda: SimpleNamespace(paths=paths))
    given: Any = "task"
    monkeypatch.setattr(job, "run_task", lambda task, timeout: [task, sys.path[:]])
    assert pickle.loads(sent)(given) == [given, [*here[1:], here[0], str(tmp_path)]]
