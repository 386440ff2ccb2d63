"""The launcher `ray`: a sweep as tasks of a Ray cluster.

Nothing heavy is imported here: Hydra imports this file whenever it lists its plugins.
"""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from optsweep.cli.launching import LauncherConf, PlannedLauncher
from optsweep.config.launchers import Launch, RayLaunch
from optsweep.config.settings import Settings


@dataclass
class RayConf(LauncherConf):
    """The settings of the launcher, `hydra.launcher.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.ray.RayLauncher"
    address: str = "auto"  # auto: the running cluster; local: one of this machine; ray://host:port
    cpus: float = 1  # cores of a run
    gpus: float = 0  # GPUs of a run; 0.25: four runs share one
    memory: float | None = None  # GB of a run; null: nothing is set aside
    resources: Any = None  # the cluster's own by their names, such as {fast: 1}
    max_parallel: int | None = None  # runs side by side; null: as many as the cluster gives
    shared: Any = "auto"  # whether all nodes see hydra.sweep.dir; auto: where there is one machine


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayConf, provider="optsweep")


class RayLauncher(PlannedLauncher):
    """Runs a sweep on a Ray cluster."""

    launch_type = RayLaunch

    def begin(self, launch: Launch, settings: Settings) -> None:
        """Connects to the cluster, whose nodes have to reach the store."""
        from optsweep.execution.ray.executor import hosts, join
        from optsweep.tracking.address import refuse_out_of_reach

        assert isinstance(launch, RayLaunch)
        join(launch)
        refuse_out_of_reach(settings.tracking_uri, hosts(launch))

    def shares_folder(self, launch: Launch) -> bool:
        """As it was said, or as it is where the cluster is one machine."""
        from optsweep.execution.ray.executor import shares_folder

        assert isinstance(launch, RayLaunch)
        return shares_folder(launch)
