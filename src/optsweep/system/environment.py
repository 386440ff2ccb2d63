"""Where a run runs: versions, hardware and the code's commit, as flat text that MLflow can hold."""

import functools
import getpass
import os
import platform
import re
import socket
import subprocess
from pathlib import Path

import optsweep


@functools.cache
def describe() -> dict[str, str]:
    """Versions, host and hardware of this process, under short names."""
    import torch

    return {
        "optsweep": optsweep.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "gpu": ", ".join(_gpus()) or "none",
    }


def _gpus() -> list[str]:
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


@functools.cache
def git_commit(folder: Path) -> str | None:
    """The commit checked out in `folder`, with "-dirty" where files differ from it, or None."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def user() -> str:
    """Who runs this, or "unknown" where the system has no name for them (some containers)."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
