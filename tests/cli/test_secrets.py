"""No secret that is typed leaves the process: not to a file, not to MLflow, not to the terminal."""

import shlex
import sys
from pathlib import Path

import pytest
import yaml

from optsweep.cli.main import printing_resume_command
from optsweep.data.download import Archive, _refuse_unreachable
from optsweep.errors import DatasetError
from optsweep.tracking.store import Store
from optsweep.tracking.tracked_run import start_run
from support.command import run
from support.store import QUICK, runs

PASSWORD, TOKEN, KEY, ODBC = "pass:w0rd@1", "ghp-t0ken-2", "sig-k3y-3", "pwd-s3cret-4"
SECRETS = (PASSWORD, TOKEN, KEY, ODBC)

MIRRORS = (f"https://me:{PASSWORD}@one.example/x", f"https://{TOKEN}@two.example/x?sig={KEY}")

MINE = '''
import logging
import torch
from optsweep.data.builtin import digits

def source(*, data_dir, mirror=None, places=(), login=None):
    return digits(data_dir=data_dir)

class Loud(torch.nn.Module):
    """Fails in one of two runs, and says each time what it should keep to itself."""

    def __init__(self, input_shape, classes, address="", fails=False):
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)
        self.address, self.fails = address, fails

    def forward(self, images):
        if self.training and self.fails and len(images) > 2:
            logging.getLogger("mine").warning("no answer from %s", self.address)
            raise RuntimeError(f"no answer from {self.address}")
        return self.linear(images.flatten(1))
'''


@pytest.fixture
def mine(project: Path) -> Path:
    """A project with a dataset and a model that are given addresses."""
    (project / "mine.py").write_text(MINE)
    (project / "conf/dataset/mine.yaml").write_text(
        "_target_: mine.source\nmirror: null\nplaces: []\nlogin: null\n"
    )
    (project / "conf/model/loud.yaml").write_text(
        "_target_: mine.Loud\naddress: ''\nfails: false\n"
    )
    return project


def typed() -> list[str]:
    """Overrides with a secret of each kind, two of them in a value that is swept."""
    driver = f"mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D{ODBC}%3BUID%3Dsa"
    return [
        "dataset=mine",
        'dataset.mirror="{}","{}"'.format(*MIRRORS),
        f'dataset.places=["{MIRRORS[0]}",{{deep:"https://h/?api_key={KEY}"}}]',
        f'dataset.login="{driver}"',
        f'model.address="http://ann:{PASSWORD}@h/?access_token={TOKEN}"',
    ]


def assert_kept(project: Path, printed: str) -> None:
    """Makes sure that no secret is in what was printed or in any file below the project."""
    assert [secret for secret in SECRETS if secret in printed] == []
    files = [path for path in project.rglob("*") if path.is_file()]
    leaks = {
        str(path.relative_to(project)): secret
        for path in files
        for secret in SECRETS
        if secret.encode() in path.read_bytes() or secret in str(path)
    }
    assert leaks == {}


@pytest.mark.long
def test_a_sweep_with_secrets_leaves_none_anywhere(mine: Path) -> None:
    done = run(
        mine,
        "-m",
        *typed(),
        *QUICK[:1],
        "model=loud",
        "model.fails=false,true",
        "hydra.sweep.subdir=${hydra.job.override_dirname}",
        "hydra.job.config.override_dirname.exclude_keys=[dataset.places]",
        env={"PYTHONPATH": str(mine)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert_kept(mine, done.stdout + done.stderr)
    sound, *_ = sorted(runs(mine), key=lambda one: one.info.status)[::-1]
    assert {one.info.status for one in runs(mine)} == {"FINISHED", "FAILED"}
    (folder,) = (mine / "outputs").glob("*/*-sweep")
    written = {path.name for path in folder.rglob("*")}
    assert {
        "multirun.yaml",
        "config.yaml",
        "overrides.yaml",
        "table.csv",
        "verdict.json",
    } <= written
    assert "https://me:***@one.example/x" in (folder / "table.csv").read_text()
    assert yaml.safe_load((folder / "multirun.yaml").read_text())["dataset"]["mirror"] is None
    assert sound.data.params["dataset.places"].startswith("['https://me:***@one.example/x', {")


@pytest.mark.long
def test_a_run_with_secrets_leaves_none_anywhere(mine: Path) -> None:
    overrides = [one for one in typed() if not one.startswith("dataset.mirror")]
    overrides += [f"dataset.mirror={MIRRORS[0]}", "epochs=2", f"hydra.run.dir={mine}/typed"]
    env = {"PYTHONPATH": str(mine)}
    done = run(mine, *overrides, env=env)
    assert done.returncode == 2 and "address" in done.stderr  # of an mlp, which has none
    assert_kept(mine, done.stdout + done.stderr)
    done = run(mine, *overrides, "model=loud", "model.fails=true", env=env)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "RuntimeError: no answer from http://ann:***@h/?access_token=***" in done.stderr
    assert_kept(mine, done.stdout + done.stderr)
    folder = mine / "typed"
    assert {"config.yaml", "hydra.yaml"} <= {path.name for path in (folder / ".hydra").iterdir()}
    assert "no answer from http://ann:***@h" in (folder / "optsweep.log").read_text()


@pytest.mark.long
@pytest.mark.parametrize("wrong", ["lr=-1", "optimizer=adm", "lr=1,2,,", "figures=some"])
def test_a_refused_sweep_leaves_no_secret_and_no_file_of_others_changed(
    project: Path, wrong: str
) -> None:
    folder = project / "typed"
    folder.mkdir()
    (folder / "own.yaml").write_text("address: http://a:b@c\n")
    uri = f'tracking.uri="postgresql://ann:{PASSWORD}@localhost:1/x?sslpassword={KEY}"'
    done = run(project, "-m", uri, wrong, f"hydra.sweep.dir={folder}")
    assert done.returncode == 2
    assert_kept(project, done.stdout + done.stderr)
    assert (folder / "own.yaml").read_text() == "address: http://a:b@c\n"


def test_a_mirror_that_cannot_be_asked_is_named_without_its_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive = Archive(tmp_path / "x.gz", None, (f"http://me:{PASSWORD}@localhost/x.gz",))
    with pytest.raises(DatasetError, match=r"http://me:\*\*\*@localhost/x.gz: InvalidURL") as error:
        _refuse_unreachable(archive)
    assert PASSWORD not in str(error.value) + capfd.readouterr().err


def test_what_was_typed_is_shown_on_an_interrupt_without_its_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["-m", f"tracking.uri=http://ann:{PASSWORD}@host", "lr=1,2", "resume=true"]
    monkeypatch.setattr(sys, "argv", ["experiments/run.py", *arguments])
    with pytest.raises(KeyboardInterrupt), printing_resume_command():
        raise KeyboardInterrupt
    shown = capsys.readouterr().out
    assert PASSWORD not in shown
    command = shown.splitlines()[0].removeprefix("Resume with: ")
    uri = "tracking.uri=http://ann:***@host"
    expected = ["python", "experiments/run.py", "-m", uri, "lr=1,2", "resume=true"]
    assert shlex.split(command) == expected
    assert "***" in shown.splitlines()[1]
    monkeypatch.setattr(sys, "argv", ["experiments/run.py", "lr=1"])
    with pytest.raises(KeyboardInterrupt), printing_resume_command():
        raise KeyboardInterrupt
    assert capsys.readouterr().out == "Resume with: python experiments/run.py lr=1 resume=true\n"


def test_what_waits_for_a_store_that_is_away_holds_no_secret(tmp_path: Path) -> None:
    store = Store.attach(f"postgresql://ann:{PASSWORD}@127.0.0.1:1/x?sslpassword={KEY}", "1")
    address = f"https://{TOKEN}@h/?api_key={KEY}"
    with (
        pytest.raises(RuntimeError),
        start_run(
            store,
            f"sgd dataset.mirror={address}",
            params={"dataset.places": [address, {"deep": address}]},
            tags={"optsweep.best": address},
            folder=tmp_path,
        ) as tracked,
    ):
        tracked.log_texts({"overrides.txt": f"dataset.mirror={address}\nlr=0.1"})
        raise RuntimeError(f"no answer from {address}")
    waiting = (tmp_path / "unsent.jsonl").read_text()
    assert waiting.count("https://***@h/?api_key=***") == 7
    assert [secret for secret in SECRETS if secret in waiting] == []
