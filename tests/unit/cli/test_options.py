"""As installed, the user's options add to the package's or replace them, in messages too."""

import signal
import sys
from pathlib import Path

import pytest
from hydra.core import utils

from optsweep.cli import options
from optsweep.cli.commands.arguments import tracking_defaults
from optsweep.cli.compat.omegaconf import register_resolver
from optsweep.cli.main import main
from optsweep.system import project_folder
from support.command import ROOT

PACKAGED = [file.stem for file in (ROOT / "conf/optimizer").iterdir()]


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a conf/ in which `optsweep` was typed, and another folder for --config-dir."""
    monkeypatch.setenv("OPTSWEEP_PROJECT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["optsweep"])
    register_resolver("project_root", lambda: str(tmp_path))
    write(tmp_path / "conf/optimizer/asgd.yaml", "_target_: torch.optim.ASGD\nlr: ${lr}\n")
    write(tmp_path / "conf/optimizer/sgd.yaml", "_target_: torch.optim.SGD\nmomentum: 0.5\n")
    write(tmp_path / "more/optimizer/sgd.yaml", "_target_: torch.optim.SGD\nmomentum: 0.25\n")
    return tmp_path


@pytest.mark.usefixtures("own")
def test_a_conf_of_the_users_own_adds_options_and_replaces_them() -> None:
    assert options.options("optimizer") == sorted([*PACKAGED, "asgd"])
    assert "momentum" in options.options_with("optimizer", "momentum")
    assert "sgd" in options.options_with("optimizer", "momentum")
    assert options.composed()["optimizer"]["momentum"] == 0.5
    assert options.composed(["optimizer=asgd"])["optimizer"]["_target_"] == "torch.optim.ASGD"
    assert "optimizer" in options.groups() and "dataset" in options.groups()


@pytest.mark.parametrize("flag", ["--config-dir", "-cd"])
def test_a_folder_that_is_typed_comes_before_conf(
    own: Path, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["optsweep", flag, str(own / "more")])
    assert options.composed()["optimizer"]["momentum"] == 0.25
    assert options.options("optimizer") == sorted([*PACKAGED, "asgd"])


def test_a_config_of_the_users_own_replaces_the_packages_as_a_whole(own: Path) -> None:
    text = (project_folder.PACKAGED / "config.yaml").read_text()
    write(own / "conf/config.yaml", text.replace("epochs: 10", "epochs: 3"))
    assert options.composed()["epochs"] == 3


def test_a_config_of_another_program_is_refused_in_one_line(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(own / "conf/config.yaml", "db: mysql\n")
    monkeypatch.setattr(sys, "argv", ["optsweep", "lr=1"])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(utils, "_save_config", utils._save_config)  # put back afterwards
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # put back afterwards
    assert main() == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: {own}/conf/config.yaml replaces the package's own, and lacks lr"
    )
    assert said.count("\n") == 1 and f"a copy of {project_folder.PACKAGED}/config.yaml" in said
    assert tracking_defaults()["tracking.experiment"] == "optsweep"  # what `report` looks for


def test_other_programs_keep_their_search_path(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTSWEEP_PROJECT")
    monkeypatch.chdir(own)
    monkeypatch.setattr(sys, "argv", [str(ROOT / "experiments" / "run.py")])
    assert options.composed()["optimizer"].get("momentum") != 0.5
