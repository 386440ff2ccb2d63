"""The executor that the launcher's settings ask for.

Only the executor that is needed is imported: the others' libraries may not be installed.
"""

from collections.abc import Callable
from pathlib import Path

from optsweep.config.launchers import Launch, RayLaunch, SlurmLaunch
from optsweep.execution.executor import Executor
from optsweep.execution.in_process import InProcess


def make_executor(
    launch: Launch, workers: int, folder: Path, say: Callable[[str], None]
) -> Executor:
    """The executor that the launcher's settings ask for.

    `folder` is the sweep's; `say` prints on the terminal what an executor does.
    """
    if isinstance(launch, SlurmLaunch):
        from optsweep.execution.slurm.executor import SlurmJobs

        return SlurmJobs(launch, folder, say)
    if isinstance(launch, RayLaunch):
        from optsweep.execution.ray.executor import RayTasks

        return RayTasks(launch, workers, say)
    if not workers:
        return InProcess()
    from optsweep.execution.local import LocalProcesses

    return LocalProcesses(workers, launch.timeout)
