"""The sweeper `grid`: `a=1,2,3 b=10,20` gives six jobs, composed once.

Hydra's own sweeper, without its second composition of every job: the launcher `local` composes
and checks all of them before the first one starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from optsweep.cli.folder_checks import own_folder


@dataclass
class GridConf:
    """The settings of the sweeper, `hydra.sweeper.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.grid.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridConf, provider="optsweep")


class GridSweeper(BasicSweeper):
    """All combinations of the swept values."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Gives the sweep a folder of its own, however many start in the same microsecond."""
        own_folder(config)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Hands each batch of jobs to the launcher, which composes and checks them.

        Hydra's own would write the config into the folder before anybody has looked whether the
        folder holds something.
        """
        assert self.launcher is not None and self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        returned: list[Sequence[JobReturn]] = []
        first = 0
        for batch in self.split_arguments(overrides, self.max_batch_size):
            returned.append(self.launcher.launch(batch, initial_job_idx=first))
            first += len(batch)
        return returned
