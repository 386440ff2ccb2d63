"""The functions that programs import: sweeps as tables, and what is refused."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import optsweep
from optsweep import api
from optsweep.api import LoadedSweep
from optsweep.errors import OptsweepError, RunsFailed, SettingsError
from optsweep.execution import command_line
from optsweep.execution.command_line import Ended
from optsweep.report.table_csv import table_csv
from optsweep.sweep import resume  # imports torch, which a test that starts no process cannot
from optsweep.system import folders, project_folder
from optsweep.tracking.reading import read_sweep
from optsweep.tracking.store import Store
from optsweep.verdict.ranking import ranked_runs
from support.records import FOUR, SIXTY, failed, with_runs
from support.stored_sweeps import keep

Calls = list[tuple[Sequence[str], Path, Mapping[str, str]]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def store(here: Path) -> Store:
    return Store.open(f"sqlite:///{here}/mlflow.db", "optsweep")


@pytest.fixture
def ending(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Calls]:
    """Lets the command end as it is said, with a sweep that is in the store."""

    def end(code: int, error: str = "", sweep: str = "") -> Calls:
        calls: Calls = []

        def run(*called: Any) -> Ended:
            calls.append(called)
            content = {"sweep": sweep, "uri": store.uri, "experiment_id": store.experiment_id}
            return Ended(code, error, content if sweep else None)

        monkeypatch.setattr(command_line, "run_command", run)
        return calls

    return end


def test_the_function_is_not_hidden_by_the_package_of_its_name() -> None:
    assert resume.__name__ == "optsweep.sweep.resume"
    assert optsweep.sweep is api.sweep


@pytest.mark.long
def test_the_latest_sweep_is_read_as_tables(store: Store) -> None:
    keep(store, FOUR)
    run_id, _ = keep(store, SIXTY)
    loaded = optsweep.load_sweep()
    assert loaded.id == run_id
    runs, history = loaded.runs, loaded.history
    assert runs.to_csv(index=False).splitlines()[0] == table_csv(SIXTY.runs).splitlines()[0]
    assert list(runs["run"]) == [run.name for run in ranked_runs(read_sweep(store, run_id).runs)]
    assert runs["val/accuracy"].max() == max(run.metrics["val/accuracy"] for run in SIXTY.runs)
    assert set(runs["status"]) == {"FINISHED"} and runs["lr"].dtype == float
    first = SIXTY.runs[0]
    own = history[history["run"] == first.name]
    assert (
        list(zip(own["epoch"], own["val/accuracy"], strict=True)) == first.history["val/accuracy"]
    )
    assert len(history) == 60 * 5 and set(history["optimizer"]) == {"sgd", "adam", "rmsprop"}


@pytest.mark.long
def test_a_verdict_prints_as_its_answer(store: Store) -> None:
    keep(store, SIXTY)
    verdict = optsweep.load_sweep("latest").verdict
    assert str(verdict).splitlines()[0] == verdict.lines[0]
    assert str(verdict).startswith("Undecided between adam and rmsprop.")
    assert str(verdict) == repr(verdict)
    assert "add confirm=5 resume=true to the command" in str(verdict)
    assert verdict.data.runs == 60


@pytest.mark.long
def test_a_sweep_is_named_by_its_folder_or_id(store: Store, here: Path) -> None:
    folder = here / "outputs" / "first"
    run_id, _ = keep(store, FOUR, folder=str(folder), plan="p")
    keep(store, SIXTY)
    folders.claim(folder, "p", "")
    named: list[str | Path] = [run_id, folder, "outputs/first"]
    assert {optsweep.load_sweep(each).id for each in named} == {run_id}
    (folder / "report.html").write_text("kept")
    assert optsweep.load_sweep(run_id).report() == folder / "report.html"


def test_a_report_is_made_where_the_folder_is_gone(store: Store, here: Path) -> None:
    run_id, _ = keep(store, FOUR)
    page = optsweep.load_sweep().report()
    assert page == here / "outputs" / "reports" / run_id / "report.html"
    assert "optsweep -m optimizer=sgd,adam" in page.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sweep": "0" * 32}, f"sweep={'0' * 32} is no run of this experiment"),
        ({"experiment": "other"}, "holds no experiment other; run a sweep first"),
        ({"project": "missing"}, "there is no such folder"),
        ({"sweep": "empty"}, "is the folder of no sweep"),
        ({"tracking_uri": "sqlite:///no.db"}, "sqlite:///no.db holds no experiment optsweep"),
        ({}, "start one with optsweep -m"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    store: Store, here: Path, options: dict[str, str], words: str
) -> None:
    (here / "empty").mkdir()
    with pytest.raises(SettingsError) as raised:
        optsweep.load_sweep(**options)
    assert words in str(raised.value) and "\n" not in str(raised.value)
    assert not (here / "no.db").exists()


def test_another_project_or_store_can_be_named(
    store: Store, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, _ = keep(store, FOUR)
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert optsweep.load_sweep(project=here).id == run_id
    assert optsweep.load_sweep(tracking_uri=store.uri).id == run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    assert optsweep.load_sweep().id == run_id
    assert not project_folder.is_installed()


def test_overrides_are_split_as_a_shell_splits_them(
    store: Store, ending: Callable[..., Calls], here: Path
) -> None:
    run_id, _ = keep(store, FOUR)
    calls = ending(0, sweep=run_id)
    found = optsweep.sweep(
        "lr=1e-3,1e-1 'model.hidden=[16]'", experiment="it's", tracking_uri="sqlite:///a.db"
    )
    assert isinstance(found, LoadedSweep) and found.id == run_id
    typed = ["-m", "lr=1e-3,1e-1", "model.hidden=[16]", "tracking.experiment='it\\'s'"]
    assert calls == [(typed, here, {"MLFLOW_TRACKING_URI": "sqlite:///a.db"})]
    optsweep.sweep(["a=1 2"])
    assert calls[-1][0] == ["-m", "a=1 2"]
    with pytest.raises(SettingsError, match="No closing quotation"):
        optsweep.sweep("lr='1")


def test_a_sweep_some_of_whose_runs_failed_is_returned(
    store: Store, ending: Callable[..., Calls], capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, _ = keep(store, with_runs(FOUR, {0: failed(FOUR.runs[0], "it broke")}))
    ending(1, "1 of 4 runs did not finish", run_id)
    assert list(optsweep.sweep("lr=1").runs["status"]).count("FAILED") == 1
    assert capsys.readouterr().err == "1 of 4 runs did not finish\n"


def test_a_sweep_none_of_whose_runs_finished_raises(
    store: Store, ending: Callable[..., Calls]
) -> None:
    broken = {place: failed(run, "it broke") for place, run in enumerate(FOUR.runs)}
    run_id, _ = keep(store, with_runs(FOUR, broken))
    ending(1, "4 of 4 runs did not finish", run_id)
    with pytest.raises(RunsFailed, match="4 of 4"):
        optsweep.sweep("lr=1")


@pytest.mark.parametrize(
    ("code", "error", "kind", "words"),
    [
        (2, "lrr=1: did you mean lr=?", SettingsError, "did you mean lr="),
        (0, "", SettingsError, "optsweep -m lr=1 runs no sweep"),
        (1, "", RunsFailed, "exit code 1"),
        (-9, "", RunsFailed, "exit code -9"),
        (143, "", RunsFailed, "resume=true resumes it"),
    ],
)
def test_how_the_command_ended_is_raised(
    ending: Callable[..., Calls], code: int, error: str, kind: type[OptsweepError], words: str
) -> None:
    ending(code, error)
    with pytest.raises(kind) as raised:
        optsweep.sweep("lr=1")
    assert words in str(raised.value)


def test_an_interrupted_sweep_interrupts(ending: Callable[..., Calls]) -> None:
    ending(130)
    with pytest.raises(KeyboardInterrupt):
        optsweep.sweep("lr=1")


def test_an_answer_goes_to_the_program_that_waits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.answer({"sweep": "1"})
    reading, writing = os.pipe()
    monkeypatch.setenv("OPTSWEEP_ANSWER", str(writing))
    command_line.answer({"sweep": "2"})
    assert json.loads(os.read(reading, 100)) == {"sweep": "2"}
    os.close(reading)
    command_line.answer({"sweep": "3"})
    os.close(writing)
