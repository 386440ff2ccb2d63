"""What a worker does with a task that takes too long."""

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from optsweep.errors import StackFailed
from optsweep.execution.executor import Task
from optsweep.execution.worker import run_task
from optsweep.tracking.store import Store
from support.in_process import new


class Sleepy(torch.nn.Module):
    """Softmax regression that sleeps in its first batch and takes any OSError for its own."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)
        self.is_tired = True

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and self.is_tired and len(images) > 2:  # not when it is tried
            self.is_tired = False
            with suppress(OSError, Exception):
                time.sleep(20)
        return self.linear(images.flatten(1))  # type: ignore[no-any-return]


def task(project: Path, runs: int) -> Task:
    (project / "conf/model/sleepy.yaml").write_text("_target_: test_worker.Sleepy\n")
    jobs = [new(project, "model=sleepy", "epochs=2", f"seed={seed}") for seed in range(runs)]
    jobs = [replace(job, folder=job.folder / str(place)) for place, job in enumerate(jobs)]
    settings = jobs[0].settings
    store = Store.open(settings.tracking_uri, settings.experiment)
    return Task(jobs, store.uri, store.experiment_id, None, "", figures=False)


@pytest.mark.long
def test_no_handler_of_errors_takes_the_alarm_for_its_own(project: Path) -> None:
    given = task(project, 1)
    started = time.monotonic()
    (record,) = run_task(given, timeout=2)
    assert record.status == "FAILED"
    assert record.error == "TimedOut: took longer than hydra.launcher.timeout=2 s"
    assert time.monotonic() - started < 15


@pytest.mark.long
def test_a_stack_that_takes_too_long_says_so(project: Path) -> None:
    with pytest.raises(StackFailed, match="TimedOut: took longer than"):
        run_task(task(project, 2), timeout=1)
