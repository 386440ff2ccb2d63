"""Tracking servers: a real one, which a test stops as it likes, and those that misbehave."""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from support.environment import environment
from support.forked import Command


class TrackingServer:
    """A server on a port of this machine, over a database in `folder` or at `database`."""

    def __init__(self, folder: Path, database: str | None = None, workers: int = 1) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.uri = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._database = database or f"sqlite:///{folder}/mlflow.db"
        self._workers = workers
        self._process: Command | None = None

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
            self._process = Command(
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

    def pause(self) -> None:
        """Stops it in the middle of whatever it does: it takes connections, and says nothing."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it continue after `pause`."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

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


@contextmanager
def silent() -> Iterator[str]:
    """The address of a socket that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def babbling(banner: bytes, pause: float = 0) -> Iterator[str]:
    """The address of a server that says the same to everybody, byte by byte if with pauses."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # the test is over
                    return
                with connection:
                    connection.settimeout(1)
                    connection.recv(65536)
                    with suppress(OSError):
                        for byte in banner if pause else ():
                            connection.sendall(bytes([byte]))
                            time.sleep(pause)
                        connection.sendall(b"" if pause else banner)

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _refusal(status: int) -> dict[str, str]:
    kind = "INVALID_PARAMETER_VALUE" if status == 400 else "INTERNAL_ERROR"
    return {"error_code": kind, "message": "as asked"}


class FakeStore:
    """A tracking server in this process, which answers chosen calls with an error.

    `status` is given a call's path and body, and says what is answered: 200, or an error.
    """

    def __init__(self, status: Callable[[str, str], int] = lambda path, body: 200) -> None:
        self.status = status
        self.taken: list[tuple[str, str]] = []  # path and body of each call that was accepted
        self.runs: dict[str, dict[str, str]] = {}  # tags by run id
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length).decode(errors="replace")
                path = self.path.partition("?")[0].rpartition("/mlflow/")[2]
                status = fake.status(path, body)
                answer = fake._take(path, body) if status == 200 else _refusal(status)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815 (the names are the library's)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FakeStore":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, path: str, body: str) -> dict[str, Any]:
        self.taken.append((path, body))
        asked = json.loads(body) if body.startswith("{") else {}
        if path == "experiments/get-by-name":
            found = {"experiment_id": "1", "name": "optsweep", "lifecycle_stage": "active"}
            return {"experiment": found}
        if path == "runs/create":
            run_id = f"{len(self.runs):032x}"
            self.runs[run_id] = {tag["key"]: tag["value"] for tag in asked["tags"]}
            return {"run": self._run(run_id)}
        if path == "runs/search":
            wanted = re.search(r"tags\.`(.*?)` = '(.*?)'", asked.get("filter", ""))
            runs = [
                self._run(run_id)
                for run_id, tags in self.runs.items()
                if wanted is None or tags.get(wanted[1]) == wanted[2]
            ]
            return {"runs": runs}
        run_id = str(asked.get("run_id", "0" * 32))
        return {"run": self._run(run_id), "run_info": self._run(run_id)["info"]}

    def _run(self, run_id: str) -> dict[str, Any]:
        info = {"run_id": run_id, "run_uuid": run_id, "experiment_id": "1", "status": "RUNNING"}
        info["artifact_uri"] = f"mlflow-artifacts:/1/{run_id}/artifacts"
        tags = [{"key": key, "value": value} for key, value in self.runs.get(run_id, {}).items()]
        return {"info": info, "data": {"tags": tags}}
