"""A run in the test's own process, composed as the command composes it: no imports to wait for."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from hydra_plugins.optsweep._door import job_from_config, split_config
from optsweep.run import Result, ready, run
from optsweep.tracking import Store


def carried_out(project: Path, *overrides: str) -> Result:
    """Carries out the run that the overrides describe, in `project`'s store, without pictures."""
    OmegaConf.register_new_resolver("project_root", lambda: str(project), replace=True)
    with initialize_config_dir(str(project / "conf"), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    config.hydra.runtime.output_dir = str(project / "outputs")
    job = job_from_config(*split_config(config), overrides, (), ready)
    store = Store.open(job.settings.tracking_uri, job.settings.experiment)
    return run(job, store, console=Console(quiet=True), figures=False)
