"""Runs and sweeps in the test's own process, composed as the command composes them: no imports."""

import itertools
import os
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from optsweep.cli.jobs import new_job
from optsweep.config.launchers import Launch
from optsweep.config.settings import Settings
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.runs.job import Job
from optsweep.sweep.single_run import run_single
from optsweep.sweep.sweep import Sweep, run_sweep
from optsweep.tracking.store import Store


def new(project: Path, *overrides: str, folder: str = "", swept: tuple[str, ...] = ()) -> Job:
    """The checked job of a run in `project`, without pictures, whatever store others set."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    OmegaConf.register_new_resolver("project_root", lambda: str(project), replace=True)
    with initialize_config_dir(str(project / "conf"), version_base="1.3"):
        config = compose("config", ["figures=none", *overrides], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    resolved = OmegaConf.to_container(own, resolve=True)
    assert isinstance(resolved, dict)
    given = {str(key): value for key, value in resolved.items()}
    settings = Settings.from_config(given, choices)
    values = {key: choices[key] if key in choices else given[key] for key in swept}
    return new_job(settings, given, project / "outputs" / folder, list(overrides), values)


def carried_out(project: Path, *overrides: str) -> RunRecord:
    """Carries out the run that the overrides describe, in `project`'s store, without pictures."""
    job = new(project, *overrides)
    store = Store.open(job.settings.tracking_uri, job.settings.experiment)
    return run_single(job, store, Console(quiet=True))


def swept_out(
    project: Path,
    *overrides: str,
    launch: Launch | None = None,
    console: Console | None = None,
    folder: Path | None = None,
    figures: str = "none",
) -> SweepRecord:
    """Carries out all combinations of overrides such as `lr=1e-3,1e-1`, without isolation."""
    folder = folder or project / "outputs"
    keys = tuple(typed.partition("=")[0] for typed in overrides if "," in typed.split("[")[0])
    choices = [
        [f"{key}={value}" for value in values.split(",")] if key in keys else [typed]
        for typed in overrides
        for key, _, values in [typed.partition("=")]
    ]
    jobs = [
        new(project, *combination, folder=str(folder / str(number)), swept=keys)
        for number, combination in enumerate(itertools.product(*choices))
    ]
    settings = jobs[0].settings
    sweep = Sweep(
        overrides=overrides,
        jobs=jobs,
        folder=folder,
        launch=launch or Launch(workers=0),
        resume=settings.resume,
        figures=figures,
        config="a: 1",
    )
    store = Store.open(settings.tracking_uri, settings.experiment)
    return run_sweep(sweep, store, console or Console(quiet=True), lambda place, folder: None)


def job_in(folder: Path, fingerprint: str = "fingerprint") -> Job:
    """A job in a folder, for what looks at no settings."""
    return Job(None, folder, fingerprint)  # type: ignore[arg-type]  # there are none
