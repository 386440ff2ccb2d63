"""The plugins are found however the package is installed, from any working directory."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from conftest import ROOT, environment

FIND = """
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
found = [Plugins.instance().discover(kind) for kind in (Launcher, Sweeper)]
names = {plugin.__name__ for plugins in found for plugin in plugins}
assert {"LocalLauncher", "GridSweeper", "OptunaSweeper"} <= names, names
import optsweep
print(optsweep.__file__)
from optsweep import report
report._template()
"""


@pytest.mark.long
@pytest.mark.parametrize("editable", [True, False], ids=["editable", "plain"])
def test_plugins_are_found_from_any_working_directory(editable: bool, tmp_path: Path) -> None:
    """Installed without its dependencies, which this environment lends by its site-packages."""
    builder = venv.EnvBuilder(with_pip=True)
    builder.create(tmp_path / "venv")
    python = str(tmp_path / "venv/bin/python")
    kind = ["--editable"] if editable else []
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", *kind, str(ROOT)]
    subprocess.run(install, check=True, timeout=280)
    lent = next(path for path in sys.path if path.endswith("site-packages"))
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "zz_lent.pth").write_text(f"{lent}\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [python, "-c", FIND], cwd=elsewhere, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(ROOT if editable else site) in done.stdout
