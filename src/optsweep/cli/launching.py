"""What all launchers share: jobs are composed and checked here, and given to the sweep.

Hydra passes one list of overrides per job. All jobs are composed and checked before the first one
starts, so that a typo in the twelfth costs nothing. A launcher differs in its settings and in what
it refuses; `optsweep.sweep.sweep` runs the jobs on the executor that the settings ask for.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from optsweep.config.launchers import ClusterLaunch, Launch
from optsweep.config.settings import Settings
from optsweep.errors import RunsFailed, SettingsError
from optsweep.system import process as imports

if TYPE_CHECKING:
    from optsweep.records.run import RunRecord
    from optsweep.runs.job import Job
    from optsweep.search.search import Search


@dataclass
class LauncherConf:
    """The settings that all launchers have, `hydra.launcher.*` on the command line."""

    stack: Any = "auto"  # runs that are trained together as one program; 1: off
    retries: int = 0  # how often a run whose process was killed or lost is tried again
    timeout: float | None = None  # seconds a run may take
    fail_fast: bool = False  # stop at the first failure


class PlannedLauncher(Launcher):
    """Runs a sweep as its settings say."""

    @abstractmethod
    def read(self, config: dict[str, Any]) -> Launch:
        """The launcher's settings, checked.

        Raises:
            SettingsError: a value is of the wrong type or out of its range.
        """

    @abstractmethod
    def begin(self, launch: Launch, settings: Settings) -> None:
        """Refuses what this launcher cannot run, before the jobs are checked.

        Raises:
            OptsweepError: the runs could not start there, or not reach their store.
        """

    def device(self, launch: Launch, settings: Settings) -> str | None:
        """Where a run computes that runs on another machine, whatever this one has; None: here."""
        return launch.placed(settings).device if isinstance(launch, ClusterLaunch) else None

    def shares_folder(self, launch: Launch) -> bool:
        """Whether all runs see the sweep's folder."""
        return True

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
        """Checks all jobs, then runs them.

        Raises:
            OptsweepError: a job cannot run; none has been started then.
            RunsFailed: some runs failed; all others finished.
        """
        return self._launch([list(overrides) for overrides in job_overrides], initial_job_idx)

    def search(self, search: "Search") -> Sequence[JobReturn]:
        """Runs a search.

        Its runs at each end and choice of what is searched are checked before the first one starts.

        Raises:
            OptsweepError: a run cannot be made; none has been started then.
            RunsFailed: some runs failed; all others finished.
        """
        from optsweep.search.space import probes, typed

        overrides = [[*search.fixed, *typed(point)] for point in probes(search.space)]
        return self._launch(overrides, 0, search)

    def _launch(
        self, job_overrides: list[list[str]], first: int, search: "Search | None" = None
    ) -> Sequence[JobReturn]:
        from optsweep.cli.output_folders import sweep_folder

        setup_globals()
        with sweep_folder(self._config):
            records = self._sweep(job_overrides, first, search)
        if failed := sum(record.status != "FINISHED" for record in records):
            raise RunsFailed(f"{failed} of {len(records)} runs did not finish; see the table above")
        return [
            _returned(record, overrides)
            for record, overrides in zip(records, job_overrides, strict=True)
        ]

    def _sweep(
        self, job_overrides: list[list[str]], first: int, search: "Search | None"
    ) -> Sequence["RunRecord"]:
        """Runs the jobs; those that `extend` adds are added to `job_overrides` too.

        The jobs of a search replace its probes, which are only checked.
        """
        from optsweep.cli.composing import compose, plain
        from optsweep.cli.jobs import job_from_composed, refuse_swept, swept_keys
        from optsweep.cli.main import printing_resume_command, refuse_silent_store
        from optsweep.cli.searching import begin
        from optsweep.cli.yaml import to_yaml
        from optsweep.search.search import refuse_pruning_apart, refuse_with_search
        from optsweep.sweep.extension import Extension
        from optsweep.system.folders import refuse_used
        from optsweep.system.redaction import redacted

        launch = self.read(self._given)
        composed = list(compose(self._context, self._config, job_overrides, first))
        if not composed:
            given = " ".join(self._config.hydra.overrides.task)
            raise SettingsError(f"{given}: this sweep has no runs; give each value a choice")
        settings = [Settings.from_config(one.values, one.choices) for one in composed]
        if search:
            refuse_with_search(settings[0].extend, launch)
        asked, folder = settings[0], Path(self._config.hydra.sweep.dir).absolute()
        if not asked.resume and not first:  # a further batch shares the folder of the first
            refuse_used(folder, "hydra.sweep.dir")
        refuse_silent_store(asked.tracking_uri)
        self.begin(launch, settings[0])
        if search and not self.shares_folder(launch):
            refuse_pruning_apart(search)
        with imports.importing():
            from optsweep.runs.preflight import bytes_needed_by
            from optsweep.system.disk import refuse_full

        keys = swept_keys(job_overrides)
        refuse_swept(keys, settings)
        jobs = [
            job_from_composed(one, given, keys, self.device(launch, given))
            for one, given in zip(composed, settings, strict=True)
        ]
        refuse_full(folder, len(jobs) * bytes_needed_by(jobs[0].settings), "hydra.sweep.dir")

        with imports.importing():
            from rich.console import Console

            from optsweep.sweep.resume import earlier_sweeps, refuse_others
            from optsweep.sweep.rounds import More
            from optsweep.sweep.sweep import Sweep, run_sweep
            from optsweep.tracking.store import Store

            store = Store.open(asked.tracking_uri, asked.experiment)
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
            config=to_yaml(redacted(plain(self._config))),
        )
        if asked.resume and not first and not search:
            earlier = earlier_sweeps(store, sweep.identity)[:1]
            refuse_others(earlier, "sweep", sweep.identity, folder, "hydra.sweep.dir")
        console = Console()

        def more_jobs(overrides: Sequence[Sequence[str]]) -> list["Job"]:
            added = list(compose(self._context, self._config, overrides, first + len(composed)))
            settings = [Settings.from_config(one.values, one.choices) for one in added]
            jobs = [
                job_from_composed(one, given, keys, self.device(launch, given))
                for one, given in zip(added, settings, strict=True)
            ]
            if folder.exists():  # else the sweep has moved to the folder of the one that it resumes
                refuse_full(
                    folder, len(jobs) * bytes_needed_by(jobs[0].settings), "hydra.sweep.dir"
                )
            composed.extend(added)
            return jobs

        def say(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        more: More | None = None
        if search:
            composed.clear()
            job_overrides.clear()
            sweep, more = begin(search, sweep, store, job_overrides, more_jobs)
        elif asked.extend:
            more = Extension(sweep.grid, asked.extend, job_overrides, more_jobs, say)
        with printing_resume_command():
            record = run_sweep(
                sweep, store, console, lambda place, folder: composed[place].keep(folder), more
            )
        return record.runs


def _returned(record: "RunRecord", overrides: list[str]) -> JobReturn:
    """Hydra's view of a run, without its config: a thousand of them would fill the process."""
    from optsweep.verdict.ranking import objective

    return JobReturn(
        overrides=overrides,
        cfg=OmegaConf.create(),
        hydra_cfg=OmegaConf.create(),
        task_name="optsweep",
        status=JobStatus.COMPLETED,
        _return_value=objective(record.metrics),
    )
