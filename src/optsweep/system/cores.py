"""How many processor cores this process may use, and how many threads compute.

Containers often see all cores of their host and may use a share of them only, by a quota of time
(`docker --cpus`). More workers than that would hold each other up.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


def cores(root: Path = Path("/")) -> int:
    """The cores that this process may run on, or the quota of its cgroups where that is less.

    A quota of 1.5 cores counts as 2, and one of 0.3 as 1. `root` is where `/proc` and `/sys` lie.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *(int(quota + 0.5) for quota in _quotas(root))]))


@contextmanager
def few_threads(most: int = 1) -> Iterator[None]:
    """Computes a block with at most so many threads of torch.

    Several make small matrices, of which SOAP has many, some twenty times slower.
    """
    import torch  # which those who ask for cores alone need not wait for

    threads = torch.get_num_threads()
    torch.set_num_threads(min(most, threads))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _quotas(root: Path) -> Iterator[float]:
    """The quotas, in cores, of this process's cgroups and of all that these lie in."""
    for folder in _cgroups(root):
        try:
            if (folder / "cpu.max").exists():  # version 2: "150000 100000", or "max 100000"
                time, period = (folder / "cpu.max").read_text().split()
            else:  # version 1: a quota of -1 is none
                time = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text()
            if time not in ("max", "-1"):
                yield int(time) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue


def _cgroups(root: Path) -> Iterator[Path]:
    """The folders of this process's cgroups, each followed by those that it lies in.

    In a container, the path that the process is given may be its host's, and unknown here: then
    the outermost folder is the container's own.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:  # "0::/user.slice" of version 2, "4:cpu,cpuacct:/docker/1f" of version 1
        _, controllers, path = line.split(":", 2)
        inner = PurePosixPath(path.lstrip("/"))
        if "cpu" in controllers.split(","):
            mounts = ["cpu", controllers]
        else:
            mounts = [] if controllers else [".", "unified"]
        for mount in mounts:
            for folder in (inner, *inner.parents):
                yield root / "sys/fs/cgroup" / mount / folder
