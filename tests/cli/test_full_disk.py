"""The exit code of a command that something else than its input ends."""

import errno
import os
from pathlib import Path

import pytest

from support.in_process import run_here


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_wrong_input(
    project: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*given: object) -> None:
        raise OSError(number, os.strerror(number), "/somewhere/report.html")

    monkeypatch.setattr("optsweep.report.page.write", full)
    few = ("dataset.limit=50", "epochs=1", "model=softmax", "hydra.launcher.workers=0")
    done = run_here(project, "-m", "lr=0.1", *few, "hydra.sweep.dir=sweep")
    assert done.returncode == 1, done.stderr
    assert "Best of" in done.stdout or "The only run" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: /somewhere/report.html cannot be used"), line
