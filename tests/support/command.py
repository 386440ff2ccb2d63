"""The real command in a real process, in a project of the test's own."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.environment import environment
from support.forked import Command

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

    The process has one thread, and not the names in `NOT_INHERITED`, unless `env` gives them.
    """
    command = [sys.executable, str(project / script), *arguments]
    return ended(command, cwd or project, timeout=timeout, env=env)


def ended(
    command: Sequence[str], cwd: Path, timeout: float = 400, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs any command in a folder, with the environment of `run`, and waits for its end."""
    with start(command, cwd, env, stderr=subprocess.PIPE) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def start(
    command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None, **options: Any
) -> Command:
    """A command under way, whose output can be read from `stdout`, with its errors if not asked."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
    return Command(command, cwd=cwd, env=environment(env), text=True, **pipes)


def typed(
    line: str, folder: Path, timeout: float = 400, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Does what a line does that is typed in a folder; bash reads it.

    A line that only starts this Python starts it as `ended` does.
    """
    shell = ["bash", "-c", line]
    if line.startswith(("python ", f"{sys.executable} ")) and not re.search("[|&;<>]", line):
        words = ended(["bash", "-c", f"printf '%s\\0' {line}"], folder, env=env).stdout
        shell = [sys.executable, *words.split("\0")[1:-1]]
    return ended(shell, folder, timeout, env)


def follow(line: str, folder: Path) -> str:
    """What a line of docs/ prints, typed in a folder by who has installed optsweep; it succeeds."""
    python = sys.executable
    installed = line.replace("python experiments/run.py", f"{python} -m optsweep")
    installed = re.sub(r"python experiments/(\w+)\.py", rf"{python} -m optsweep \1", installed)
    installed = re.sub(r"^python (?=\w)", f"{python} ", installed)
    done = typed(installed, folder)
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout
