"""The report of a real sweep while it runs, after it was killed, and at its end."""

import re
import signal
import time
from pathlib import Path

import pytest

from support.command import run
from support.executors import Gate, project_with

SWEEP = ("lr=1e-2,1e-1", "hydra.launcher.workers=1")


@pytest.fixture
def gated(tmp_path: Path) -> Path:
    return project_with(tmp_path)


def page_with(words: str, project: Path, sweep: Gate) -> str:
    """The report as soon as it says so."""
    for _ in range(600):
        for path in project.glob("outputs/*/*/report.html"):
            if words in (html := path.read_text()):
                return html
        assert sweep.process.poll() is None, sweep.end()[1]
        time.sleep(0.1)
    raise TimeoutError(words)


@pytest.mark.long
def test_the_report_is_there_while_the_sweep_runs(gated: Path) -> None:
    sweep = Gate(gated, *SWEEP)
    html = page_with("epoch 1 of 5", gated, sweep)
    assert 'http-equiv="refresh"' in html
    assert "2 runs: 1 in hand, 1 to do" in html
    assert html.count('<polyline class="val"') == html.count('<polyline class="train"') == 2

    sweep.process.send_signal(signal.SIGKILL)
    _, output = sweep.end()
    (path,) = gated.glob("outputs/*/*/report.html")
    assert output.splitlines().count(f"report  {path}") == 1
    html = path.read_text()
    assert html.endswith("</html>") and 'http-equiv="refresh"' in html

    asked, browser = gated / "asked.txt", gated / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {asked}\n')
    browser.chmod(0o755)
    sweep.open()
    around = {"PYTHONPATH": str(gated), "BROWSER": str(browser)}
    command = ("-m", "model=gated", "epochs=5", "figures=none", "threads=1")
    more = ("hydra.launcher.stack=1", "resume=true", "open=true")
    done = run(gated, *command, *SWEEP, *more, env=around)
    assert done.returncode == 0, done.stderr
    assert asked.read_text() == f"{path.as_uri()}\n"
    html = path.read_text()
    assert 'http-equiv="refresh"' not in html
    assert "Best of 2 runs" in html and "open=true" not in html
    assert not re.search(r"\.part\b", " ".join(each.name for each in path.parent.iterdir()))

    again = run(gated, "open=true", env=around, script="experiments/report.py")
    assert again.returncode == 0, again.stderr
    assert len(asked.read_text().splitlines()) == 2
