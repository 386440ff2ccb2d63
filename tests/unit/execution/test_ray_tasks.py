"""What the Ray executor makes of what Ray answers, which is a fake here."""

import io
import pickle
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from optsweep.config.launchers import RayLaunch
from optsweep.execution.executor import Crashed, Task
from optsweep.execution.ray.executor import RayTasks
from optsweep.execution.ray.node import Errand, Parcel, unpack
from support.in_process import job_in

_KINDS = (
    "OutOfMemoryError WorkerCrashedError NodeDiedError TaskCancelledError ObjectLostError "
    "RaySystemError"
)


class FakeRay:
    """A cluster of one node, whose tasks end when a test says so: `called`, by what each is of."""

    def __init__(self) -> None:
        self.exceptions = SimpleNamespace(
            **{name: type(name, (Exception,), {}) for name in _KINDS.split()}
        )
        self.objects: dict[str, Any] = {}
        self.called: list[tuple[Any, ...]] = []
        self.running: list[Future[Any]] = []
        self.cancelled: list[Any] = []
        self.alive = True
        self.cancel: Callable[..., None] = lambda reference, force: self.cancelled.append(reference)

    def is_initialized(self) -> bool:
        return True

    def shutdown(self) -> None:
        pass

    def nodes(self) -> list[dict[str, Any]]:
        node = {"Resources": {"CPU": 8.0}, "NodeManagerHostname": "elsewhere"}
        return [{"Alive": self.alive, **node}]

    def put(self, value: Any) -> str:
        self.objects[f"object {len(self.objects)}"] = value
        return f"object {len(self.objects) - 1}"

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        return lambda function: SimpleNamespace(remote=self._call)

    def wait(self, references: list[Any], **options: Any) -> None:
        pass

    def _call(self, *arguments: Any) -> Any:
        future: Future[Any] = Future()
        self.called.append(arguments)
        self.running.append(future)
        return _Reference(future)

    def end(self, place: int, outcome: Any) -> None:
        """Ends a task, by its place among all."""
        self.running[place].set_result(outcome)


class _Reference:
    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def future(self) -> "Future[Any]":
        return self._future


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    # Real before fake: a thread that outlives its test finds `ray` there and imports no half of it.
    pytest.importorskip("ray")
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr("optsweep.execution.ray.executor._GLANCE", 0.02)
    return fake


@pytest.fixture
def tasks(ray: FakeRay) -> Iterator[RayTasks]:
    made = RayTasks(RayLaunch(workers=2), 2, print)
    yield made
    made._closing.set()


def submitted(tasks: RayTasks, folder: Path, count: int = 1) -> list["Future[Any]"]:
    """The futures of so many tasks, which were started as far as they may be."""
    task = Task([job_in(folder)], "http://lab:hunter2@tracker", "1", None, "", False)
    futures = [tasks.submit(task) for _ in range(count)]
    tasks.start()
    return futures


def packed(*members: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> Any:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def test_a_runs_files_are_unpacked_but_for_links_that_leave_its_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [
        member("absolute", tarfile.SYMTYPE, "/etc/passwd"),
        member("above", tarfile.SYMTYPE, "../../x"),
        member("../outside", size=1),
        member("device", tarfile.CHRTYPE),
    ]
    good = [member("kept", size=3), member("link", tarfile.SYMTYPE, "kept"), member("last", size=2)]
    unpack(packed(good[0], *odd, *good[1:]), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"kept", "link", "last"}
    assert (tmp_path / "run" / "link").read_text() == "xxx"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len(caplog.records) == len(odd)
    assert "absolute is not copied from its node" in caplog.text


@pytest.mark.parametrize("broken", ["files", "parcel"])
def test_whatever_a_task_sends_back_its_future_is_settled(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path, broken: str
) -> None:
    (future,) = submitted(tasks, tmp_path)
    files = b"no archive" if broken == "files" else packed()
    sent = Parcel([], {str(tmp_path): files})
    ray.end(0, sent if broken == "files" else None)
    with pytest.raises(Crashed, match="its result cannot be read"):
        future.result(timeout=10)


def test_files_of_a_run_are_laid_into_its_own_folder_alone(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path
) -> None:
    (future,) = submitted(tasks, tmp_path / "run")
    files = packed(member("kept", size=3))
    ray.end(0, Parcel([], {str(tmp_path / "run"): files, str(tmp_path / "other"): files}))
    assert future.result(timeout=10) == []
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("said", ["", "\n", "odd\n"])
def test_a_task_that_failed_without_a_word_is_named_by_its_error(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path, said: str
) -> None:
    (future,) = submitted(tasks, tmp_path)
    ray.running[0].set_exception(ValueError(said))
    with pytest.raises(Crashed, match=said.strip() or "ValueError"):
        future.result(timeout=10)


def test_max_parallel_holds_for_all_tasks_of_a_sweep(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path
) -> None:
    futures = submitted(tasks, tmp_path, 4)
    for ended in range(4):
        assert len(ray.called) == min(4, 2 + ended)
        ray.end(ended, Parcel([], {}))
        tasks.start()
    assert [future.result(timeout=10) for future in futures] == [[]] * 4


def test_a_task_that_is_given_up_is_not_started_when_a_node_is_back(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optsweep.execution.ray.executor._PATIENCE", 0.05)
    (future,) = submitted(tasks, tmp_path)

    def cancel(reference: Any, force: bool) -> None:
        ray.cancelled.append(reference)
        ray.running[0].set_exception(ray.exceptions.TaskCancelledError())

    ray.cancel = cancel
    ray.alive = False
    with pytest.raises(Crashed, match="no node of the Ray cluster has CPU 1 any more"):
        future.result(timeout=10)
    assert len(ray.cancelled) == 1


def test_an_error_of_the_watching_thread_settles_all_that_is_owed(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    futures = submitted(tasks, tmp_path, 2)
    monkeypatch.setattr("optsweep.execution.ray.executor._PATIENCE", "a minute")
    for future in futures:
        with pytest.raises(Crashed, match="watching over it failed"):
            future.result(timeout=10)


def test_a_cluster_that_is_gone_when_a_task_is_sent_has_crashed_it(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(value: object) -> None:
        raise ray.exceptions.RaySystemError("gone")

    monkeypatch.setattr(ray, "put", gone)
    (future,) = submitted(tasks, tmp_path)
    with pytest.raises(Crashed, match="the Ray cluster is gone"):
        future.result(timeout=10)


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_stopping_ends_whatever_ray_does(
    ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("optsweep.execution.ray.executor._END", 0.2)
    hung = threading.Event()

    def cancel(reference: Any, force: bool) -> None:
        if how == "raises":
            raise ConnectionError("the cluster is gone")
        hung.wait(60)

    ray.cancel = cancel
    said: list[str] = []
    tasks = RayTasks(RayLaunch(), 2, said.append)
    submitted(tasks, tmp_path)
    tasks.stop()
    hung.set()
    assert "cancelling 1 Ray tasks" in said
    assert "Ray does not confirm the end of its tasks" in said[-1]


def test_no_task_is_called_with_a_secret(
    ray: FakeRay, tasks: RayTasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    submitted(tasks, tmp_path)
    (called,) = ray.called
    assert b"hunter2" not in pickle.dumps(called)
    errand: Errand = ray.objects[called[0]]
    assert errand.environment["MLFLOW_TRACKING_PASSWORD"] == "hunter2"
