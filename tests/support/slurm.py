"""A real Slurm of one machine, with or without accounting, where its programs are installed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from support.servers import free_port

_HOST = socket.gethostname().partition(".")[0]
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "srun")
_ACCOUNTING = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")

_CONF = """\
ClusterName=optsweep
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=5
SchedulerParameters=sched_min_interval=1,defer
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000
NodeName=elsewhere NodeAddr=127.0.0.1 Port={elsewhere} CPUs=4 State=DOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=wide Nodes={host},elsewhere MaxTime=INFINITE State=UP
"""
_DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={storage}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


def missing(accounting: bool) -> str:
    """Why there can be no Slurm here; empty where there can."""
    wanted = _PROGRAMS + (_ACCOUNTING if accounting else ())
    if lacking := [name for name in wanted if shutil.which(name) is None]:
        packages = "slurm-wlm munge slurmdbd mariadb-server"
        return f"{', '.join(lacking)} is not installed (Debian: apt-get install {packages})"
    return "" if os.geteuid() == 0 else "a Slurm of one's own needs root"


def _kill_tree(process: int) -> None:
    """Kills a process and all that it has started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    os.kill(process, signal.SIGKILL)
    for child in children:
        _kill_tree(int(child))


class Slurm:
    """A cluster of one node, this machine, which a `with` block starts and ends.

    A second partition, `wide`, has a node that is not there.
    """

    def __init__(self, accounting: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="optsweep-slurm-"))
        self.folder.chmod(0o755)
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._accounting = accounting
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Slurm":
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.ask("scancel", "--user=root")
        self._end()

    def ask(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.strip()

    def queue(self) -> list[str]:
        """The ids of the jobs that are waiting or running."""
        return self.ask("squeue", "--noheader", "--array", "--format=%i").split()

    def empties(self) -> bool:
        """Whether the queue is empty once jobs that have left their results have ended."""
        deadline = time.monotonic() + 30
        while self.queue() and time.monotonic() < deadline:
            time.sleep(0.2)
        return not self.queue()

    def lose_node(self) -> None:
        """Ends the node with all that runs on it, as if its power were cut, and lets Slurm know."""
        node = self._named("slurmd")
        steps = subprocess.run(["pgrep", "slurmstepd"], capture_output=True, text=True, check=False)
        node.kill()
        node.wait()
        for step in steps.stdout.split():  # those of other clusters have another configuration
            if str(self.folder) in Path(f"/proc/{step}/environ").read_text(errors="replace"):
                _kill_tree(int(step))
        self.ask("scontrol", "update", f"NodeName={_HOST}", "State=DOWN", "Reason=lost")

    def bring_node_back(self) -> None:
        """Starts the node again."""
        self._daemon(["slurmd", "-D", "-f", str(self.folder / "slurm.conf")])
        self.ask("scontrol", "update", f"NodeName={_HOST}", "State=RESUME")

    def fall_silent(self) -> None:
        """Stops the controller: whoever asks it gets no answer."""
        self._named("slurmctld").terminate()
        self._named("slurmctld").wait(20)

    def answer_again(self) -> None:
        """Starts the controller again."""
        self._daemon(["slurmctld", "-D", "-f", str(self.folder / "slurm.conf")])
        self._until(lambda: self.ask("sinfo", "-h", "-p", "main", "-o", "%t") in ("idle", "mix"))

    def _named(self, program: str) -> "subprocess.Popen[bytes]":
        return [
            one for one in self._daemons if isinstance(one.args, list) and one.args[0] == program
        ][-1]

    def _start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        self._start_munge()
        conf = _CONF.format(
            folder=self.folder,
            host=_HOST,
            controller=free_port(),
            node=free_port(),
            elsewhere=free_port(),
        )
        if self._accounting:
            port = self._start_database()
            conf += "AccountingStorageType=accounting_storage/slurmdbd\n"
            conf += f"AccountingStorageHost=localhost\nAccountingStoragePort={port}\n"
            conf += f"AccountingStoragePass={self.folder}/munge/socket\n"
        (self.folder / "slurm.conf").write_text(conf)
        if self._accounting:
            self._until(
                lambda: "optsweep" in self.ask("sacctmgr", "-i", "add", "cluster", "optsweep")
            )
        self._daemon(["slurmctld", "-D", "-f", str(self.folder / "slurm.conf")])
        self._daemon(["slurmd", "-D", "-f", str(self.folder / "slurm.conf")])
        self._until(lambda: self.ask("sinfo", "-h", "-p", "main", "-o", "%t") == "idle")

    def _start_munge(self) -> None:
        home = self.folder / "munge"
        home.mkdir()
        (home / "key").write_bytes(os.urandom(1024))
        (home / "key").chmod(0o400)
        for path in (home, home / "key"):
            shutil.chown(path, "munge", "munge")
        options = [f"--{name}-file={home}/{name}" for name in ("key", "pid", "log", "seed")]
        self._daemon(["munged", "--foreground", f"--socket={home}/socket", *options], "munge")
        self._until(lambda: (home / "socket").exists())

    def _start_database(self) -> int:
        """MariaDB and slurmdbd over it; returns the port of the latter."""
        data = self.folder / "mariadb"
        data.mkdir()
        shutil.chown(data, "mysql", "mysql")
        quiet = subprocess.DEVNULL
        install = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}"]
        subprocess.run(install, stdout=quiet, stderr=quiet, check=True, timeout=120)
        storage, port, into = free_port(), free_port(), f"{data}/socket"
        options = [f"--datadir={data}", f"--socket={into}", f"--port={storage}"]
        options += ["--bind-address=127.0.0.1", f"--pid-file={data}/pid"]
        self._daemon(["mariadbd", "--no-defaults", "--user=mysql", *options])
        self._until(lambda: (data / "socket").exists())
        grant = "CREATE DATABASE slurm; CREATE USER slurm@localhost IDENTIFIED BY 'slurm';"
        grant += "GRANT ALL ON slurm.* TO slurm@localhost;"
        self._until(lambda: self.ask("mariadb", f"--socket={into}", "-e", grant) == "")
        conf = self.folder / "slurmdbd.conf"
        conf.write_text(_DATABASE.format(folder=self.folder, port=port, storage=storage))
        conf.chmod(0o600)
        self._daemon(["slurmdbd", "-D"])
        return port

    def _daemon(self, command: Sequence[str], user: str | None = None) -> None:
        account = pwd.getpwnam(user) if user else None
        with (self.folder / f"{command[0]}.out").open("wb") as log:
            self._daemons.append(
                subprocess.Popen(
                    command,
                    env=os.environ | self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=account and account.pw_uid,
                    group=account and account.pw_gid,
                )
            )

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if condition():
                return
            time.sleep(0.2)
        logs = [path for path in self.folder.glob("*") if path.suffix in (".out", ".log")]
        raise TimeoutError("\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in logs))

    def _end(self) -> None:
        if self.environment and (self.folder / "slurm.conf").exists():
            self.empties()
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
