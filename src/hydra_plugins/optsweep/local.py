"""The launcher `local`: a sweep in processes of this machine.

Nothing heavy is imported here: Hydra imports this file whenever it lists its plugins.
"""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore

from optsweep.cli.launching import LauncherConf, PlannedLauncher
from optsweep.config.launchers import Launch
from optsweep.config.settings import Settings


@dataclass
class LocalConf(LauncherConf):
    """The settings of the launcher, `hydra.launcher.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.local.LocalLauncher"
    workers: Any = "auto"  # runs side by side; 0: in this process, without isolation


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalConf, provider="optsweep"
)


class LocalLauncher(PlannedLauncher):
    """Runs a sweep on this machine."""

    def begin(self, launch: Launch, settings: Settings) -> None:
        """Starts what workers are forked from: it imports on another core meanwhile."""
        if launch.workers != 0 and not (settings.plan or settings.check):
            from optsweep.execution.forkserver import start_server

            if settings.dataset.target.startswith("torchvision."):
                start_server("torchvision.datasets")  # a second more, for those who need it
            else:
                start_server()

    def accept(self, launch: Launch, settings: Settings) -> None:
        """Has another core create the store, while this process imports MLflow."""
        from optsweep.tracking.address import sqlite_path

        path = sqlite_path(settings.tracking_uri)
        if launch.workers != 0 and path is not None and not path.exists():
            from optsweep.execution.forkserver import open_beside

            open_beside(settings.tracking_uri, settings.experiment)
