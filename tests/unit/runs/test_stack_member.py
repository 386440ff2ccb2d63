"""One run of a stack: what it learns from its journal when it resumes."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from optsweep.records.run import RunRecord
from optsweep.runs.stack_member import StackMember
from optsweep.training.epoch_journal import Entry, Journal


def resumed(folder: Path, *losses: float, patience: int | None = None) -> StackMember:
    """A run that has logged these losses, from that of the untrained model on, and resumes."""
    journal = Journal(folder / "history.jsonl")
    for epoch, loss in enumerate(losses):
        journal.keep(Entry(epoch, 0, {"val/loss": loss}))
    tracked = SimpleNamespace(log_epoch=lambda entry: None, tag=lambda **tags: None)
    job = SimpleNamespace(hopeless=None, settings=SimpleNamespace(epochs=9, patience=patience))
    record = RunRecord(name="a run", run_id="", status="RUNNING", params={}, swept={})
    member = StackMember(job, record, tracked, journal)  # type: ignore[arg-type]  # stand-ins
    member.resume(len(losses) - 1)
    return member


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_run_diverges_by_training_alone(tmp_path: Path, loss: float) -> None:
    assert resumed(tmp_path, loss).is_over is False
    (tmp_path / "history.jsonl").unlink()
    assert resumed(tmp_path, 1.0, loss).is_over is True


def test_epochs_after_the_last_of_a_diverged_run_are_not_missing(tmp_path: Path) -> None:
    assert resumed(tmp_path, 1.0, math.nan).has_logged(3) is True
    (tmp_path / "history.jsonl").unlink()
    assert resumed(tmp_path, 1.0, 0.5).has_logged(3) is False


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ((9, 5, 6, 7), True),  # two epochs without a better loss
        ((9, 5, 6, 4.9), False),
        ((9, 5, 5, 5), True),  # an equal one is no better
        ((1, 5, 6), False),  # the untrained model's does not count
        ((9, 5), False),
        ((9, 8, 7, 6, 5, 4, 3, 2, 3, 3), False),  # the last epoch ends nothing early
    ],
)
def test_a_run_ends_after_so_many_epochs_without_a_better_loss(
    tmp_path: Path, losses: tuple[float, ...], ends: bool
) -> None:
    member = resumed(tmp_path, *losses, patience=2)
    assert (member.record.stopped_early, member.is_over) == (ends, ends)


def test_epochs_after_a_run_stopped_early_are_not_missing(tmp_path: Path) -> None:
    assert resumed(tmp_path, 9, 5, 6, 7, patience=2).has_logged(6) is True
    (tmp_path / "history.jsonl").unlink()
    assert resumed(tmp_path, 9, 5, 6, patience=2).has_logged(6) is False
