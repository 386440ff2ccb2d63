"""Runs and sweeps in the test's own process, composed as the command composes them: no imports."""

import io
import itertools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra.core import utils
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from rich.console import Console

from optsweep.cli.compat.hydra import VERSION_BASE
from optsweep.cli.compat.omegaconf import register_resolver
from optsweep.cli.jobs import new_job
from optsweep.cli.main import main
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
    register_resolver("project_root", lambda: str(project))
    with initialize_config_dir(str(project / "conf"), **VERSION_BASE):
        config = compose("config", ["figures=none", *overrides], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    resolved = OmegaConf.to_container(own, resolve=True)
    assert isinstance(resolved, dict)
    given = {str(key): value for key, value in resolved.items()}
    settings = Settings.from_config(given, choices)
    values = {key: choices[key] if key in choices else given[key] for key in swept}
    return new_job(settings, given, project / "outputs" / folder, list(overrides), values)


def train_here(project: Path, *overrides: str, console: Console | None = None) -> RunRecord:
    """Trains the run that the overrides describe in this process, without pictures."""
    job = new(project, *overrides)
    store = Store.open(job.settings.tracking_uri, job.settings.experiment)
    return run_single(job, store, console or Console(quiet=True))


def sweep_here(
    project: Path,
    *overrides: str,
    launch: Launch | None = None,
    console: Console | None = None,
    folder: Path | None = None,
    figures: str = "none",
) -> SweepRecord:
    """Trains all combinations of overrides such as `lr=1e-3,1e-1`, without isolation."""
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


def run_here(
    project: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """What `python experiments/run.py ARGUMENTS` does, in this process: a second less for each.

    For what is refused before a run starts. Hydra composes once: it composes the real command's
    config twice, the first time to look whether `hydra.mode` is in it.
    """
    script = [str(project / "experiments" / "run.py"), *arguments]
    changes = {"MLFLOW_TRACKING_URI": "", "HYDRA_FULL_ERROR": "", **(env or {})}
    handler, hydra_save = signal.getsignal(signal.SIGTERM), utils._save_config
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with ExitStack() as stack:
        stack.enter_context(patch.object(sys, "argv", script))
        stack.enter_context(patch.object(Hydra, "get_mode", return_value=None))
        stack.enter_context(patch.dict(os.environ, changes))
        stack.enter_context(chdir(project))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        if not os.environ["MLFLOW_TRACKING_URI"]:
            del os.environ["MLFLOW_TRACKING_URI"]
        GlobalHydra.instance().clear()
        try:
            code = main()
        except SystemExit as end:  # argparse ends so
            code = int(end.code or 0)
        finally:
            GlobalHydra.instance().clear()
            utils._save_config = hydra_save
            signal.signal(signal.SIGTERM, handler)
            for own in set(root.handlers) - set(handlers):
                own.close()  # of optsweep.log
            root.handlers[:] = handlers
            root.setLevel(level)
    return subprocess.CompletedProcess(script, code, out.getvalue(), err.getvalue())


def job_in(folder: Path, fingerprint: str = "fingerprint") -> Job:
    """A job in a folder, for what looks at no settings."""
    return Job(None, folder, fingerprint)  # type: ignore[arg-type]  # there are none
