"""What is asked of Slurm: its own commands, which know the queue without accounting too."""

import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

from optsweep.engines import SlurmLaunch
from optsweep.errors import SettingsError


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
        said = _ask("sinfo", "--noheader", "--Node", "--format=%N %P").split()
        nodes = list(zip(said[::2], said[1::2], strict=True))
        wanted = launch.partition and {launch.partition, f"{launch.partition}*"}
        # An asterisk marks the partition that is taken where none is named.
        return {name for name, where in nodes if (where in wanted if wanted else where[-1] == "*")}
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(
            f"hydra/launcher=slurm: Slurm does not answer ({_reason(error)}); see what sinfo says"
        ) from error


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", "") or str(error)
    return said.strip().splitlines()[0] if said.strip() else type(error).__name__


def queue() -> dict[str, str] | None:
    """The user's jobs that wait or run, each with its state and reason; None without an answer."""
    try:
        lines = _ask("squeue", "--noheader", "--me", "--array", "--format=%i|%T %r").splitlines()
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
    fields = dict(word.partition("=")[::2] for word in said.split() if "=" in word)
    code, _, number = fields.get("ExitCode", "0:0").partition(":")
    killer = int(number or 0) or max(0, int(code) - 128)
    if killer:
        return f"was killed by {signal.Signals(killer).name}"
    state = fields.get("JobState", "LOST").lower().replace("_", " ")
    return f"ended as {state}" + (f" with exit code {code}" if code != "0" else "")


def cancel(ids: Sequence[str]) -> list[str]:
    """Cancels jobs and returns those that are still there after half a minute."""
    for signalled in ((), ("--signal=KILL", "--full")):  # those that wait, and at once what runs
        subprocess.run(
            ["scancel", "--quiet", *signalled, *ids], capture_output=True, timeout=60, check=False
        )
    deadline = time.monotonic() + 30
    while True:
        known = queue()
        left = [name for name in ids if known is None or name in known]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def _ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout
