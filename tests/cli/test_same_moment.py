"""Two commands that resume the same at the same moment, and one that resumes what still runs."""

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.command import start
from support.executors import project_with, steps
from support.store import runs

_GATED = ("model=gated", "epochs=5", "figures=none", "threads=1")
_SWEEP = ("-m", *_GATED, "seed=0,1", "hydra.launcher.stack=1", "hydra.launcher.workers=2")
_SINGLE = _GATED


class Command:
    """A run or sweep in a process of its own, with what it prints in a file."""

    def __init__(self, project: Path, *arguments: str) -> None:
        self.project = project
        self._printed = project / f"printed-{time.monotonic_ns()}"
        with self._printed.open("w") as file:
            command = [sys.executable, str(project / "experiments/run.py"), *arguments]
            self.process = start(command, project, {"PYTHONPATH": str(project)}, stdout=file)

    @property
    def output(self) -> str:
        return self._printed.read_text()

    def wait_at_gate(self, count: int) -> None:
        """Returns once so many runs wait at the first gate."""
        for _ in range(1800):
            if len(list((self.project / "outputs").rglob("checkpoint.bin"))) == count:
                return
            assert self.process.poll() is None, self.output
            time.sleep(0.1)
        raise TimeoutError

    def end(self) -> int:
        return self.process.wait(timeout=200)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def open_gates(project: Path) -> None:
    for gate in ("1", "3"):
        (project / "gates" / gate).touch()


def first_to_end(commands: Sequence[Command]) -> Command:
    for _ in range(1800):
        for command in commands:
            if command.process.poll() is not None:
                return command
        time.sleep(0.1)
    raise TimeoutError


def assert_refused(refused: Command, by: Command) -> None:
    assert refused.end() == 2, refused.output
    (line,) = [line for line in refused.output.splitlines() if line.startswith("error: ")]
    assert re.search(rf"in use by process {by.process.pid} of \S+ on \S+, since \d", line), line
    assert "wait for its end" in line
    assert "Traceback" not in refused.output


@pytest.mark.long
@pytest.mark.parametrize(("arguments", "count"), [(_SWEEP, 2), (_SINGLE, 1)], ids=["sweep", "run"])
def test_of_two_resumes_at_the_same_moment_the_second_is_refused_and_named_the_first(
    arguments: tuple[str, ...], count: int, tmp_path: Path
) -> None:
    project = project_with(tmp_path)
    killed = Command(project, *arguments)
    killed.wait_at_gate(count)
    killed.kill()
    both = [Command(project, *arguments, "resume=true") for _ in range(2)]
    refused = first_to_end(both)
    (living,) = [command for command in both if command is not refused]
    assert_refused(refused, living)
    late = Command(project, *arguments, "resume=true")  # of what runs by now
    assert_refused(late, living)
    open_gates(project)
    assert living.end() == 0, living.output
    found = runs(project)
    assert len(found) == count
    assert {one.info.status for one in found + runs(project, "sweep")} == {"FINISHED"}
    assert all(epochs == [1, 2, 3, 4, 5] for epochs in steps(project).values())
