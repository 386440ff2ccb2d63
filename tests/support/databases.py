"""A real PostgreSQL of the test's own, on this machine, where its programs are installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from support.servers import free_port


def missing() -> str:
    """Why there can be no PostgreSQL here; empty where there can."""
    if not _programs():
        return "initdb is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not _account():
        return "initdb refuses root, and there is no account postgres or nobody"
    return ""


class Postgres:
    """A server with one database, whose user has a password."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="optsweep-postgres-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam(_account())
            self._as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(self._folder, account.pw_uid, account.pw_gid)
        self.uri = f"postgresql://sweeper:s3cret@127.0.0.1:{free_port()}/postgres"

    def __enter__(self) -> "Postgres":
        password = self._folder / "password"
        password.write_text("s3cret")
        password.chmod(0o644)
        data = str(self._folder / "data")
        access = ("-U", "sweeper", "-A", "scram-sha-256", f"--pwfile={password}")
        self._call("initdb", "-D", data, "--no-sync", *access)
        self.start()
        return self

    def start(self) -> None:
        """Returns when the server answers."""
        port = self.uri.rpartition(":")[2].partition("/")[0]
        options = f"-p {port} -h 127.0.0.1 -k {self._folder} -F"
        data, log = str(self._folder / "data"), str(self._folder / "log")
        self._call("pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Stops it at once, as a machine that goes away does."""
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def signal(self, number: int) -> None:
        """Sends a signal to all of its processes: SIGSTOP leaves it silent, with its ports open."""
        own = int((self._folder / "data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        for pid in (own, *map(int, children)):
            os.kill(pid, number)

    def __exit__(self, *error: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows that a query gives."""
        with psycopg.connect(self.uri) as connection:
            return connection.execute(query).fetchall()

    def _call(self, program: str, *arguments: str) -> None:
        programs = _programs()
        assert programs is not None
        done = subprocess.run(
            [str(programs / program), *arguments],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stderr


def _programs() -> Path | None:
    """Where PostgreSQL's programs lie; Debian keeps them from the search path."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


def _account() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), "")
