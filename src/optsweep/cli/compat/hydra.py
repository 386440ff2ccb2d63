"""What is private in Hydra, or differs between Hydra 1.3 and 1.4.

What is private names what it gains, and has a canary test; what differs is chosen by what this
Hydra has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra import utils
from hydra._internal.utils import get_args_parser
from hydra.core import utils as core_utils
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from optsweep.system.redaction import redacted

# Hydra 1.3 behaves as 1.1 without it; 1.4 warns of it.
VERSION_BASE: dict[str, str] = (
    {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
)

# Private: a flag that does not exist is refused in one line instead of eight of usage.
flag_parser = get_args_parser

_save = core_utils._save_config


def run_hydra(conf: Path, task: Callable[[DictConfig], Any]) -> None:
    """Composes the config in conf/ as the command line says, and runs a task or a sweep with it.

    Hydra 1.4 warns where it is not given the classes that conf/ may name. conf/ is the user's own
    and is there to name classes: models, optimizers, plugins, a log's formatter.
    """
    replace_basic()
    unchecked = getattr(utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)
    more: dict[str, Any] = VERSION_BASE or {"execution_whitelist": unchecked}
    hydra.main(config_path=str(conf), config_name="config", **more)(task)()


def replace_basic() -> None:
    """Lets `basic` name a launcher and a sweeper of this package, in this program alone.

    Hydra's own sweeper of that name composes each job twice and writes the secrets of addresses
    into the sweep's folder; under its own launcher a sweep ends without a verdict.
    """
    Plugins.instance()  # imports Hydra's own and the package's, which are in the store then
    store = ConfigStore.instance()
    local: Any = store.load("hydra/launcher/local.yaml").node
    one_by_one = OmegaConf.merge(local, {"workers": 0, "stack": 1})
    grid = store.load("hydra/sweeper/grid.yaml").node
    more: dict[str, Any] = {} if VERSION_BASE else {"replace": True}  # 1.4 warns without it
    for group, node in (("hydra/launcher", one_by_one), ("hydra/sweeper", grid)):
        store.store(group=group, name="basic", node=node, provider="optsweep", **more)


def _save_without_secrets(cfg: DictConfig, filename: str, output_dir: Path) -> None:
    given = OmegaConf.to_container(cfg, resolve=False)
    shown = redacted(given)
    kept: Any = cfg if shown == given else OmegaConf.create(shown)
    _save(kept, filename, output_dir)


def keep_secrets_from_hydra() -> None:
    """Lets Hydra save a single run's config without the secrets of addresses, from now on.

    Hydra writes `.hydra/*.yaml` before it calls the program. A secret that is written and then
    taken out again would stay where the program is killed in between, so Hydra is given a config
    without them to write. What it hands to the program has them. Private: Hydra has no way to be
    given another config to save.
    """
    core_utils._save_config = _save_without_secrets
