"""`.ci/run` changes nothing that it was not asked to change, and lets nothing skip unseen."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.command import ROOT
from support.environment import environment


def test_missing_system_packages_are_named_and_not_installed(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    for name in ("bash", "dirname", "mktemp", "rm"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "apt-get").write_text(f"#!{tmp_path}/bash\necho >{asked}\n")
    (tmp_path / "apt-get").chmod(0o755)
    done = subprocess.run(
        ["bash", str(ROOT / ".ci/run")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "missing: chromium " in done.stderr and ".ci/run --install" in done.stderr
    assert not asked.exists()


def test_the_workflow_runs_what_contributors_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    checks = workflow["jobs"]["checks"]
    assert checks["env"]["CI"] == "true"
    assert checks["steps"][-1]["run"] == ".ci/run"


SKIPPING = """import pytest

def test_passes() -> None:
    pass

@pytest.mark.cuda
def test_on_a_gpu() -> None:
    pytest.skip("no CUDA device")

@pytest.mark.skipif(True, reason="no Muon")
def test_of_an_option() -> None:
    pass

def test_on_slurm() -> None:
    pytest.skip("no slurmctld")

@pytest.mark.xfail(reason="known")
def test_of_what_is_known() -> None:
    assert False
"""


@pytest.mark.long
def test_what_is_skipped_fails_where_the_checks_run(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(SKIPPING)
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('nonesuch')\n")
    plain, strict = (_tested(tmp_path, *more) for more in ((), ("--no-skips",)))
    assert "1 passed, 4 skipped, 1 xfailed" in plain
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors" in strict
    for reason in ("no Muon", "no slurmctld", "could not import 'nonesuch'"):
        assert re.search(f"skipped, which --no-skips forbids: .*{reason}", strict), strict
    assert "--no-skips" in (ROOT / ".ci/run").read_text()


def _tested(folder: Path, *more: str) -> str:
    """What pytest says of a folder of tests, with this project's rules about skipping."""
    options = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-n", "0"]
    options += ["-p", "conftest", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *more, str(folder)],
        env=environment({"PYTHONPATH": str(ROOT / "tests"), "PYTEST_ADDOPTS": ""}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    ).stdout
