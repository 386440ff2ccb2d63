"""The sweeper `optuna`: `lr=interval(1e-5,1) optimizer=sgd,adam`, searched.

Hydra's overrides in, a search for the launcher out: `optsweep.search.search` proposes the trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from optsweep.cli.folder_checks import own_folder
from optsweep.cli.launching import PlannedLauncher


@dataclass
class OptunaConf:
    """The settings of the sweeper, `hydra.sweeper.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.optuna.OptunaSweeper"
    n_trials: Any = None  # runs in all; null: 20, or with sampler=grid all there are
    sampler: Any = "tpe"  # tpe, random or grid
    pruning: Any = False  # end a run early that is hopeless after a few epochs
    seed: Any = 0  # of the sampler: another one gives another search
    params: dict[str, str] | None = None  # what to search, beside what is typed
    grids: Any = None  # a union of grids, as the sweeper grid has it


ConfigStore.instance().store(
    group="hydra/sweeper", name="optuna", node=OptunaConf, provider="optsweep"
)


class OptunaSweeper(Sweeper):
    """Searches for the best values; what is best is the accuracy that runs are ranked by."""

    def __init__(self, params: dict[str, str] | None, **config: Any) -> None:
        self._params = params or {}
        self._given = config

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Makes the launcher, which runs the search, and the search's own folder."""
        own_folder(config)
        self._context, self._config = hydra_context, config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Runs the search.

        Raises:
            OptsweepError: it cannot run; no run was started then.
            RunsFailed: some runs failed.
        """
        from optsweep.cli.composing import compose
        from optsweep.cli.grids import Grids
        from optsweep.cli.searching import read_grids
        from optsweep.errors import SettingsError
        from optsweep.search.search import Search
        from optsweep.search.study import require_optuna

        require_optuna()
        if not isinstance(self._launcher, PlannedLauncher):
            raise SettingsError(
                "hydra/sweeper=optuna: this launcher takes no searches; type "
                "hydra/launcher=local, slurm or ray"
            )
        asked = [f"{key}={value}" for key, value in self._params.items()]
        parser = OverridesParser.create(config_loader=self._context.config_loader)
        union, found = Grids(self._given["grids"], asked, arguments), []
        for place, overrides in enumerate(union.overrides(parser)):
            with union.blaming(place):
                own = read_grids(
                    overrides, lambda job: next(compose(self._context, self._config, [job], 0))
                )
            found += own
            union.belong([job for grid in own for job in grid.probes], place)
        self._launcher.naming = union.naming
        return self._launcher.search(Search.of(self._given, found))
