"""The package as it is installed: its plugins are found, its imports are declared."""

import ast
import re
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from support.command import ROOT
from support.environment import environment

FIND = """
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
found = [Plugins.instance().discover(kind) for kind in (Launcher, Sweeper)]
names = {plugin.__name__ for plugins in found for plugin in plugins}
assert {"LocalLauncher", "GridSweeper", "OptunaSweeper"} <= names, names
import optsweep
print(optsweep.__file__)
from optsweep.report.interactive import scripts
from optsweep.report.templates import template
assert all(script.text for script in scripts())
pages = ("report.html.j2", "charts.html.j2", "tables.html.j2", "verdict.html.j2")
for name in (*pages, "macros.html.j2"):
    template(name)
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
    lent = [path for path in sys.path if path.endswith("site-packages")]
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "zz_lent.pth").write_text("\n".join(lent))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [python, "-c", FIND], cwd=elsewhere, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(ROOT if editable else site) in done.stdout
    command = [str(tmp_path / "venv/bin/optsweep"), "--cfg", "job", "--package", "optimizer"]
    shown = subprocess.check_output(command, cwd=elsewhere, env=environment(), text=True)
    assert "_target_: torch.optim.SGD" in shown


def test_what_is_imported_is_declared() -> None:
    """Each import of the package, and of what people type, is of a dependency or of an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {normal(re.split(r"[^\w.-]", entry)[0]) for group in groups for entry in group}
    typed = list((ROOT / "experiments").rglob("*.py"))
    own = {"optsweep", "hydra_plugins", "benchmarks", *(path.stem for path in typed)}
    providers = packages_distributions()
    undeclared = {
        module: path.name
        for path in [*typed, *(ROOT / "src").rglob("*.py")]
        for module in imported(path) - own - sys.stdlib_module_names
        if not declared & {normal(name) for name in providers.get(module, [module])}
    }
    assert undeclared == {}


def imported(path: Path) -> set[str]:
    """The packages that a file imports, at its top or inside of functions."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    return modules


def normal(name: str) -> str:
    """A distribution's name as it is compared: without case, with one sign between words."""
    return re.sub(r"[-_.]+", "-", name).lower()
