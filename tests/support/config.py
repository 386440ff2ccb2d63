"""Composed configs, as the command line gives them."""

import functools
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from optsweep.cli.compat.hydra import VERSION_BASE
from optsweep.cli.compat.omegaconf import register_resolver
from optsweep.config.settings import GROUPS, Settings
from support.command import ROOT

CONF = ROOT / "conf"


OPTIONS = sorted(
    (file.parent.name, file.stem) for group in GROUPS for file in (CONF / group).iterdir()
)


NAMES = {group: [name for own, name in OPTIONS if own == group] for group in GROUPS}


def config_of(*overrides: str, conf: Path = CONF) -> DictConfig:
    """The config that a command line composes, `hydra` node and all."""
    register_resolver("project_root", lambda: str(conf.parent))
    with initialize_config_dir(str(conf), **VERSION_BASE):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


@functools.cache
def composed(*overrides: str, conf: Path = CONF) -> Settings:
    """The settings that a command line gives."""
    config = config_of(*overrides, conf=conf)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    given: Any = OmegaConf.to_container(own, resolve=True)
    return Settings.from_config(given, config.hydra.runtime.choices)
