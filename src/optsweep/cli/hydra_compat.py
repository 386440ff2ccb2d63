"""What is private in Hydra and OmegaConf, or differs between their versions: here and nowhere else.

Hydra 1.3 (OmegaConf 2.3) and 1.4 (OmegaConf 2.4) do. What is private names what it gains, and has
a canary test; what differs is chosen by what this Hydra has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import yaml  # OmegaConf writes YAML with it too
from hydra import utils
from hydra._internal.utils import get_args_parser
from hydra.core import utils as core_utils
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import OmegaConfDumper

from optsweep.system.redaction import redacted

# Hydra 1.3 behaves as 1.1 without it; 1.4 warns of it.
VERSION_BASE: dict[str, str] = (
    {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
)

# Private: a flag that does not exist is refused in one line instead of eight of usage.
flag_parser = get_args_parser

_Fastest: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_save = core_utils._save_config


def run_hydra(conf: Path, task: Callable[[DictConfig], Any]) -> None:
    """Composes the config in conf/ as the command line says, and runs a task or a sweep with it.

    Hydra 1.4 warns where it is not given the classes that conf/ may name. conf/ is the user's own
    and is there to name classes: models, optimizers, plugins, a log's formatter.
    """
    unchecked = getattr(utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)
    more: dict[str, Any] = VERSION_BASE or {"execution_whitelist": unchecked}
    hydra.main(config_path=str(conf), config_name="config", **more)(task)()


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Gives `${name:...}` in conf/ its meaning, in place of an earlier one.

    OmegaConf 2.4 warns of `register_new_resolver`; its `register_resolver` was another one in 2.3.
    """
    known: Any = OmegaConf.register_resolver
    is_new = "replace" in known.__code__.co_varnames
    (known if is_new else OmegaConf.register_new_resolver)(name, resolver, replace=True)


class _Dumper(_Fastest):  # type: ignore[misc]  # whose type depends on what was built
    """Quotes texts that OmegaConf would read as numbers: '1e-3'."""


_Dumper.add_representer(str, OmegaConfDumper.str_representer)


def to_yaml(content: Any) -> str:
    """Plain containers as YAML, in their order.

    As OmegaConf writes it, by its private representer, in a tenth of its time where PyYAML has its
    C code.
    """
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


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
