"""The launcher `local`: Hydra's jobs in, Hydra's returns out.

Hydra hands over one list of overrides a job. Every job is composed and checked before the first
one starts, so that a typo in the twelfth costs nothing; then `optsweep.sweep` carries them out.
Nothing heavy is imported until then: Hydra imports this file whenever it lists its plugins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from optsweep.errors import OptsweepError, RunsFailed, SettingsError


@dataclass
class LocalConf:
    """The settings of the launcher, `hydra.launcher.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.launcher.LocalLauncher"


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalConf, provider="optsweep"
)


class LocalLauncher(Launcher):
    """Carries a sweep out on this machine."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keeps what `launch` needs; Hydra calls this first."""
        self._context = hydra_context
        self._config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Checks all jobs, then carries them out.

        Raises:
            OptsweepError: a job cannot be carried out; none has been started then.
        """
        setup_globals()
        configs = [
            self._compose(list(overrides), initial_job_idx + number)
            for number, overrides in enumerate(job_overrides)
        ]
        return _sweep(self._config, configs, job_overrides)

    def _compose(self, overrides: list[str], number: int) -> DictConfig:
        config = self._context.config_loader.load_sweep_config(self._config, overrides)
        with open_dict(config):
            config.hydra.job.id = f"optsweep-{number}"
            config.hydra.job.num = number
            folder = Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)
            config.hydra.runtime.output_dir = str(folder.absolute())
        return config


def _sweep(
    config: DictConfig, configs: Sequence[DictConfig], job_overrides: Sequence[Sequence[str]]
) -> list[JobReturn]:
    from hydra_plugins.optsweep._door import (
        check_values,
        job_from_config,
        keep_config,
        split_config,
        swept_keys,
    )

    if not configs:
        given = " ".join(config.hydra.overrides.task)
        raise SettingsError(f"{given}: this sweep has no runs; give each value a choice at least")
    for composed in configs:
        check_values(*split_config(composed))  # before the imports below, which take seconds
    from rich.console import Console

    from optsweep.run import ready
    from optsweep.sweep import Sweep, carry_out
    from optsweep.tracking import Store

    typed = list(config.hydra.overrides.task)
    keys = swept_keys(job_overrides)
    jobs = [
        job_from_config(*split_config(composed), overrides, keys, ready)
        for composed, overrides in zip(configs, job_overrides, strict=True)
    ]
    first = jobs[0].settings
    folder = Path(config.hydra.sweep.dir).absolute()
    store = Store.open(first.tracking_uri, first.experiment)
    for composed, job in zip(configs, jobs, strict=True):
        keep_config(composed, job.folder)
    results = carry_out(Sweep(typed, jobs, folder, first.figures), store, Console())
    return [
        _returned(composed, result, list(overrides))
        for composed, result, overrides in zip(configs, results, job_overrides, strict=True)
    ]


def _returned(config: DictConfig, result: Any, overrides: list[str]) -> JobReturn:
    """Hydra's view of a run; asking a failed one for its value raises what ends the sweep."""
    from optsweep.run import objective

    failed = result.status != "FINISHED"
    value: float | OptsweepError = (
        RunsFailed(f"runs failed, {result.job.name} among them; see the table above")
        if failed
        else objective(result.metrics)
    )
    return JobReturn(
        overrides=overrides,
        cfg=config,
        hydra_cfg=config,
        working_dir=str(result.job.folder),
        task_name="optsweep",
        status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
        _return_value=value,
    )
