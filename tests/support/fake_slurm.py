"""Slurm's commands as scripts over a folder: a queue that a test holds in its hand."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

_SCRIPTS = {
    "srun": "",
    # A script of an array's says so in a line; its jobs get an id each.
    "sbatch": """
        test -e "$F/silent" && echo 'Unable to contact slurm controller' >&2 && exit 1
        test -e "$F/refusal" && cat "$F/refusal" >&2 && exit 1
        id=$(($(cat "$F/last") + 1)); echo $id > "$F/last"
        cat "$1" >> "$F/scripts"
        last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
        if test -z "$last"; then echo $id; else seq -f "${id}_%.0f" 0 $last; fi >> "$F/queue"
        echo "Submitted batch job $id"
    """,
    "squeue": """
        test -e "$F/silent" && echo 'Unable to contact slurm controller' >&2 && exit 1
        sed 's/$/|RUNNING None/' "$F/queue"
    """,
    "scancel": """
        echo "$*" >> "$F/cancelled"
        test -e "$F/hang" && exec sleep 1000
        test -e "$F/silent" && exit 1
        for id in "$@"; do sed -i -E "/^${id}(_[0-9]+)?$/d" "$F/queue"; done
    """,
    "scontrol": 'cat "$F/end"',
}


class FakeSlurm:
    """What the fake commands know; `jobs` are those in the queue."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "fake"
        (self.folder / "bin").mkdir(parents=True)
        for name, script in _SCRIPTS.items():
            file = self.folder / "bin" / name
            file.write_text(f'#!/bin/sh\nF="{self.folder}"\n{script}\n')
            file.chmod(0o755)
        (self.folder / "last").write_text("0")
        (self.folder / "queue").touch()
        self.ends("JobState=FAILED ExitCode=1:0")
        monkeypatch.setenv("PATH", f"{self.folder}/bin:{os.environ['PATH']}")

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs in the queue."""
        return (self.folder / "queue").read_text().split()

    @property
    def scripts(self) -> str:
        """All that was submitted."""
        return (self.folder / "scripts").read_text()

    @property
    def cancelled(self) -> set[str]:
        """What scancel was asked to cancel."""
        log = self.folder / "cancelled"
        return set(re.findall(r"\b\d+(?:_\d+)?\b", log.read_text())) if log.exists() else set()

    def set(self, name: str, on: bool = True) -> None:
        """Makes the controller `silent`, or scancel `hang`, or ends that."""
        file = self.folder / name
        file.touch() if on else file.unlink()

    def ends(self, said: str) -> None:
        """What scontrol says of any job."""
        (self.folder / "end").write_text(said)

    def leave(self, job: str) -> None:
        """Takes a job out of the queue."""
        self._write([one for one in self.jobs if one != job])

    def finish(self, folder: Path, job: str, outcome: tuple[str, Any]) -> None:
        """Leaves a job's result, as submitit does, and takes it out of the queue."""
        from submitit.core.utils import JobPaths, cloudpickle_dump, temporary_save_path

        with temporary_save_path(JobPaths(folder / "slurm", job).result_pickle) as path:
            cloudpickle_dump(outcome, path)
        self.leave(job)

    def _write(self, jobs: list[str]) -> None:
        part = self.folder / "queue.part"
        part.write_text("".join(f"{job}\n" for job in jobs))
        part.replace(self.folder / "queue")
