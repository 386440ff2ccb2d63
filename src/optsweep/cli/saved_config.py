"""What Hydra saves of a single run's config, without the secrets of addresses.

Hydra writes `.hydra/*.yaml` before it calls the program. A secret that is written and then taken
out again would stay where the program is killed in between, so Hydra is given a config without
them to write. What it hands to the program has them.
"""

from pathlib import Path
from typing import Any

from hydra.core import utils
from omegaconf import DictConfig, OmegaConf

from optsweep.system.redaction import redacted

_save = utils._save_config  # private: Hydra has no way to be given another config to save


def _save_without_secrets(cfg: DictConfig, filename: str, output_dir: Path) -> None:
    given = OmegaConf.to_container(cfg, resolve=False)
    shown = redacted(given)
    kept: Any = cfg if shown == given else OmegaConf.create(shown)
    _save(kept, filename, output_dir)


def keep_secrets_from_hydra() -> None:
    """Lets Hydra save configs without secrets, from now on."""
    utils._save_config = _save_without_secrets
