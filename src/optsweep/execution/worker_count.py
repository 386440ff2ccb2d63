"""How many workers start."""

from optsweep.config.launchers import ClusterLaunch, Launch
from optsweep.config.settings import Settings
from optsweep.system.cores import cores


def count_workers(launch: Launch, settings: Settings, jobs: int) -> int:
    """How many workers run `jobs` jobs: 0 stands for this process.

    Auto is as many as there are cores on a CPU, and one for each visible CUDA device. A cluster
    takes all jobs at once, unless `max_parallel` limits them.
    """
    jobs = min(jobs, launch.at_once or jobs)
    if isinstance(launch, ClusterLaunch):
        return min(launch.workers or jobs, jobs)
    if launch.workers is not None:
        return min(launch.workers, jobs)
    if settings.device == "cuda":
        return min(cuda_devices(), jobs)
    return min(cores(), jobs) if settings.device == "cpu" else 1


def cuda_devices() -> int:
    """The CUDA devices that this process may use."""
    import torch

    return torch.cuda.device_count()
