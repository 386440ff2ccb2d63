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

    Args:
        launch: the launcher's settings.
        workers: tasks side by side; 0: in this process.
        folder: the sweep's.
        say: prints what the executor does.

    Raises:
        SettingsError: the cluster refuses what is asked of it.
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
