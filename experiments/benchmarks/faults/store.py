"""A tracking server that many trials share, each through a line of its own that can be cut."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A server that is up: its port, and the database behind it."""

    port: int
    database: Path


@contextmanager
def tracking_server(folder: Path) -> Iterator[Server]:
    """An `mlflow server` over a database in `folder`, until the block ends."""
    folder.mkdir(parents=True)
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    # Its runner of jobs, which nothing here needs, is ten processes.
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    env["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_it_answers(port, server, folder / "server.log")
        yield Server(port, folder / "mlflow.db")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _wait_until_it_answers(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"mlflow server ended:\n{log.read_text()[-2000:]}")
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        time.sleep(0.2)
    raise RuntimeError(f"mlflow server does not answer on port {port}")


class StoreLine:
    """A port that passes on to a server what it is sent, or is closed, or stays silent."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._listening: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._passing = threading.Event()
        self.port = _free_port()
        self.open()

    def open(self) -> None:
        """Passes on; what was held back while it was silent comes first."""
        self._passing.set()
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def silence(self) -> None:
        """Still accepts connections and what is sent, and answers nothing."""
        self._passing.clear()

    def close(self) -> None:
        """Refuses connections and breaks those that there are."""
        if self._listening is not None:
            _end(self._listening)
            self._listening = None
        for connection in list(self._connections):
            _end(connection)
        self._passing.set()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                caller, _ = listening.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        self._connections.add(caller)
        self._passing.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._server))
        except OSError:
            _end(caller)
            return
        self._connections.add(server)
        back = threading.Thread(target=self._pass_on, args=(server, caller), daemon=True)
        back.start()
        self._pass_on(caller, server)
        back.join()
        self._connections -= {caller, server}

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._passing.wait()
                target.sendall(data)
        _end(source)
        _end(target)


@contextmanager
def store_line(server: int) -> Iterator[StoreLine]:
    """A line to the server at a port, until the block ends."""
    line = StoreLine(server)
    try:
        yield line
    finally:
        line.close()


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
