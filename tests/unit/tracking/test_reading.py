"""Sweeps are written to real stores, behind a real server too, and read back."""

import functools
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from werkzeug.serving import make_server

from optsweep.cli.commands import report
from optsweep.errors import SettingsError, TrackingError
from optsweep.records.param_values import choices, value_of
from optsweep.records.run import SCORES, RunRecord
from optsweep.tracking.history import histories
from optsweep.tracking.reading import latest_sweep, read_sweep
from optsweep.tracking.store import Store
from support.command import copy_project
from support.records import FOUR, TWELVE, failed, with_runs
from support.stored_sweeps import create, keep


def comparable(run: RunRecord) -> RunRecord:
    """The run without its id, and with NaN as a value that equals itself."""
    history = {
        name: [(epoch, repr(value)) for epoch, value in points]
        for name, points in run.history.items()
    }
    metrics: dict[str, Any] = {name: repr(value) for name, value in run.metrics.items()}
    changes: dict[str, Any] = {"history": history, "metrics": metrics}
    return replace(run, run_id="", seconds=round(run.seconds, 6), **changes)


KEPT = with_runs(
    TWELVE,
    {
        3: failed(TWELVE.runs[3], "ValueError: no", "Traceback\n  line"),
        4: failed(TWELVE.runs[4], "", status="KILLED"),
    },
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose store holds nothing yet, but exists."""
    project = copy_project(tmp_path_factory.mktemp("reading") / "project")
    Store.open(f"sqlite:///{project}/mlflow.db", "optsweep")
    return project


@pytest.fixture(scope="module")
def store(filled: Path) -> Store:
    return Store.open(f"sqlite:///{filled}/mlflow.db", "optsweep")


@pytest.fixture(scope="module")
def kept(store: Store) -> str:
    return keep(store, KEPT)[0]


@pytest.fixture(scope="module")
def second(store: Store, kept: str) -> str:
    """The id of another sweep in the same experiment, started after `kept`."""
    time.sleep(0.002)  # MLflow's clock counts milliseconds
    return keep(store, FOUR)[0]


@pytest.fixture
def fresh(store: Store, request: pytest.FixtureRequest) -> Store:
    """An experiment of the test's own."""
    return Store.open(store.uri, request.node.name)


@pytest.fixture(scope="module")
def server(store: Store) -> Iterator[Store]:
    """The same store behind MLflow's own server, on a port of this machine."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("_MLFLOW_SERVER_FILE_STORE", store.uri)
        patched.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "/nowhere")
        from mlflow.server import app

        listening = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield Store.open(f"http://127.0.0.1:{listening.server_port}", "optsweep")
        listening.shutdown()


def test_a_sweep_comes_back_as_it_was(store: Store, kept: str) -> None:
    found = read_sweep(store, kept)
    assert found.run_id == kept
    assert (found.grid, found.overrides) == (KEPT.grid, KEPT.overrides)
    assert (found.environment, found.common) == (KEPT.environment, KEPT.common)
    assert [comparable(run) for run in found.runs] == [comparable(run) for run in KEPT.runs]
    assert found.command == KEPT.command


def test_a_sweep_comes_back_from_a_server(server: Store, store: Store, kept: str) -> None:
    found = read_sweep(server, kept)
    expected = [comparable(replace(run, output="")) for run in KEPT.runs]
    assert [comparable(replace(run, output="")) for run in found.runs] == expected
    assert latest_sweep(server) == latest_sweep(
        Store(server.uri, server.experiment_id, server.client)
    )


def test_a_server_that_holds_back_is_asked_for_less_at_a_time(server: Store, kept: str) -> None:
    ids = [run.info.run_id for run in server.find(kind="run", parent=kept)]
    whole = histories(server, ids, ["val/accuracy"])
    assert sum(map(len, whole.values())) == 10  # two runs of the twelve have no point
    for most in (40, 3):  # of five points a run: for some runs at a time, then for none
        with patch("optsweep.tracking.history._SERVER_POINTS", most):
            assert histories(server, ids, ["val/accuracy"]) == whole


def test_a_server_without_the_bulk_route_is_asked_run_by_run(server: Store, kept: str) -> None:
    ids = [run.info.run_id for run in server.find(kind="run", parent=kept)][:2]
    whole = histories(server, ids, SCORES)
    with patch("optsweep.tracking.history._BULK", "/ajax-api/2.0/mlflow/no-such-route"):
        assert histories(server, ids, SCORES) == whole


def test_reading_costs_no_query_for_each_run(fresh: Store) -> None:
    few, many = keep(fresh, FOUR)[0], keep(fresh, TWELVE)[0]
    calls: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(SqlAlchemyStore, name)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return original(*args, **kwargs)

        return call

    names = ("_search_runs", "get_run", "get_metric_history", "get_metric_history_bulk")
    asked = []
    for run_id in (few, many):
        calls.clear()
        replaced: dict[str, Any] = {name: counted(name) for name in names}
        with patch.multiple(SqlAlchemyStore, **replaced):
            read_sweep(fresh, run_id)
        asked.append(sorted(calls))
    assert asked[0] == asked[1]
    assert not {"get_run", "get_metric_history"} & set(asked[0])
    with patch("optsweep.tracking.history._IN_A_QUERY", 5):
        assert len(read_sweep(fresh, many).runs) == 12


def test_a_run_that_was_resumed_has_each_point_once(fresh: Store) -> None:
    """MLflow stores a point that is logged again with another timestamp twice."""
    run_id = create(fresh, "run", {}, {})
    for moment, value in ((1, 0.1), (2, 0.2)):
        fresh.client.log_batch(run_id, metrics=[Metric("val/loss", value, moment, 1)])
    assert histories(fresh, [run_id], ["val/loss"]) == {run_id: {"val/loss": [(1, 0.2)]}}


def test_a_run_that_diverged_at_once_has_nan_for_the_loss_that_was_left_out(fresh: Store) -> None:
    nan = math.nan
    history = {"train/loss": [(1, nan)], "train/accuracy": [(1, 0.1)]}
    scores = {name: points[-1][1] for name, points in history.items()}
    wild = replace(FOUR.runs[0], history=history, metrics=scores, diverged=True)
    sweep, _ = keep(fresh, replace(FOUR, runs=[wild]))
    (found,) = read_sweep(fresh, sweep).runs
    assert comparable(found) == comparable(wild)


def test_runs_reused_from_earlier_sweeps_belong_to_it(fresh: Store) -> None:
    half = [replace(FOUR, runs=FOUR.runs[:2]), replace(FOUR, runs=FOUR.runs[2:])]
    _, ids = keep(fresh, half[0])
    second, own = keep(fresh, half[1], reused=f'["{ids[0]}"]', **{"reused.1": f'["{ids[1]}"]'})
    found = read_sweep(fresh, second)
    assert [(run.run_id, run.reused) for run in found.runs] == [
        (ids[0], True), (ids[1], True), (own[0], False), (own[1], False),
    ]  # fmt: skip


def test_a_list_of_reused_runs_that_mlflow_cut_gives_the_rest(fresh: Store) -> None:
    _, ids = keep(fresh, replace(FOUR, runs=FOUR.runs[:2]))
    sweep, _ = keep(fresh, replace(FOUR, runs=[]), reused=f'["{ids[0]}", "{ids[1][:9]}')
    assert [run.run_id for run in read_sweep(fresh, sweep).runs] == [ids[0]]


def test_the_latest_sweep_is_the_one_started_last(fresh: Store) -> None:
    with pytest.raises(SettingsError, match="holds no sweep yet; start one with python"):
        latest_sweep(fresh)
    keep(fresh, replace(FOUR, runs=[]))
    time.sleep(0.002)  # MLflow's clock counts milliseconds
    last, _ = keep(fresh, FOUR)
    assert latest_sweep(fresh) == last


def test_what_is_no_sweep_is_refused_with_what_there_is(store: Store, kept: str) -> None:
    with pytest.raises(SettingsError, match=rf"sweep=\w+ is a run of a sweep; type sweep={kept}"):
        read_sweep(store, store.find(kind="run", parent=kept)[0].info.run_id)
    lone = create(store, "lone", {"optsweep.kind": "run"}, {})
    with pytest.raises(SettingsError, match="is a run and not a sweep"):
        read_sweep(store, lone)
    for unknown in ("0" * 32, "it's", "", "x' OR '1"):
        with pytest.raises(SettingsError, match=rf"no run of this experiment.*{kept} \(the sweep"):
            read_sweep(store, unknown)


def test_a_store_that_fails_is_one_readable_error(fresh: Store) -> None:
    sweep, _ = keep(fresh, FOUR)
    with (
        patch.object(SqlAlchemyStore, "get_metric_history_bulk", side_effect=OSError("gone")),
        pytest.raises(TrackingError, match=r"mlflow\.db failed: gone"),
    ):
        read_sweep(fresh, sweep)


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


@given(st.one_of(PLAIN, st.lists(PLAIN, max_size=4), st.dictionaries(st.text(max_size=3), PLAIN)))
def test_what_python_writes_is_read_back(value: Any) -> None:
    found = value_of(str(value))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["adam", "", "1_000", "0x10", "007x", "'quoted'", "nan", "inf", "1e999", "[1, 2", "(" * 5000,
     "__import__('os').system('true')", "[open('x')]", "1+1", " 1", "٣", "9" * 5000],
)  # fmt: skip
def test_other_texts_stay_texts(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sgd,adam", ["sgd", "adam"]),
        ("0.001,0.1,10", [0.001, 0.1, 10]),
        ("[16],[512, 512]", [[16], [512, 512]]),
        ("None,True", [None, True]),
        ('["a", "b"]', ["a", "b"]),
        ("{'a': 1, 'b': 2},x", [{"a": 1, "b": 2}, "x"]),
        pytest.param("12345," * 999 + "123", [12345] * 999 + [123], id="nearly too long"),
        pytest.param("1234567," * 749 + "12345678", [1234567] * 749, id="cut"),
    ],
)
def test_choices_are_split_outside_of_brackets(text: str, expected: Sequence[Any]) -> None:
    assert choices(text) == expected


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], ModuleType]:
    """What experiments/report.py of a project calls."""

    def started(project: Path) -> ModuleType:
        monkeypatch.setattr(sys, "argv", [str(project / "experiments" / "report.py")])
        return report

    return started


@pytest.mark.long
def test_the_command_rebuilds_a_report_from_the_store(
    filled: Path,
    kept: str,
    script: Callable[[Path], ModuleType],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert script(filled).main([f"sweep={kept}"]) == 0
    out = capsys.readouterr().out
    page = filled / "outputs" / "reports" / kept / "report.html"
    assert out.splitlines()[-1] == f"report  {page}"
    assert "Best of 12 runs" in out and "ValueError: no" in out
    assert "Best of 12 runs" in page.read_text()
    assert {path.name for path in (page.parent / "figures").iterdir()} == {
        "verdict.png", "learning_curves.png", "learning_rates.png", "heat_map.png",
    }  # fmt: skip


@pytest.mark.long
def test_the_latest_and_several_sweeps_together(
    filled: Path,
    kept: str,
    second: str,
    script: Callable[[Path], ModuleType],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert latest_sweep(Store.open(f"sqlite:///{filled}/mlflow.db", "optsweep")) == second
    assert script(filled).main([f"out={tmp_path}/latest"]) == 0
    assert "Best of 4 runs" in capsys.readouterr().out
    assert script(filled).main([f"sweep={kept},latest", f"out={tmp_path}/both"]) == 0
    assert "Best of 16 runs" in capsys.readouterr().out
    assert (tmp_path / "both" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["swep=x"], "swep=x: there is no such argument; did you mean sweep=?"),
        (["latest"], "latest: there is no such argument"),
        (["sweep="], "sweep=: a value is missing; type sweep=VALUE"),
        (["sweep"], "sweep: a value is missing"),
        (["sweep=,"], "sweep=,: "),
        (["sweep=a", "sweep=b"], "sweep is given twice: a and b; type one"),
        (["sweep=abc"], "sweep=abc is no run of this experiment"),
        (["sweep=latest,abc"], "sweep=abc is no run of this experiment"),
        (["tracking.uri=sqlite:////no/such/mlflow.db"], "there is no such store"),
        (["tracking.uri=nonsense"], "nonsense"),
        (["out=/proc/no/folder"], "/proc/no"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str],
    expected: str,
    filled: Path,
    second: str,
    script: Callable[[Path], ModuleType],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert script(filled).main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert expected in captured.err


def test_no_sweep_yet_is_one_line_and_leaves_no_store(
    project: Path,
    script: Callable[[Path], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (project / "mlflow.db").unlink()
    assert script(project).main([]) == 2
    assert "there is no such store; start a sweep with python" in capsys.readouterr().err
    assert not list(project.glob("mlflow.db*"))


def test_help_names_every_argument_and_the_store_in_use(
    project: Path,
    script: Callable[[Path], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@host:5000")
    assert script(project).main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("sweep=ID", "latest", "out ", "tracking.experiment"))
    assert "http://ann:***@host:5000" in text


def test_reading_needs_no_global_of_mlflow(store: Store, kept: str) -> None:
    """The address of the store is the one given, not one that a program set for MLflow."""
    assert isinstance(store.client, MlflowClient)
    with patch.dict(os.environ, {"MLFLOW_TRACKING_URI": "sqlite:////no/such/place.db"}):
        assert len(read_sweep(store, kept).runs) == 12


def test_tags_of_mlflow_name_the_commit(fresh: Store) -> None:
    sweep, _ = keep(fresh, FOUR)
    commit = [RunTag("mlflow.source.git.commit", "abc")]
    fresh.client.log_batch(sweep, tags=commit)
    assert read_sweep(fresh, sweep).environment["commit"] == "abc"
