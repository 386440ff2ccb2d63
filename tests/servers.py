"""A real `mlflow server`, which a test starts and stops as often as it likes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import environment


class TrackingServer:
    """A server on a port of this machine, over a database in `folder` or at `database`."""

    def __init__(self, folder: Path, database: str | None = None, workers: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.uri = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._database = database or f"sqlite:///{folder}/mlflow.db"
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "TrackingServer":
        """Returns when the server answers."""
        port = self.uri.rpartition(":")[2]
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port]
        command += ["--workers", str(self._workers), "--backend-store-uri", self._database]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        self._launch(command)
        return self

    @contextmanager
    def started_by(self, line: str, address: str) -> Iterator[str]:
        """The address of a server that a shell's line starts, until the block ends."""
        self.uri = f"http://{address}"
        self._launch(["bash", "-c", line])
        try:
            yield self.uri
        finally:
            self.stop()

    def _launch(self, command: Sequence[str]) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=environment({"MLFLOW_DISABLE_TELEMETRY": "true"}),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
            except OSError:
                assert self._process.poll() is None, (self._folder / "server.log").read_text()
                time.sleep(0.2)
            else:
                return
        raise TimeoutError(self.uri)

    def stop(self) -> None:
        """Kills the server with all that it started, as a machine that goes away does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def runs(self, kind: str = "run") -> list[Run]:
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name("optsweep")
        assert experiment is not None
        chosen = f"tags.`optsweep.kind` = '{kind}'"
        return list(client.search_runs([experiment.experiment_id], chosen))

    def points(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """A metric's points as they were stored, doubled ones too."""
        history = MlflowClient(self.uri).get_metric_history(run_id, metric)
        return [(point.step, point.value) for point in history]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
