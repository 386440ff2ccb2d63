"""Every command in the README works as it stands there."""

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import rays
import slurms
from conftest import ROOT, environment, run

README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """The lines of the README that start a run: in its fenced and its indented blocks."""
    fenced = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
    indented = re.findall(r"^    (.*)$", README, re.M)
    lines = [line for block in fenced for line in block.splitlines()] + indented
    return [line for line in lines if line.startswith("python experiments/")]


def test_there_are_commands_of_every_kind() -> None:
    text = "\n".join(commands())
    assert all(word in text for word in ("-m ", "preset=", "--help", "dataset=fashion_mnist"))


def marked(command: str) -> object:
    """Most are for `.ci/run`; a plain run tries the first one, and those that train nothing."""
    short = command == commands()[0] or any(flag in command for flag in ("--", "report.py"))
    return pytest.param(command, marks=() if short else pytest.mark.long)


@pytest.fixture
def slurm() -> Iterator[slurms.Slurm]:
    if reason := slurms.missing(accounting=False):
        pytest.skip(reason)
    with slurms.Slurm(accounting=False) as made:
        yield made


@pytest.mark.parametrize("command", [marked(command) for command in sorted(set(commands()))])
def test_command(command: str, project: Path, request: pytest.FixtureRequest) -> None:
    if "fashion" in command and "--" not in command:
        data_dir = request.getfixturevalue("fashion_mnist")
        (project / "data").symlink_to(data_dir, target_is_directory=True)
    around: dict[str, str] = {}
    if "launcher=slurm" in command:
        around = request.getfixturevalue("slurm").environment
    if "launcher=ray" in command and (reason := rays.missing()):
        pytest.skip(reason)
    _, script, *arguments = shlex.split(command)
    if "report.py" in script:
        assert run(project, "-m", "lr=1e-2,1e-1", "epochs=1", "figures=none").returncode == 0
    done = run(project, *arguments, timeout=800, script=script, env=around)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_two_commands_set_up_all_they_need() -> None:
    section = README.split("## Two commands")[1].split("\n## ")[0]
    first, second = re.findall(r"^    (.*)$", section, re.M)
    for command in (first, second):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert first.endswith("run.py -m optimizer=sgd,adam lr=1e-3,1e-1")
    assert second.endswith(".venv/bin/python -m pytest")
    # .ci/run carries both out as they stand here, in a fresh clone.
    assert "Two commands" in (ROOT / ".ci" / "run").read_text()


def test_mlflow_ui_in_the_project_root_shows_the_runs(project: Path) -> None:
    assert run(project, "-m", "lr=1e-2,1e-1", "epochs=1", "figures=none").returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            found = ask(f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/runs/search")
        finally:
            server.terminate()
    assert "sgd lr=0.01 seed=0" in found
    assert "sgd lr=0.1 seed=0" in found


def ask(url: str) -> str:
    """The answer of a server that may still be starting."""
    body = b'{"experiment_ids": ["1"], "max_results": 10}'
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for _ in range(120):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_paths_that_it_names_exist() -> None:
    for path in re.findall(r"`((?:conf|src|experiments|tests)/[\w/.]*)`", README):
        assert (ROOT / path).exists() or path == "conf/optimizer/nadam.yaml", path


def test_shell_completion_is_printed_as_the_readme_says(project: Path) -> None:
    done = run(project, "-sc", "install=bash")
    assert done.returncode == 0
    assert "complete" in done.stdout
