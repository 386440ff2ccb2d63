"""Runs tasks on a Ray cluster: a running one, or one that is started for the sweep.

Ray starts a run where the resources that it asks for are free. Ray's own retries are off: the
scheduler retries a run, which then resumes. The files of a run's folder come back through Ray with
its result, and its checkpoints wait in MLflow, unless all nodes see the sweep's folder.
"""

import io
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stderr
from typing import Any

from optsweep.config.launchers import RayLaunch
from optsweep.errors import SettingsError, StackFailed, TaskFailed
from optsweep.execution.executor import Crashed, Task
from optsweep.execution.pending_tasks import Pending, ended_within, last_line, watch
from optsweep.execution.ray.node import Errand, Parcel, run_errand, unpack
from optsweep.records.run import RunRecord
from optsweep.system.exceptions import first_line
from optsweep.system.redaction import redact
from optsweep.tracking.timeouts import PATIENCE

_GLANCE = 10.0  # seconds between two looks at the cluster
_PATIENCE = 60.0  # seconds that a run waits for a node which could take it
_END = 60.0  # seconds that Ray is given to end tasks


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
        # What Ray says of itself goes nowhere; what is wrong, it raises.
        with redirect_stderr(io.StringIO()), _command_redacted():
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


@contextmanager
def _command_redacted() -> Iterator[None]:
    """Has Ray, which lists the command line of who connects for all its users, list no password."""
    from ray._private import utils

    typed: Callable[[], str] = utils.get_entrypoint_name
    utils.get_entrypoint_name = lambda: redact(typed())
    try:
        yield
    finally:
        utils.get_entrypoint_name = typed


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


class RayTasks:
    """Tasks of a Ray cluster that `join` has connected to."""

    def __init__(self, launch: RayLaunch, workers: int, say: Callable[[str], None]) -> None:
        import ray

        join(launch)
        self.workers = workers
        self._launch = launch
        self._say = say
        self._pending = Pending[Any](launch.workers)
        self._missed = 0.0
        self._closing = threading.Event()
        self._shared = shares_folder(launch)
        needs: Any = _needs(launch)
        # max_retries=0: Ray would repeat a run whose process died, three times and silently.
        self._remote = ray.remote(
            num_cpus=needs.pop("CPU", 0),
            num_gpus=needs.pop("GPU", 0),
            memory=needs.pop("memory", None),
            resources=needs,
            max_retries=0,
            max_calls=100,
        )(run_errand)
        watch(self._look_at_nodes, _GLANCE, self._closing, self._give_up)

    def submit(self, task: Task) -> "Future[list[RunRecord]]":
        """Keeps the task for `start`."""
        return self._pending.add(task)

    def start(self) -> None:
        """Hands what is kept to Ray, as far as it may run now; Ray starts it where it can."""
        for task, future in self._pending.next(sys.maxsize):
            self._send(task, future)

    def stop(self) -> None:
        """Ends the running tasks' processes and drops waiting ones, in a minute at most."""
        self._closing.set()
        if references := self._pending.forget():
            self._say(f"cancelling {len(references)} Ray tasks")
        if not ended_within(_END, lambda: _end(references)):
            self._say("Ray does not confirm the end of its tasks; they end with this process")

    def close(self) -> None:
        """Leaves the cluster, all tasks being done."""
        self._closing.set()
        ended_within(_END, _leave)

    def _send(self, task: Task, future: "Future[list[RunRecord]]") -> None:
        import ray

        secrets = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
        path = [entry for entry in sys.path if entry]
        errand = Errand(task, self._launch.timeout, self._shared, secrets, path)
        try:
            # An object is for the task alone; what a task is called with, Ray may list and log.
            reference = self._remote.remote(ray.put(errand))
        except Exception as error:  # a cluster that is gone raises what it likes
            future.set_exception(Crashed(_how(error)))
            return
        self._pending.sent(reference, future)
        reference.future().add_done_callback(
            lambda done: self._pending.settle(reference, lambda: _outcome(done, task))
        )

    def _look_at_nodes(self) -> None:
        """Gives tasks up that no node of the cluster could take any more."""
        try:
            self._missed = 0.0 if _takers(self._launch) else self._missed + _GLANCE
        except Exception:  # a cluster that is gone raises what it likes
            self._missed += _GLANCE
        if self._missed >= _PATIENCE:
            self._give_up(f"no node of the Ray cluster has {_words(_needs(self._launch))} any more")

    def _give_up(self, reason: str) -> None:
        """Gives all tasks up, which Ray is not to start when a node is back."""
        references = self._pending.keys()
        self._pending.fail(
            references, reason, lambda: ended_within(_END, lambda: _cancel(references))
        )


def _end(references: Sequence[Any]) -> None:
    """Cancels tasks, waits for their end, and leaves the cluster."""
    import ray

    try:
        _cancel(references)
        if references:
            ray.wait(list(references), num_returns=len(references), timeout=30)
    finally:
        _leave()


def _cancel(references: Sequence[Any]) -> None:
    import ray

    for reference in references:
        ray.cancel(reference, force=True)


def _outcome(done: "Future[Parcel]", task: Task) -> list[RunRecord]:
    """What a task gave, its runs' files being unpacked where they belong.

    Raises:
        Crashed: its process ended before it.
        StackFailed: its runs were trained together and have to be tried otherwise.
        TaskFailed: its files cannot be written here.
    """
    if (error := done.exception()) is not None:
        raise Crashed(_how(error)) from error
    parcel = done.result()
    for job in task.jobs:
        if files := parcel.folders.get(str(job.folder)):
            try:
                unpack(files, job.folder)
            except OSError as error:
                raise TaskFailed(
                    f"its files cannot be unpacked into {job.folder}: {error}"
                ) from error
    if isinstance(parcel.outcome, StackFailed):
        raise parcel.outcome
    return parcel.outcome


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
    return f"Ray could not run it: {last_line(error)}"
