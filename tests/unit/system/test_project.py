"""Commands in messages are those that the user can type: scripts of a clone, or `optsweep`."""

import sys
from pathlib import Path

import pytest

from optsweep.cli.commands import report, sync
from optsweep.cli.flags import command as typed_again
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from optsweep.records.run import SweepRecord
from optsweep.runs.artifacts import source_tags
from optsweep.system import environment
from optsweep.system import project_folder as project


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which `optsweep` was typed."""
    monkeypatch.setenv("OPTSWEEP_PROJECT", "")  # so that it is as it was, afterwards
    monkeypatch.setattr(sys, "argv", ["/venv/bin/optsweep"])
    monkeypatch.chdir(tmp_path)
    project.use_installed()
    return tmp_path


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose script was typed in another folder."""
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "experiments" / "run.py")])
    monkeypatch.chdir("/")
    return tmp_path


def test_commands_of_a_clone_are_its_scripts(clone: Path) -> None:
    given = [project.command(script) for script in ("run", "report", "sync")]
    assert given == [f"python experiments/{script}.py" for script in ("run", "report", "sync")]
    assert typed_again("lr=1") == f"python {clone}/experiments/run.py lr=1"


@pytest.mark.usefixtures("installed")
def test_commands_as_installed_are_optsweep_and_its_sub_commands() -> None:
    given = [project.command(script) for script in ("run", "report", "sync")]
    assert given == ["optsweep", "optsweep report", "optsweep sync"]
    assert typed_again("lr=1", "resume=true") == "optsweep lr=1 resume=true"


@pytest.mark.usefixtures("installed")
def test_a_sweep_and_its_runs_name_the_installed_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "git_commit", lambda folder: None)
    sweep = SweepRecord(run_id="", overrides=["seed=range(3)"], grid={}, runs=[])
    assert sweep.command == "optsweep -m 'seed=range(3)'"
    source_tags.cache_clear()
    assert source_tags()["mlflow.source.name"] == "optsweep"
    source_tags.cache_clear()


@pytest.mark.usefixtures("installed")
def test_a_refusal_names_the_installed_command() -> None:
    with pytest.raises(SettingsError, match=r"make a sweep: optsweep -m lr=1,2$"):
        Settings.from_config({"lr": [1, 2]}, {})


@pytest.mark.parametrize(("main", "name"), [(report.main, "report"), (sync.main, "sync")])
def test_help_as_installed_names_the_sub_command_and_the_current_folder(
    main: object, name: str, installed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(main) and main(["--help"]) == 0
    text = capsys.readouterr().out
    assert f"  optsweep {name} " in text and "experiments/" not in text
    assert f"(default: {installed}/outputs" in text
    assert f"sqlite:///{installed}/mlflow.db" in text


def test_options_are_looked_for_in_the_project_first(installed: Path) -> None:
    assert project.config_folders() == [project.PACKAGED]
    (installed / "conf").mkdir()
    assert project.config_folders() == [installed / "conf", project.PACKAGED]


def test_a_clone_has_the_options_of_its_conf_alone(clone: Path) -> None:
    assert project.config_folders() == [clone / "conf"]
