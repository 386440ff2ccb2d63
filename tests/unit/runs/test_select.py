"""Which weights and scores a run keeps: those of its last epoch, or of its best by validation."""

import functools
import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from optsweep.data.dataset import load_dataset
from optsweep.models.build import build_model
from optsweep.models.trained_model import WEIGHTS
from optsweep.records.run import RunRecord
from optsweep.runs.checkpoint_store import StoredProgress, fetch
from optsweep.runs.job import Job
from optsweep.runs.run import run_jobs
from optsweep.runs.stack_member import TrackingContext, new_record
from optsweep.runs.status_file import StatusFileProgress
from optsweep.tracking.reading import finished_records, read_sweep
from optsweep.tracking.store import Store
from optsweep.training.evaluation import predict
from support.in_process import new, sweep_here

FIRST = ("optimizer=adam", "lr=3e-2")  # its validation loss rises in epoch 8 for the first time
SECOND = ("optimizer=sgd", "lr=0.1", "seed=1")
SMALL = ("model.hidden=[32]", "epochs=12", "threads=1")


class Interrupted(StoredProgress):
    """Ctrl-C after an epoch, once its checkpoint is written and sent and before it is judged."""

    def __init__(self, store: Store, jobs: Sequence[Job], epoch: int) -> None:
        super().__init__(store, jobs)
        self._last = epoch

    def finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        super().finished(epoch, metrics)
        if epoch == self._last:
            raise KeyboardInterrupt


class Trained:
    """One run that was trained, or two together; with `stop`, interrupted and resumed.

    With `moved` they resume where there is no folder of theirs, from what MLflow holds.
    """

    numbers = itertools.count()

    def __init__(
        self, project: Path, *typed: str, stop: int = 0, both: bool = False, moved: bool = False
    ) -> None:
        folder = str(next(self.numbers))
        choices = [FIRST, SECOND] if both else [FIRST]
        self.jobs = [
            new(project, *SMALL, *typed, *own, folder=f"{folder}/{place}")
            for place, own in enumerate(choices)
        ]
        settings = self.jobs[0].settings
        self.store = Store.open(settings.tracking_uri, settings.experiment)
        if stop:
            with pytest.raises(KeyboardInterrupt):
                self._run(Interrupted(self.store, self.jobs, stop))
            ids = [record.run_id for record in self.records]
            self.jobs = [replace(job, run_id=own) for job, own in zip(self.jobs, ids, strict=True)]
        if moved:
            shutil.rmtree(self.jobs[0].folder.parent)
            for job in self.jobs:
                fetch(self.store, job)
        self._run(StatusFileProgress())

    def _run(self, progress: StatusFileProgress) -> None:
        self.records = [new_record(job) for job in self.jobs]
        run_jobs(self.jobs, self.records, TrackingContext(self.store, figures=False), progress)

    def weights(self) -> list[dict[str, Any]]:
        return [load_file(job.folder / WEIGHTS) for job in self.jobs]

    def read_back(self) -> list[RunRecord]:
        found = [self.store.client.get_run(record.run_id) for record in self.records]
        return finished_records(self.store, found)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.command import copy_project

    return copy_project(tmp_path_factory.mktemp("project") / "project")


def accuracy(job: Job, weights: dict[str, Any]) -> float:
    data = load_dataset(job.settings)
    model = build_model(job.settings, data.input_shape, len(data.classes))
    model.load_state_dict(weights)
    return (predict(model, data, data.test) == data.test.labels).double().mean().item()


@functools.cache
def whole(project: Path, *typed: str, both: bool = True) -> Trained:
    """Runs that nothing interrupted."""
    return Trained(project, *typed, both=both)


@pytest.fixture(scope="module")
def last(project: Path) -> Trained:
    """Both runs together, judged by their last epochs."""
    return whole(project)


@pytest.fixture(scope="module")
def best(project: Path) -> Trained:
    """Both runs together, judged by their best epochs."""
    return whole(project, "select=best")


@pytest.fixture(scope="module")
def patient(project: Path) -> Trained:
    """Both runs together, of which the first ends early."""
    return whole(project, "patience=1")


def at(record: RunRecord, epoch: int) -> dict[str, float]:
    return {name: dict(points)[epoch] for name, points in record.history.items()}


@pytest.mark.long
def test_the_best_epoch_ranks_and_judges_and_its_weights_are_kept(
    last: Trained, best: Trained
) -> None:
    for job, record, weights, plain in zip(
        best.jobs, best.records, best.weights(), last.records, strict=True
    ):
        assert record.history == plain.history
        accuracies = dict(record.history["val/accuracy"])
        expected = min(e for e, value in accuracies.items() if value == max(accuracies.values()))
        assert record.selected_epoch == expected
        assert record.metrics == at(record, expected)
        assert record.correct is not None
        assert record.correct.mean() == record.metrics["test/accuracy"] == accuracy(job, weights)
        assert plain.metrics == at(plain, 12) and plain.selected_epoch is None
    assert min(record.selected_epoch or 99 for record in best.records) < 12


def test_a_run_that_ends_early_keeps_what_it_had_while_others_are_trained_further(
    last: Trained, patient: Trained
) -> None:
    first, second = patient.records
    losses = [value for _, value in last.records[0].history["val/loss"]]
    end = next(e for e in range(2, 13) if losses[e - 1] >= min(losses[: e - 1]))
    assert first.stopped_early and first.sound and first.epochs == end < 12
    assert not second.stopped_early and second.epochs == 12
    for name, points in first.history.items():
        assert points == last.records[0].history[name][:end]
    assert second.history == last.records[1].history
    assert first.correct is not None
    assert first.correct.mean() == first.metrics["test/accuracy"] == at(first, end)["test/accuracy"]
    assert accuracy(patient.jobs[0], patient.weights()[0]) == first.metrics["test/accuracy"]
    assert first.notes.startswith(f"stopped after {end} epochs")


def test_a_run_alone_ends_where_it_ends_in_a_stack(project: Path, patient: Trained) -> None:
    (alone,) = Trained(project, "patience=1").records
    together = patient.records[0]
    assert alone.stopped_early and alone.epochs == together.epochs
    for name, points in alone.history.items():
        assert [epoch for epoch, _ in points] == [epoch for epoch, _ in together.history[name]]
        own = [value for _, value in points]
        assert own == pytest.approx([value for _, value in together.history[name]], abs=0.02)


@pytest.mark.parametrize("kind", ["best", "patient"])
def test_what_is_read_back_is_what_was_trained(kind: str, request: pytest.FixtureRequest) -> None:
    trained: Trained = request.getfixturevalue(kind)
    for found, record in zip(trained.read_back(), trained.records, strict=True):
        assert found.metrics == record.metrics
        assert found.selected_epoch == record.selected_epoch
        assert found.stopped_early == record.stopped_early
        assert replace(found, reused=False).notes == record.notes
        tags = trained.store.client.get_run(record.run_id).data.tags
        selected = tags.get("optsweep.selected_epoch")
        assert selected == (str(record.selected_epoch) if record.selected_epoch else None)
        assert ("optsweep.stopped_early" in tags) == record.stopped_early


_long = functools.partial(pytest.param, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("typed", "options", "stop"),
    [
        _long(("select=best",), {}, 10, id="best alone"),
        _long(("select=best", "checkpoint_every=4"), {"both": True}, 10, id="best"),
        _long(("patience=1",), {"both": True}, 11, id="patience"),
        _long(("select=best", "patience=1"), {"both": True}, 8, id="both"),
        _long(("select=best", "patience=1"), {"both": True, "moved": True}, 10, id="moved"),
    ],
)
def test_an_interrupted_run_resumes_bit_for_bit(
    project: Path, typed: tuple[str, ...], options: dict[str, bool], stop: int
) -> None:
    expected = whole(project, *typed, both=options.get("both", False))
    parts = Trained(project, *typed, stop=stop, **options)
    for one, other in zip(expected.records, parts.records, strict=True):
        assert one.metrics == other.metrics
        assert one.stopped_early == other.stopped_early
        for name, points in one.history.items():
            assert points == other.history[name]
        assert one.correct is not None and other.correct is not None
        assert (one.correct == other.correct).all()
    for mine, others in zip(expected.weights(), parts.weights(), strict=True):
        assert all(torch.equal(tensor, others[name]) for name, tensor in mine.items())


def test_a_run_that_diverges_after_its_best_epoch_is_one_that_diverged(project: Path) -> None:
    job = new(project, "select=best", "optimizer=sgd", "lr=1e30", "epochs=3", folder="diverged")
    store = Store.open(job.settings.tracking_uri, job.settings.experiment)
    record = new_record(job)
    run_jobs([job], [record], TrackingContext(store, figures=False), StatusFileProgress())
    assert record.diverged and record.selected_epoch is None and record.correct is None
    (found,) = finished_records(store, [store.client.get_run(record.run_id)])
    assert found.diverged and found.selected_epoch is None
    assert found.metrics.keys() == record.metrics.keys()


@pytest.mark.long
def test_a_sweep_over_ways_to_select_is_read_back_by_them(tmp_path: Path, project: Path) -> None:
    swept = sweep_here(project, "select=last,best", "model=softmax", "epochs=2", folder=tmp_path)
    store = Store.open(f"sqlite:///{project}/mlflow.db", "optsweep")
    found = read_sweep(store, swept.run_id)
    assert [run.swept["select"] for run in found.runs] == ["last", "best"]
    assert [run.metrics for run in found.runs] == [run.metrics for run in swept.runs]
