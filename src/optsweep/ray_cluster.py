"""Carries tasks out on a Ray cluster: one there is already, or one that is started for the sweep.

Ray starts a run where the resources that it asks for are free, and is never to repeat one by
itself: a run is not repeated by chance, it is gone on with. What a run leaves in its folder comes
back through Ray with its result, and its checkpoints wait in MLflow, unless all nodes see the
sweep's folder.
"""

import io
import logging
import os
import socket
import sys
import tarfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optsweep.address import PATIENCE
from optsweep.engines import RayLaunch
from optsweep.errors import SettingsError, StackFailed, first_line
from optsweep.executors import Crashed
from optsweep.results import RunRecord
from optsweep.worker import Task

_GLANCE = 10.0  # seconds between two looks at the cluster
_PATIENCE = 60.0  # seconds that a run waits for a node which could take it


def join(launch: RayLaunch) -> None:
    """Connects this process to the cluster, or starts one on this machine.

    Raises:
        SettingsError: Ray is missing, does not answer, or has no node for such a run.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise SettingsError(
            "hydra/launcher=ray needs ray; type pip install 'optsweep[ray]'"
        ) from None
    # Ray's own environment for workers would copy this folder to each node, secrets included.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if ray.is_initialized():
        return
    _refuse_silent(launch.address)
    quiet: Any = {"log_to_driver": False, "configure_logging": False}
    try:
        with redirect_stderr(io.StringIO()):  # what it says of itself; what is wrong, it raises
            if launch.address == "local":
                ray.init(address="local", include_dashboard=False, **quiet)
            elif launch.address.startswith("ray://"):
                ray.init(address=launch.address, log_to_driver=False)
            else:
                ray.init(address=launch.address, **quiet)
    except Exception as error:  # it raises a kind of its own for each way not to answer
        raise _silent(launch.address, error) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    if not _takers(launch):
        _leave()
        raise SettingsError(
            f"hydra/launcher=ray: no node has {_words(_needs(launch))} for a run; type less for "
            "hydra.launcher.cpus, gpus, memory or resources"
        )


def _refuse_silent(address: str) -> None:
    """Tries an address that names a port: Ray would try it for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise _silent(address, error) from error


def _silent(address: str, error: Exception) -> SettingsError:
    return SettingsError(
        f"hydra.launcher.address={address}: no Ray cluster answers ({first_line(error)}); "
        "start one with ray start --head, or type hydra.launcher.address=local"
    )


def hosts(launch: RayLaunch) -> set[str]:
    """The machines on which a run may start."""
    return {str(node["NodeManagerHostname"]) for node in _takers(launch)}


def shares_folder(launch: RayLaunch) -> bool:
    """Whether all nodes see the sweep's folder: as was said, or those of one machine do."""
    if launch.shared is not None:
        return launch.shared
    return hosts(launch) <= {socket.gethostname()}


def _leave() -> None:
    import ray

    ray.shutdown()


def _needs(launch: RayLaunch) -> dict[str, float]:
    """What a run takes of a node, under Ray's names."""
    needs = {"CPU": launch.cpus, "GPU": launch.gpus, **launch.resources}
    if launch.memory is not None:
        needs["memory"] = launch.memory * 2**30
    return {name: float(amount) for name, amount in needs.items() if amount}


def _words(needs: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in needs.items())


def _takers(launch: RayLaunch) -> list[Mapping[str, Any]]:
    """The living nodes that are large enough for a run."""
    needs = _needs(launch).items()
    return [
        node
        for node in _nodes()
        if node["Alive"] and all(node["Resources"].get(name, 0) >= amount for name, amount in needs)
    ]


def _nodes() -> list[Mapping[str, Any]]:
    import ray

    return list(ray.nodes())  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Parcel:
    """What a run sends back: its records, or how its stack failed; and its folders' files."""

    outcome: list[RunRecord] | StackFailed
    folders: Mapping[str, bytes]


class RayTasks:
    """Tasks of a Ray cluster that `join` has connected to."""

    def __init__(self, launch: RayLaunch, workers: int, say: Callable[[str], None]) -> None:
        import ray

        join(launch)
        self.workers = workers
        self._launch = launch
        self._say = say
        self._running: dict[Any, Future[list[RunRecord]]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._shared = shares_folder(launch)
        needs: Any = _needs(launch)
        # max_retries=0: Ray would repeat a run whose process died, three times and silently.
        self._carry = ray.remote(
            num_cpus=needs.pop("CPU", 0),
            num_gpus=needs.pop("GPU", 0),
            memory=needs.pop("memory", None),
            resources=needs,
            max_retries=0,
            max_calls=100,
        )(_carry)
        threading.Thread(target=self._watch_nodes, daemon=True).start()

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Hands the task to Ray, which starts it where there is room."""
        future: Future[list[RunRecord]] = Future()
        future.set_running_or_notify_cancel()
        secrets = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
        around = {"environment": secrets, "path": [entry for entry in sys.path if entry]}
        reference = self._carry.remote(task, self._launch.timeout, self._shared, around)
        with self._lock:
            self._running[reference] = future
        reference.future().add_done_callback(lambda done: self._settle(reference, done))
        return future

    def start(self) -> None:
        """Ray starts a task by itself."""

    def stop(self) -> None:
        """Ends the running tasks' processes and drops waiting ones."""
        import ray

        self._closing.set()
        with self._lock:
            running = list(self._running)
            self._running.clear()
        if running:
            self._say(f"cancelling {len(running)} Ray tasks")
        for reference in running:
            ray.cancel(reference, force=True)
        if running:
            ray.wait(running, num_returns=len(running), timeout=30)
        _leave()

    def close(self) -> None:
        """Leaves the cluster, all tasks being done."""
        self._closing.set()
        _leave()

    def _settle(self, reference: Any, done: "Future[Any]") -> None:
        with self._lock:
            future = self._running.pop(reference, None)
        if future is None:  # stopped, or given up
            return
        error = done.exception()
        if error is not None:
            future.set_exception(Crashed(_how(error)))
            return
        parcel: Parcel = done.result()
        try:
            for folder, files in parcel.folders.items():
                _unpack(files, Path(folder))
        except OSError as failure:
            future.set_exception(failure)
            return
        if isinstance(parcel.outcome, StackFailed):
            future.set_exception(parcel.outcome)
        else:
            future.set_result(parcel.outcome)

    def _watch_nodes(self) -> None:
        """Gives tasks up that no node of the cluster could take any more."""
        missed = 0.0
        while not self._closing.wait(_GLANCE):
            try:
                missed = 0.0 if _takers(self._launch) else missed + _GLANCE
            except Exception:  # a cluster that is gone raises what it likes
                missed += _GLANCE
            if missed < _PATIENCE:
                continue
            with self._lock:
                given_up, self._running = dict(self._running), {}
            for future in given_up.values():
                words = _words(_needs(self._launch))
                future.set_exception(Crashed(f"no node of the Ray cluster has {words} any more"))


def _how(error: BaseException) -> str:
    """What became of a task's process, in words."""
    import ray

    kinds: dict[type[BaseException], str] = {
        ray.exceptions.OutOfMemoryError: "its process was killed by Ray: its node had no memory",
        ray.exceptions.WorkerCrashedError: "its process was killed",
        ray.exceptions.NodeDiedError: "its node died",
        ray.exceptions.TaskCancelledError: "it was cancelled",
        ray.exceptions.ObjectLostError: "its node died, and its result with it",
        ray.exceptions.RaySystemError: "the Ray cluster is gone",
    }
    for kind, words in kinds.items():
        if isinstance(error, kind):
            return words
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"Ray could not carry it out: {lines[-1].strip()}"


def _carry(task: Task, timeout: float | None, shared: bool, around: Mapping[str, Any]) -> Parcel:
    """What happens on a node: the task is carried out as in any other worker."""
    os.environ.update(around["environment"])
    sys.path.extend(entry for entry in around["path"] if entry not in sys.path)
    from optsweep.checkpoint_store import StoredProgress, fetch, forget
    from optsweep.worker import attached, carry, log_to_output

    log_to_output()
    store = attached(task.uri, task.experiment_id)
    progress = None
    if not shared:
        for job in task.jobs:
            fetch(store, job)
        progress = StoredProgress(store, task.jobs)
    outcome: list[RunRecord] | StackFailed
    try:
        outcome = carry(task, timeout, progress)
        if not shared:
            forget(store, [record.run_id for record in outcome if record.status == "FINISHED"])
    except StackFailed as failure:
        outcome = failure
    folders = {} if shared else {str(job.folder): _pack(job.folder) for job in task.jobs}
    return Parcel(outcome, folders)


def _pack(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder, arcname=".")
    return packed.getvalue()


def _unpack(files: bytes, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter="data")
