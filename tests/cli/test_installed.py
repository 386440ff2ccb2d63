"""The command `optsweep`, from a wheel in a fresh environment, as a person types it in a folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import ROOT
from support.environment import environment
from support.pages import commands

Typed = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = pytest.mark.long
BUILD_SDIST = "from setuptools import build_meta; build_meta.build_sdist('sdist')"
WAITING = '''
import pathlib, time
import torch

class Waiting(torch.nn.Module):
    """Softmax regression that waits for a file."""

    def __init__(self, input_shape, classes, gate):
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)
        self.gate = pathlib.Path(gate)

    def forward(self, images):
        while self.training and len(images) > 2 and not self.gate.exists():
            self.gate.with_suffix(".waits").touch()
            time.sleep(0.05)
        return self.linear(images.flatten(1))
'''


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, made offline from an sdist."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("conf", "src"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    for command in (
        [sys.executable, "-c", BUILD_SDIST],
        ["sh", "-c", '"$@" sdist/*.tar.gz', "sh", *pip, "--no-build-isolation"],
    ):
        subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=280)
    (made,) = source.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `optsweep` is, in an environment that this one lends the dependencies to."""
    made = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(made)
    python = ["--python", str(made / "bin/python")]
    install = [sys.executable, "-m", "pip", *python, "install", "--quiet", "--no-index"]
    subprocess.run([*install, "--no-deps", str(wheel)], check=True, timeout=280)
    (site,) = (made / "lib").glob("python*/site-packages")
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (site / "zz_lent.pth").write_text("\n".join(lent))
    return made / "bin"


@pytest.fixture
def path(bin_folder: Path) -> dict[str, str]:
    """What makes `optsweep` a command of the shell."""
    return {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def typed(tmp_path: Path, path: dict[str, str]) -> Typed:
    """Types a line in an empty folder, the same for all lines of a test."""

    def run(line: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment(path | changes),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    return run


def test_all_options_travel_in_the_wheel(wheel: Path) -> None:
    conf = {str(file.relative_to(ROOT)) for file in (ROOT / "conf").rglob("*.yaml")}
    with zipfile.ZipFile(wheel) as archive:
        packed = [name.removeprefix("optsweep/") for name in archive.namelist()]
    assert {name for name in packed if name.endswith(".yaml")} == conf


def test_a_sweep_in_an_empty_folder_and_every_command_of_the_page(
    typed: Typed, tmp_path: Path
) -> None:
    done = typed("optsweep -m optimizer=sgd,adam lr=1e-3,1e-1 epochs=1")
    assert (done.returncode, done.stderr) == (0, "")
    (report,) = tmp_path.glob("outputs/*/*/report.html")
    text = report.read_text()
    assert "Best of 4 runs" in text
    assert "optsweep -m optimizer=sgd,adam lr=1e-3,1e-1 epochs=1</pre>" in text
    (sweep,) = tmp_path.glob("outputs/*/*")
    (written,) = re.findall(r"^folder  (.*)$", done.stdout, re.M)
    assert Path(written) == sweep
    left = {found.name for found in tmp_path.iterdir() if not found.name.startswith(".")}
    assert left - {"mlflow.db-shm", "mlflow.db-wal"} == {
        "outputs", "data", "mlflow.db", "mlartifacts",
    }  # fmt: skip
    page = commands(ROOT / "docs" / "usage.md")
    for line in (line for line in page if line.startswith("optsweep ")):
        done = typed(line)
        assert (done.returncode, done.stderr) == (0, ""), line
    assert list(tmp_path.glob("outputs/reports/*/report.html"))


def test_options_in_conf_and_in_a_typed_folder_add_and_replace(
    typed: Typed, tmp_path: Path
) -> None:
    for file, text in (
        ("conf/optimizer/asgd.yaml", "_target_: torch.optim.ASGD\nlr: ${lr}\n"),
        ("conf/optimizer/sgd.yaml", "_target_: torch.optim.SGD\nlr: ${lr}\nmomentum: 0.5\n"),
        ("more/optimizer/sgd.yaml", "_target_: torch.optim.SGD\nlr: ${lr}\nmomentum: 0.25\n"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    done = typed("optsweep -m optimizer=asgd,sgd epochs=1 figures=none")
    assert (done.returncode, done.stderr) == (0, "")
    configs = [file.read_text() for file in tmp_path.glob("outputs/*/*/*/.hydra/config.yaml")]
    assert len(configs) == 2
    assert sum("torch.optim.ASGD" in text for text in configs) == 1
    assert sum("momentum: 0.5" in text for text in configs) == 1
    done = typed("optsweep --config-dir more optimizer=sgd epochs=1 --cfg job --package optimizer")
    assert "momentum: 0.25" in done.stdout
    refused = typed("optsweep optimizer=asgt")
    assert refused.returncode == 2
    assert refused.stderr.endswith("type optimizer=asgd\n")


def test_the_line_to_resume_with_can_be_typed(
    typed: Typed, tmp_path: Path, path: dict[str, str]
) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    gate = tmp_path / "gate"
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/waiting.yaml").write_text(f"_target_: waiting.Waiting\ngate: {gate}\n")
    own = {"PYTHONPATH": str(tmp_path)}
    command = ["optsweep", "-m", "model=waiting", "seed=range(2)", "epochs=2", "figures=none"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(path | own),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sweep:
        end = time.monotonic() + 300
        while not gate.with_suffix(".waits").exists():
            assert sweep.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        sweep.send_signal(signal.SIGINT)
        said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, said
    (line,) = re.findall(r"Resume with: (optsweep .*)", said)
    gate.touch()
    done = typed(line, **own)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run 1/2 " in done.stdout and "run 2/2 " in done.stdout
