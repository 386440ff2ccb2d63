"""The real command in a real process, in a project of the test's own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def copy_project(root: Path) -> Path:
    """Copies conf/ and experiments/ to `root`, which becomes a project of its own.

    An empty store is there already: MLflow takes more than a second to create one.
    """
    from support.store import copy_empty_store

    for name in ("conf", "experiments"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    copy_empty_store(root / "mlflow.db")
    return root


def run(
    project: Path,
    *arguments: str,
    timeout: float = 400,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    script: str = "experiments/run.py",
) -> subprocess.CompletedProcess[str]:
    """Runs `python SCRIPT ARGUMENTS` in `project`, or in `cwd`, and waits for its end.

    The process has one thread and no MLFLOW_TRACKING_URI, unless `env` gives them.
    """
    command = [sys.executable, str(project / script), *arguments]
    return ended(command, cwd or project, timeout=timeout, env=env)


def ended(
    command: Sequence[str], cwd: Path, timeout: float = 400, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs any command in a folder, with the environment of `run`, and waits for its end."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def follow(line: str, folder: Path) -> str:
    """What a line of docs/ prints, typed in a folder by who has installed optsweep; it succeeds."""
    python = sys.executable
    typed = line.replace("python experiments/run.py", f"{python} -m optsweep")
    typed = re.sub(r"python experiments/(\w+)\.py", rf"{python} -m optsweep \1", typed)
    typed = re.sub(r"^python (?=\w)", f"{python} ", typed)
    done = ended(["bash", "-c", typed], folder)
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for a command under test, with `changes`."""
    own = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return own | {"OMP_NUM_THREADS": "1"} | dict(changes or {})
