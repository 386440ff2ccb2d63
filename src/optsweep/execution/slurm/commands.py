"""Slurm's own commands: which nodes there are, what is in the queue, what became of a job.

They work on clusters without accounting too. A Slurm that does not answer gives no result rather
than an exception, but for the first questions of a sweep.
"""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence

from optsweep.config.launchers import SlurmLaunch
from optsweep.errors import SettingsError
from optsweep.execution.executor import signal_name
from optsweep.execution.pending_tasks import last_line

_CANCEL = 10.0  # seconds that Slurm is given to answer when jobs are cancelled
_CONFIRM = 30.0  # seconds until jobs that were cancelled have left the queue


def refuse_missing(launch: SlurmLaunch) -> None:
    """Makes sure that this machine can submit jobs.

    Raises:
        SettingsError: submitit or Slurm's commands are missing, or the partition is.
    """
    try:
        import submitit  # noqa: F401  # whether it is there
    except ModuleNotFoundError:
        raise SettingsError(
            "hydra/launcher=slurm needs submitit; type pip install 'optsweep[slurm]'"
        ) from None
    if lacking := [name for name in ("sbatch", "squeue", "srun") if shutil.which(name) is None]:
        raise SettingsError(
            f"hydra/launcher=slurm: {', '.join(lacking)} is not on this machine; start the sweep "
            "on a login node of the cluster, or leave hydra/launcher=slurm out"
        )
    if not hosts(launch):
        there = " ".join(_ask("sinfo", "--noheader", "--format=%R").split()) or "none that answers"
        raise SettingsError(
            f"hydra.launcher.partition={launch.partition}: there is no such partition; type one "
            f"of: {there}"
        )


def hosts(launch: SlurmLaunch) -> set[str]:
    """The nodes on which a run may start."""
    try:
        said = _ask("sinfo", "--noheader", "--Node", "--format=%N %P").splitlines()
        nodes = [(name, where) for name, _, where in (line.strip().partition(" ") for line in said)]
        wanted = launch.partition and {launch.partition, f"{launch.partition}*"}
        # An asterisk marks the partition that is taken where none is named.
        return {
            name for name, where in nodes if (where in wanted if wanted else where.endswith("*"))
        }
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(
            f"hydra/launcher=slurm: Slurm does not answer ({_said(error)}); see what sinfo says"
        ) from error


def _said(error: Exception) -> str:
    stderr = getattr(error, "stderr", None)
    text = stderr.decode(errors="replace") if isinstance(stderr, bytes) else stderr
    return last_line(text or error)


def queue(timeout: float = 30) -> dict[str, str] | None:
    """The user's jobs that wait or run, each with its state and reason; None without an answer."""
    listed = ("squeue", "--noheader", "--me", "--array", "--format=%i|%T %r")
    try:
        lines = _ask(*listed, timeout=timeout).splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    split = [line.partition("|") for line in lines]
    return {name.strip(): said for name, _, said in split}


def end_of(name: str) -> str:
    """What became of a job, in words; Slurm's controller remembers it for some minutes."""
    try:
        said = _ask("scontrol", "show", "job", name)
    except (OSError, subprocess.SubprocessError):
        return "was lost"
    fields = dict(re.findall(r"\b(JobState|ExitCode)=(\S+)", said))
    code, killer, *_ = map(int, [*re.findall(r"\d+", fields.get("ExitCode", "")), 0, 0])
    if killer or code - 128 in list(signal.Signals):  # a shell adds 128 to what ended its command
        return f"was killed by {signal_name(killer or code - 128)}"
    state = fields.get("JobState", "LOST").lower().replace("_", " ")
    return f"ended as {state}" + (f" with exit code {code}" if code else "")


def arrays_of(ids: Iterable[str]) -> list[str]:
    """The array jobs that jobs are of, each once; a job alone is itself."""
    return list(dict.fromkeys(name.partition("_")[0] for name in ids))


def cancel(ids: Sequence[str]) -> list[str]:
    """Cancels jobs, or array jobs whole; returns those that may still run.

    It takes a minute at most, also where Slurm does not answer; nothing is raised.
    """
    deadline = time.monotonic() + _CONFIRM
    for signalled in ((), ("--signal=KILL", "--full")):  # those that wait, and at once what runs
        try:
            _ask("scancel", "--quiet", *signalled, *ids, timeout=_CANCEL)
        except subprocess.CalledProcessError:
            pass  # some were gone already, or nobody answered: the queue says which
        except (OSError, subprocess.SubprocessError):
            return list(ids)
    while True:
        late = time.monotonic() > deadline
        known = queue(timeout=_CANCEL)
        # What is completing has been killed; a node that does not answer may leave it so for hours.
        held = [name for name, state in (known or {}).items() if not (late and "COMPL" in state)]
        there = {*held, *arrays_of(held)}
        left = [name for name in ids if known is None or name in there]
        if late or not left:
            return left
        time.sleep(0.5)


def _ask(*command: str, timeout: float = 30) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=timeout, check=True
    )
    return done.stdout
