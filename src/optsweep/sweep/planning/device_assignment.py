"""Which GPU each run gets, and how many threads."""

from collections.abc import Sequence
from dataclasses import replace

from optsweep.config.launchers import ClusterLaunch, Launch
from optsweep.execution.worker_count import cuda_devices
from optsweep.runs.job import Job
from optsweep.sweep.scheduler import Group
from optsweep.system.cores import cores


def assign_devices(
    jobs: Sequence[Job], groups: Sequence[Group], launch: Launch, workers: int, first: int
) -> list[Job]:
    """The jobs with the cores shared among the workers, and CUDA's devices given out in turn.

    `first` is the number of the first group.
    """
    threads = max(1, cores() // max(1, workers))
    shared = list(jobs)
    for number, group in enumerate(groups, start=first):
        for place in group:
            settings = jobs[place].settings
            if isinstance(launch, ClusterLaunch):
                settings = launch.placed(settings)
            else:
                settings = replace(settings, threads=settings.threads or threads)
                if settings.device == "cuda" and workers > 1:
                    settings = replace(settings, device=f"cuda:{number % cuda_devices()}")
            shared[place] = replace(jobs[place], settings=settings)
    return shared
