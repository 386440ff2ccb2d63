"""The launcher `local`: Hydra's jobs in, Hydra's returns out.

Hydra hands over one list of overrides a job. All jobs are composed and checked before the first
one starts, so that a typo in the twelfth costs nothing; then `optsweep.sweep` carries them out.
Nothing heavy is imported until then: Hydra imports this file whenever it lists its plugins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from optsweep import imports
from optsweep.errors import RunsFailed, SettingsError
from optsweep.settings import Launch

if TYPE_CHECKING:
    from optsweep.jobs import Job
    from optsweep.results import RunRecord


@dataclass
class LocalConf:
    """The settings of the launcher, `hydra.launcher.*` on the command line."""

    _target_: str = "hydra_plugins.optsweep.launcher.LocalLauncher"
    workers: Any = "auto"  # runs side by side; 0: in this process, without isolation
    stack: Any = "auto"  # runs that are trained together as one program; 1: off
    retries: int = 0  # how often a run whose process crashed is tried again
    timeout: float | None = None  # seconds a run may take
    fail_fast: bool = False  # stop at the first failure


ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalConf, provider="optsweep"
)


class LocalLauncher(Launcher):
    """Carries a sweep out on this machine."""

    def __init__(self, **config: Any) -> None:
        self._given = config

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
            RunsFailed: some runs failed; all others have been carried out.
        """
        setup_globals()
        carried_out = [list(overrides) for overrides in job_overrides]
        records = self._sweep(carried_out, initial_job_idx)
        if failed := sum(record.status != "FINISHED" for record in records):
            raise RunsFailed(f"{failed} of {len(records)} runs did not finish; see the table above")
        return [
            _returned(record, overrides)
            for record, overrides in zip(records, carried_out, strict=True)
        ]

    def _sweep(self, job_overrides: list[list[str]], first: int) -> Sequence["RunRecord"]:
        """Carries the jobs out; those that `extend` adds are added to `job_overrides` too."""
        from hydra_plugins.optsweep._composing import compose
        from hydra_plugins.optsweep._door import (
            forget_passwords,
            job_from_composed,
            refuse_silent_store,
            refuse_swept,
            swept_keys,
            telling_how_to_go_on,
        )
        from hydra_plugins.optsweep._extending import Extension
        from optsweep.settings import Settings

        launch = Launch.from_config(self._given)
        composed = list(compose(self._context, self._config, job_overrides, first))
        if not composed:
            given = " ".join(self._config.hydra.overrides.task)
            raise SettingsError(f"{given}: this sweep has no runs; give each value a choice")
        settings = [Settings.from_config(one.values, one.choices) for one in composed]
        refuse_silent_store(settings[0].tracking_uri)
        if launch.workers != 0:
            from optsweep.server import start_server

            start_server()  # it imports on another core while this process does
        from optsweep.jobs import refuse_full, room_of

        keys = swept_keys(job_overrides)
        refuse_swept(keys, settings)
        jobs = [
            job_from_composed(one, given, keys)
            for one, given in zip(composed, settings, strict=True)
        ]
        asked, folder = settings[0], Path(self._config.hydra.sweep.dir).absolute()
        forget_passwords(folder)
        refuse_full(folder, len(jobs) * room_of(jobs[0].settings), "hydra.sweep.dir")

        from rich.console import Console

        from optsweep.sweep import Sweep, carry_out
        from optsweep.tracking import Store

        sweep = Sweep(
            overrides=list(self._config.hydra.overrides.task),
            jobs=jobs,
            folder=folder,
            launch=launch,
            resume=asked.resume,
            figures=asked.figures,
            target=asked.target,
            intervals=asked.intervals,
            extend=asked.extend,
        )
        store = Store.open(asked.tracking_uri, asked.experiment)
        imports.end()
        console = Console()

        def more_jobs(overrides: Sequence[Sequence[str]]) -> list["Job"]:
            added = list(compose(self._context, self._config, overrides, first + len(composed)))
            jobs = [
                job_from_composed(one, Settings.from_config(one.values, one.choices), keys)
                for one in added
            ]
            refuse_full(folder, len(jobs) * room_of(jobs[0].settings), "hydra.sweep.dir")
            composed.extend(added)
            return jobs

        def tell(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        more = None
        if asked.extend:
            more = Extension(sweep.grid, asked.extend, job_overrides, more_jobs, tell)
        with telling_how_to_go_on():
            record = carry_out(
                sweep, store, console, lambda place, folder: composed[place].keep(folder), more
            )
        return record.runs


def _returned(record: "RunRecord", overrides: list[str]) -> JobReturn:
    """Hydra's view of a run, without its config: a thousand of them would fill the process."""
    from optsweep.results import objective

    return JobReturn(
        overrides=overrides,
        cfg=OmegaConf.create(),
        hydra_cfg=OmegaConf.create(),
        task_name="optsweep",
        status=JobStatus.COMPLETED,
        _return_value=objective(record.metrics),
    )
