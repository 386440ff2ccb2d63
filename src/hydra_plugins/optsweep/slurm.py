"""The launcher `slurm`: a sweep as an array job of a Slurm cluster.

Nothing heavy is imported here: Hydra imports this file whenever it lists its plugins.
"""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from optsweep.cli.launching import LauncherConf, PlannedLauncher
from optsweep.config.launchers import Launch, SlurmLaunch
from optsweep.config.settings import Settings


@dataclass
class SlurmConf(LauncherConf):
    """The settings of the launcher, `hydra.launcher.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.slurm.SlurmLauncher"
    partition: str | None = None  # null: the cluster's own choice
    time: int = 60  # minutes a job may take at a time; then it is requeued and resumes
    cpus: int = 1  # cores of a run
    gpus: int = 0  # GPUs of a run
    memory: float | None = None  # GB of a run; null: the cluster's own choice
    max_parallel: int | None = None  # runs side by side; null: as many as the cluster gives
    requeues: int = 10  # how often a job that is out of time may resume
    options: Any = None  # sbatch's own, such as {account: NAME}


ConfigStore.instance().store(
    group="hydra/launcher", name="slurm", node=SlurmConf, provider="optsweep"
)


class SlurmLauncher(PlannedLauncher):
    """Runs a sweep on a Slurm cluster."""

    launch_type = SlurmLaunch

    def begin(self, launch: Launch, settings: Settings) -> None:
        """Makes sure that jobs can be submitted, and that they will reach the store."""
        from optsweep.execution.slurm.commands import hosts, refuse_missing
        from optsweep.tracking.address import refuse_out_of_reach

        assert isinstance(launch, SlurmLaunch)
        refuse_missing(launch)
        refuse_out_of_reach(settings.tracking_uri, hosts(launch))
