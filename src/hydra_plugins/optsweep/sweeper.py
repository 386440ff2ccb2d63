"""The sweeper `grid`: `a=1,2,3 b=10,20` gives six jobs, composed once.

Hydra's own sweeper, without its second composition of every job: the launcher `local` composes
and checks all of them before the first one starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class GridConf:
    """The settings of the sweeper, `hydra.sweeper.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.sweeper.GridSweeper"
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

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Left to the launcher, which composes every job anyway."""


def own_folder(config: DictConfig) -> None:
    """Gives the sweep a folder of its own, unless one was typed."""
    given = any(typed.startswith("hydra.sweep.dir=") for typed in config.hydra.overrides.hydra)
    if not given:
        config.hydra.sweep.dir = str(new_folder(Path(config.hydra.sweep.dir)))


def new_folder(wanted: Path) -> Path:
    """Makes the folder, or one beside it with a number where another sweep was quicker."""
    folder, number = wanted, 1
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        else:
            return folder
