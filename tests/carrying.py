"""A run in the test's own process, composed as the command composes it: no imports to wait for."""

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from rich.console import Console

from hydra_plugins.optsweep._door import new_job
from optsweep.results import RunRecord
from optsweep.settings import Settings
from optsweep.single import carry_out
from optsweep.tracking import Store


def carried_out(project: Path, *overrides: str) -> RunRecord:
    """Carries out the run that the overrides describe, in `project`'s store, without pictures."""
    OmegaConf.register_new_resolver("project_root", lambda: str(project), replace=True)
    with initialize_config_dir(str(project / "conf"), version_base="1.3"):
        config = compose("config", ["figures=none", *overrides], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    resolved = OmegaConf.to_container(own, resolve=True)
    assert isinstance(resolved, dict)
    given = {str(key): value for key, value in resolved.items()}
    settings = Settings.from_config(given, choices)
    job = new_job(settings, given, project / "outputs", list(overrides), {})
    store = Store.open(settings.tracking_uri, settings.experiment)
    return carry_out(job, store, Console(quiet=True))
