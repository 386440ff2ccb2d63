"""Every command in the README and in docs/ works as it stands there, and every link leads on."""

import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ray as rays
from support import slurm as slurms
from support.command import ROOT, copy_project, run, start, typed
from support.foreign import documented
from support.pages import PAGES, anchors, commands, files, prose

README = ROOT / "README.md"
RUNNABLE = ("python experiments/",)
# Commands that are not run here as they stand: by how they begin, what sees to them.
ELSEWHERE = {
    "python3 -m venv": ".ci/run, in a fresh clone",
    "pip install -e": "test_extras_that_are_installed_exist",
    "pip install .": "test_installed.py",
    "optsweep ": "test_installed.py",
    "source .venv": ".ci/run",
    "pre-commit install": ".pre-commit-config.yaml",
    "make ": "test_make_has_the_targets_that_are_named",
    "eval ": "test_shell_completion_is_printed",
    "mlflow ui": "test_mlflow_ui_in_the_project_root_shows_the_runs",
    "python rates.py": "test_python.py",
    "export MLFLOW_": "test_postgres.py",
    "mlflow server": "test_postgres.py",
    "curl ": "test_postgres.py",
    "python use_model.py": "test_predict.py",
    "python experiments/benchmark.py overhead": "test_benchmark.py",
    "python experiments/benchmark.py faults": "test_benchmark.py",
}
# What is added to a command that begins so: test_presets.py trains as long as the tutorial does.
SHORTENED = {"python experiments/run.py -m preset=fashion_mlp ": " epochs=1"}
# Pages that are followed as a whole, from an empty folder, by test_own_code.py and test_predict.py.
FOLLOWED = ("own-data-and-models", "use-the-model")
# A command that trains nothing is tried by a plain run too, the others by `.ci/run`.
READS_ONLY = ("--help", "--cfg", "--info", "report.py", "sync.py", "verdict.py")


def every_command() -> dict[str, Path]:
    """Each command that is run here, with the first page that it stands on."""
    found = {command: page for page in reversed(PAGES) for command in commands(page)}
    run_here = [
        command
        for command in sorted(found)
        if command.startswith(RUNNABLE)
        and not command.startswith(tuple(ELSEWHERE))
        and found[command].stem not in FOLLOWED
    ]
    return {command: found[command] for command in run_here}


def params() -> list[object]:
    """The commands as parameters; a plain run tries those that are quick."""
    return [
        pytest.param(
            command,
            page,
            id=f"{page.stem}: {command}",
            marks=() if any(word in command for word in READS_ONLY) else pytest.mark.long,
        )
        for command, page in every_command().items()
    ]


@pytest.fixture
def slurm() -> Iterator[slurms.Slurm]:
    if reason := slurms.missing(accounting=False):
        pytest.skip(reason)
    with slurms.Slurm(accounting=False) as made:
        yield made


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one finished sweep, for the commands that only read."""
    made = copy_project(tmp_path_factory.mktemp("swept") / "project")
    assert run(made, "-m", "lr=1e-2,1e-1", "epochs=1", "figures=none").returncode == 0
    return made


@pytest.fixture(scope="session")
def begun() -> dict[str, Path]:
    """Commands that were tried, each with its project."""
    return {}


@pytest.mark.long
@pytest.mark.parametrize(("command", "page"), params())
def test_command(
    command: str, page: Path, begun: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    kind = "swept" if "report.py" in command else "project"
    project = begun.get(command.removesuffix(" resume=true")) or request.getfixturevalue(kind)
    begun[command] = project
    for name, text in files(page):
        (project / name).write_text(text)
    around = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    if "fashion" in command and not any(word in command for word in READS_ONLY):
        data = request.getfixturevalue("fashion_mnist")
        (project / "data").symlink_to(data, target_is_directory=True)
    if "store=" in command:
        documented(project)
    if "launcher=slurm" in command:
        around |= request.getfixturevalue("slurm").environment
    if "launcher=ray" in command and (reason := rays.missing()):
        pytest.skip(reason)
    shorter = [more for start, more in SHORTENED.items() if command.startswith(start)]
    done = typed(command + "".join(shorter), project, timeout=800, env=around)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_there_are_commands_of_every_kind() -> None:
    text = "\n".join(every_command())
    words = ("-m ", "preset=", "--help", "dataset=fashion_mnist", "launcher=slurm", "optuna")
    assert all(word in text for word in words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_run_by_a_test(page: Path) -> None:
    known = (*RUNNABLE, *ELSEWHERE)
    assert [command for command in commands(page) if not command.startswith(known)] == []


def test_the_readme_is_a_front_page() -> None:
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)]+)\)|<(https?:[^>]+)>", prose(page))
    for target in (inside or bare for inside, bare in targets):
        address = urllib.parse.urlsplit(target)
        if address.scheme:
            assert address.scheme in ("http", "https") and address.hostname, target
            assert not re.search(r"\s", target), target
            continue
        path = (page.parent / address.path).resolve() if address.path else page
        assert path.exists(), target
        if address.fragment:
            assert address.fragment in anchors(path), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((?:docs/)?([\w-]+\.md)", README.read_text()))
    assert {page.name for page in PAGES} - linked == {"README.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    own = {name for name, _ in files(page)}
    for path in re.findall(r"`((?:conf|src|experiments|tests|docs)/[\w/.]*)`", prose(page)):
        assert (ROOT / path).exists() or path in own, path
    for path in re.findall(r"`((?:\w+/)+\w+(?:\.py|\.html\.j2))`", prose(page)):
        package = ROOT if (ROOT / path).exists() else ROOT / "src" / "optsweep"
        assert (package / path).exists(), path


def test_options_that_the_configuration_page_lists_are_those_of_conf() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for group in ("dataset", "model", "optimizer", "loss", "schedule", "preset", "sweep"):
        (row,) = re.findall(rf"^\| `{group}` \| (.*) \|$", text, re.M)
        options = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")}
        assert set(re.findall(r"`(\w+)`", row)) == options


def test_the_two_commands_set_up_all_they_need() -> None:
    section = README.read_text().split("## Two commands")[1].split("\n## ")[0]
    first, second = re.findall(r"^    (.*)$", section, re.M)
    for command in (first, second):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert first.endswith("run.py -m optimizer=sgd,adam lr=1e-3,1e-1")
    assert second.endswith(".venv/bin/python -m pytest -n auto")
    # .ci/run takes both from this section, in a fresh clone.
    assert "Two commands" in (ROOT / ".ci" / "run").read_text()


def test_extras_that_are_installed_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in PAGES:
        for named in re.findall(r"pip install.*? -e '\.\[(\w+)\]'", page.read_text()):
            assert named in extras["optional-dependencies"], named


def test_make_has_the_targets_that_are_named() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = {target for page in PAGES for target in re.findall(r"\bmake (\w+)`?$", _sh(page), re.M)}
    assert {"test", "lint", "docs"} <= targets and named <= targets


def _sh(page: Path) -> str:
    return "\n".join(commands(page))


@pytest.mark.long
def test_mlflow_ui_in_the_project_root_shows_the_runs(swept: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port), "--workers", "1"]
    with start(command, swept, stdout=subprocess.DEVNULL) as server:
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


@pytest.mark.long
def test_shell_completion_is_printed(project: Path) -> None:
    done = run(project, "-sc", "install=bash")
    assert done.returncode == 0
    assert "complete" in done.stdout
