"""The sweeper `grid`: `a=1,2,3 b=10,20` gives six jobs, composed once; or a union of such grids.

Hydra's own sweeper composes every job once more, and writes the config into the folder before
anybody has looked whether the folder holds something. Here the launcher composes and checks all
jobs before the first one starts.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from optsweep.cli.folder_checks import own_folder
from optsweep.cli.launching import PlannedLauncher
from optsweep.errors import SettingsError


@dataclass
class GridConf:
    """The settings of the sweeper, `hydra.sweeper.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.grid.GridSweeper"
    max_batch_size: int | None = None  # runs that are trained at once, at most; null: no limit
    params: dict[str, str] | None = None  # what to sweep, beside what is typed
    grids: Any = None  # a union: a list of strings, each of them overrides as typed


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridConf, provider="optsweep")


class GridSweeper(Sweeper):
    """All combinations of the swept values, of one grid or of several."""

    def __init__(
        self, max_batch_size: int | None, params: dict[str, str] | None, grids: Any
    ) -> None:
        self._batch_size = max_batch_size
        self._grids = grids
        self._params = [f"{key}={value}" for key, value in (params or {}).items()]

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Gives the sweep a folder of its own, however many start in the same microsecond."""
        own_folder(config)
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Hands the jobs to the launcher, which composes and checks them.

        Raises:
            OptsweepError: it cannot run; no run was started then.
            RunsFailed: some runs failed.
        """
        from optsweep.cli.composing import compose
        from optsweep.cli.grids import AUTO, Grids

        assert self.launcher and self.hydra_context and self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        grids = Grids(self._grids, self._params, arguments)
        jobs = grids.jobs(parser, combinations)
        if self.config.lr == AUTO or any(f"lr={AUTO}" in job for job in jobs):
            composed = partial(compose, self.hydra_context, self.config, first=0)
            jobs = grids.with_rates(jobs, composed)
        size = _batch_size(self._batch_size, len(jobs))
        if isinstance(self.launcher, PlannedLauncher):  # which plans all of them together
            self.launcher.naming, self.launcher.at_once = grids.naming, self._batch_size
            return [self.launcher.launch(jobs, initial_job_idx=0)]
        print(_alone(self.config.hydra.runtime.choices["hydra/launcher"]))
        return [
            self.launcher.launch(jobs[first : first + size], initial_job_idx=first)
            for first in range(0, max(1, len(jobs)), size)
        ]


def combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """The overrides of each job; of a key that is given twice, the last one counts.

    Raises:
        HydraException: an interval holds no values to combine.
    """
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            kind = override.value_type.name if override.value_type else "this"
            raise HydraException(f"a grid does not support sweep type : {kind}")
    return [list(job) for job in itertools.product(*choices.values())]


def _alone(launcher: str) -> str:
    """What is to be known of a launcher of others."""
    return (
        f"hydra/launcher={launcher} trains each run for itself: there will be no table, report or "
        "verdict of the sweep; for these type hydra/launcher=local, slurm or ray"
    )


def _batch_size(given: int | None, jobs: int) -> int:
    if given is not None and given < 1:
        raise SettingsError(f"hydra.sweeper.max_batch_size={given}: must be >= 1, or null for all")
    return given or max(1, jobs)
