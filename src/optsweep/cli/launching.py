"""What all launchers share: jobs are composed and checked here, and given to the sweep.

Hydra passes one list of overrides per job. All jobs are composed and checked before the first one
starts, so that a typo in the twelfth costs nothing. A launcher differs in its settings and in what
it refuses; `optsweep.sweep.sweep` runs the jobs on the executor that the settings ask for.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from optsweep.cli.compat.omegaconf import to_yaml
from optsweep.cli.composing import Composed, compose, plain
from optsweep.cli.jobs import JobMaker, Naming, refuse_as_a_whole, swept_keys, typed_once, unnamed
from optsweep.config.launchers import ClusterLaunch, Launch
from optsweep.config.settings import Settings
from optsweep.config.verbosity import log_verbosely
from optsweep.errors import RunsFailed, SettingsError
from optsweep.system import process

if TYPE_CHECKING:
    from rich.console import Console

    from optsweep.records.run import RunRecord
    from optsweep.search.search import Search
    from optsweep.sweep.rounds import More
    from optsweep.sweep.sweep import Sweep


@dataclass
class LauncherConf:
    """The settings that all launchers have, `hydra.launcher.*` on the command line."""

    stack: Any = "auto"  # runs that are trained together as one program; 1: off
    retries: int = 0  # how often a run whose process was killed or lost is tried again
    timeout: float | None = None  # seconds a run may take
    fail_fast: bool = False  # stop at the first failure


class PlannedLauncher(Launcher):
    """Runs a sweep as its settings say."""

    launch_type: type[Launch] = Launch  # what its settings are checked as

    @abstractmethod
    def begin(self, launch: Launch, settings: Settings) -> None:
        """Refuses what this launcher cannot run, before the jobs are checked.

        Args:
            launch: the launcher's settings.
            settings: those of the first job.

        Raises:
            OptsweepError: the runs could not start there, or not reach their store.
        """

    def accept(self, launch: Launch, settings: Settings) -> None:
        """Begins what a sweep needs whose jobs are checked; `settings` are those of the first."""

    def device(self, launch: Launch, settings: Settings) -> str | None:
        """Where a run computes that runs on another machine, whatever this one has; None: here."""
        return launch.placed(settings).device if isinstance(launch, ClusterLaunch) else None

    def shares_folder(self, launch: Launch) -> bool:
        """Whether all runs see the sweep's folder."""
        return True

    def __init__(self, **config: Any) -> None:
        self._given = config
        self.naming: Naming = unnamed  # a sweeper may set it, and how many runs are trained at once
        self.at_once: int | None = None

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
        return self._launch(search.probes, 0, search)

    def _launch(
        self, job_overrides: list[list[str]], first: int, search: "Search | None" = None
    ) -> Sequence[JobReturn]:
        from optsweep.cli.folder_checks import sweep_folder

        setup_globals()
        with sweep_folder(self._config):
            records = self._sweep(job_overrides, first, search)
        if not records:
            return []  # they were planned, and not run
        if failed := sum(record.status != "FINISHED" for record in records):
            raise RunsFailed(f"{failed} of {len(records)} runs did not finish; see the table above")
        return [
            _returned(record, overrides)
            for record, overrides in zip(records, job_overrides, strict=True)
        ]

    def _sweep(
        self, job_overrides: list[list[str]], first: int, search: "Search | None"
    ) -> Sequence["RunRecord"]:
        """Checks and runs the jobs; `extend` adds to `job_overrides`, a search replaces them.

        With `plan` or `check` it says what it would run, and runs none.
        """
        count, launch = len(job_overrides), self._launch_settings()
        composed, settings, keys = self._read(job_overrides, first)
        if not search and len(places := typed_once(keys, composed, settings)) < count:
            job_overrides[:] = [job_overrides[place] for place in places]
            composed, settings, keys = self._read(job_overrides, first)
        asked, folder = settings[0], Path(self._config.hydra.sweep.dir).absolute()
        warnings = refuse_as_a_whole(keys, composed, settings)
        self._refuse_early(launch, asked, folder, first, search)
        with process.importing():
            import optsweep.runs.preflight  # noqa: F401 (torch, while the collector is off)
        device = partial(self.device, launch)
        make = JobMaker(self._composed, keys, device, folder, first, self.naming)
        jobs = make.checked(composed, settings)
        del composed, settings  # of ten thousand jobs these are 100 MB
        if not (asked.check or asked.plan):
            self.accept(launch, asked)
        with process.importing():
            from rich.console import Console

            from optsweep.sweep.display.lines import say
            from optsweep.sweep.planning.new_sweep import new_sweep
        config = to_yaml(plain(self._config))
        sweep = new_sweep(asked, jobs, folder, launch, self._typed(), config)
        console = Console()
        if len(jobs) < count:
            say(console, f"plan    {len(jobs)} of {count} runs differ; each runs once")
        for warning in warnings:
            say(console, f"warning {warning}")
        if asked.check or asked.plan:
            for line in _instead_of_running(replace(sweep, search=search), asked, console):
                say(console, line)
            return []
        return self._run(sweep, asked, job_overrides, make, first, search, console)

    def _launch_settings(self) -> Launch:
        """How the sweep runs, by the settings of the launcher, the sweeper and Hydra itself."""
        launch, most = self.launch_type.from_config(self._given), self.at_once
        if most and isinstance(launch, ClusterLaunch):  # which has as many workers as it likes
            launch = replace(launch, workers=min(launch.workers or most, most))
        return replace(launch, at_once=most, verbose=log_verbosely(self._config.hydra))

    def _run(
        self,
        sweep: "Sweep",
        asked: Settings,
        job_overrides: list[list[str]],
        make: JobMaker,
        first: int,
        search: "Search | None",
        console: "Console",
    ) -> Sequence["RunRecord"]:
        """Runs the sweep with all that it adds to itself."""
        from optsweep.cli.main import printing_resume_command
        from optsweep.cli.searching import begin

        with process.importing():
            from optsweep.sweep.display.lines import say
            from optsweep.sweep.resume import earlier_sweeps, refuse_others
            from optsweep.sweep.stages.confirmation import confirmed_as_begun
            from optsweep.sweep.stages.stages import stages_of
            from optsweep.sweep.sweep import run_sweep
            from optsweep.tracking.store import Store
        store = Store.open(asked.tracking_uri, asked.experiment)
        searching: More | None = None
        if search:
            make.composed.clear()
            job_overrides.clear()
            sweep, searching = begin(search, sweep, store, job_overrides, make)
        earlier = earlier_sweeps(store, sweep.identity)[:1] if sweep.resume else []
        if sweep.resume and not search and not first:
            refuse_others(earlier, "sweep", sweep.identity, sweep.folder, "hydra.sweep.dir")
        sweep = confirmed_as_begun(sweep, earlier)
        more = stages_of(sweep, searching, job_overrides, make, partial(say, console))
        with printing_resume_command():
            return run_sweep(
                sweep, store, console, lambda place, folder: make.composed[place].keep(folder), more
            ).runs

    def _read(
        self, job_overrides: Sequence[Sequence[str]], first: int
    ) -> tuple[list[Composed], list[Settings], list[str]]:
        """Each job's config and settings, and the keys that they differ in."""
        composed, settings = self._composed(job_overrides, first), list[Settings]()
        for one in composed:
            with self.naming(one.overrides):
                settings.append(Settings.from_config(one.values, one.choices))
        return composed, settings, swept_keys(composed)

    def _composed(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[Composed]:
        """Each job's config; `first` is the first job's number."""
        jobs = compose(self._context, self._config, job_overrides, first)
        composed = []
        for overrides in job_overrides:
            with self.naming(overrides):
                composed.append(next(jobs))
        if not composed:
            given = " ".join(self._config.hydra.overrides.task)
            raise SettingsError(f"{given}: this sweep has no runs; give each value a choice")
        return composed

    def _refuse_early(
        self, launch: Launch, asked: Settings, folder: Path, first: int, search: "Search | None"
    ) -> None:
        """Refuses what cannot run, as far as that is known before torch is imported."""
        from optsweep.cli.main import refuse_silent_store
        from optsweep.search.search import refuse_pruning_apart, refuse_with_search
        from optsweep.system.folders import refuse_used

        if search:
            refuse_with_search(asked.extend, launch)
        if not asked.resume and not first:  # a further batch shares the folder of the first
            refuse_used(folder, "hydra.sweep.dir")
        refuse_silent_store(asked.tracking_uri)
        self.begin(launch, asked)
        if search and not self.shares_folder(launch):
            refuse_pruning_apart(search)

    def _typed(self) -> list[str]:
        """The overrides that say what is run, Hydra's own for its sweeper included."""
        own = self._config.hydra.overrides
        sweepers = ("hydra/sweeper=", "hydra.sweeper.")
        task = (each for each in own.task if not each.startswith("open="))
        return [*(each for each in own.hydra if each.startswith(sweepers)), *task]


def _instead_of_running(sweep: "Sweep", asked: Settings, console: "Console") -> Iterator[str]:
    """What `check` and `plan` say of a sweep that is not trained."""
    with process.importing():
        from optsweep.sweep.planning.check_summary import checked_lines
        from optsweep.sweep.planning.plan_preview import forecast
    if asked.check:
        yield from checked_lines(job.settings for job in sweep.jobs)
    if asked.plan:
        yield from forecast(sweep, asked, console)


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
