"""Settings with single values changed."""

from copy import deepcopy
from typing import Any

from omegaconf import OmegaConf

from optsweep.config.settings import Settings
from support.config import config_of


def plain(*overrides: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A composed config as plain containers, and the options chosen."""
    config = config_of(*overrides)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    given: Any = OmegaConf.to_container(own, resolve=True)
    return given, dict(config.hydra.runtime.choices)


CONFIG, CHOICES = plain()


def changed(**values: Any) -> Settings:
    """The default settings with values as YAML would give them."""
    return Settings.from_config({**deepcopy(CONFIG), **values}, CHOICES)
