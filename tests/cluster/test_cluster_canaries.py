"""Private parts of submitit and Ray that are relied on, as `test_canaries` has those of others."""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.canary import canary

_JOB = """
import os, pickle, signal, sys, time
from pathlib import Path
import submitit
from submitit.core.submission import process_job
from submitit.core.utils import DelayedSubmission, JobPaths

def work():
    assert submitit.JobEnvironment().paths.submitted_pickle == paths.submitted_pickle
    try:
        os.kill(os.getpid(), signal.SIGUSR2)
    except SystemExit:
        return "requeued"

work.checkpoint = lambda: DelayedSubmission(work)
paths = JobPaths(Path(sys.argv[1]), "7")
submission = DelayedSubmission(work)
submission.set_timeout(60, 3)
submission.dump(paths.submitted_pickle)
process_job(sys.argv[1])
assert pickle.loads(paths.result_pickle.read_bytes()) == ("success", "requeued")
paths.submitted_pickle.unlink()
time.sleep = lambda seconds: None
try:
    process_job(sys.argv[1])
except RuntimeError as error:
    sys.exit("could not find submitted jobs" not in str(error))
sys.exit("it ran")
"""


def test_a_job_of_slurms_runs_by_its_submission_alone_and_leaves_by_an_exception(
    tmp_path: Path,
) -> None:
    pytest.importorskip("submitit")
    with canary(
        "optsweep.execution.slurm.executor takes a job back by removing its submission from "
        "submitit's folder, and "
        "optsweep.execution.slurm.job turns the SystemExit by which submitit ends a job that it "
        "has requeued "
        "into an end at once. Without the first a job that was given up may run beside its second "
        "attempt; without the second a run that is requeued is marked FAILED."
    ):
        scontrol = tmp_path / "scontrol"
        scontrol.write_text("#!/bin/sh\n")
        scontrol.chmod(0o755)
        around = {"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-c", _JOB, str(tmp_path)],
            env=os.environ | around | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_ray_learns_a_command_line_without_its_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    with canary(
        "optsweep.execution.ray.executor replaces ray._private.utils.get_entrypoint_name while "
        "it connects, "
        "so that the command line that Ray lists for all its users holds no password. Without it "
        "a password in an address on the command line stands in Ray's dashboard."
    ):
        from ray._private import utils, worker

        from optsweep.execution.ray.executor import _command_redacted

        ask: Any = utils
        assert "_private.utils.get_entrypoint_name()" in inspect.getsource(worker.init)
        typed = ["python", "experiments/run.py", "tracking.uri=http://lab:hunter2@tracker"]
        monkeypatch.setattr("ray._private.utils.psutil.Process.cmdline", lambda process: typed)
        with _command_redacted():
            listed = ask.get_entrypoint_name()
        assert listed == "python experiments/run.py tracking.uri=http://lab:***@tracker"
        assert "hunter2" in ask.get_entrypoint_name()


def test_ray_can_be_asked_not_to_copy_the_folder() -> None:
    pytest.importorskip("ray")
    with canary(
        "optsweep.execution.ray.executor sets RAY_ENABLE_UV_RUN_RUNTIME_ENV=0. Under another "
        "name, Ray copies "
        "the folder that a sweep was started in, with all that lies there, to each node."
    ):
        from ray._private import ray_constants

        assert hasattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV")
