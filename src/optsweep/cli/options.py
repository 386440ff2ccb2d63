"""What exists in conf/, for messages about what does not.

The config is composed anew without the argument at fault, so that presets, chosen options and
plugins all have their say. Configs are handed on as plain containers, interpolations unresolved.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf

from optsweep.cli.compat.hydra import VERSION_BASE, flag_parser
from optsweep.config.overrides import key_of
from optsweep.errors import SettingsError
from optsweep.system import project_folder

Config = dict[str, Any]

_MOST = 20  # configs that are composed for one message, at a tenth of a second each


def config_folders() -> list[Path]:
    """The folders that hold options; where two hold the same, the first counts."""
    if not project_folder.is_installed():
        return project_folder.config_folders()
    given = flag_parser().parse_known_args()[0].config_dir
    typed = [Path(given).absolute()] if given else []
    return [*typed, *project_folder.config_folders()]


def groups() -> list[str]:
    """The config groups: folders in conf/."""
    found = {path.name for conf in config_folders() for path in conf.glob("*/")}
    return sorted(found)


def options(group: str) -> list[str]:
    """A group's options; none where there is no such group."""
    return sorted(_files(group))


def options_with(group: str, name: str) -> list[str]:
    """The options of a group whose file holds the value `name`."""
    return sorted(option for option, file in _files(group).items() if name in OmegaConf.load(file))


def values_in(group: str, option: str, node: str = "") -> set[str]:
    """The names that an option's file gives values, and those that it builds on.

    A preset's are those of the group `node`. The files are read: Hydra composes nothing else while
    it runs a job.
    """
    path = _files(group).get(option)
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path else {}
    own = set((content.get(node) or {}) if node else content)
    bases = [base for base in content.get("defaults", ()) if isinstance(base, str)]
    return own.union(*(values_in(group, base, node) for base in bases if base != "_self_"))


def _files(group: str) -> dict[str, Path]:
    folders = reversed(config_folders())
    return {file.stem: file for conf in folders for file in (conf / group).glob("*.yaml")}


def overrides_in(arguments: Sequence[str]) -> list[Override]:
    """The arguments that Hydra can read as overrides."""
    parsed: list[Override] = []
    for argument in arguments:
        with suppress(OverrideParseException):
            parsed += OverridesParser.create().parse_overrides([argument])
    return parsed


def composed(overrides: Sequence[str] = ()) -> Config:
    """The config, with its `hydra` node, that these overrides give."""
    with initialize_config_dir(str(config_folders()[-1]), **VERSION_BASE):
        config = compose("config", list(overrides), return_hydra_config=True)
    tree: Any = OmegaConf.to_container(config, resolve=False)
    return dict(tree)


def refuse_foreign_config() -> None:
    """Refuses a config.yaml that is in place of the package's, but is another program's.

    Raises:
        SettingsError: it lacks values that every run needs.
    """
    files = [folder / "config.yaml" for folder in config_folders()]
    own = next((file for file in files[:-1] if file.is_file()), None)
    if own is None:
        return
    needed, given = OmegaConf.load(files[-1]), composed()
    lacking = [str(key) for key in needed if key not in given and key != "defaults"]
    if lacking:
        raise SettingsError(
            f"{own} replaces the package's own, and lacks {', '.join(lacking)}; start from a copy "
            f"of {files[-1]}, or type optsweep in another folder"
        )


def configs_without(key: str, arguments: Sequence[str]) -> Iterator[Config]:
    """What the arguments compose to without `key`: one config for each swept option of a group.

    Where they cannot be composed even so, because something else is wrong too: the defaults.
    """
    choices = []
    for override in overrides_in(arguments):
        name = override.get_key_element()
        if key_of(name) == key:
            continue
        typed = [str(override.input_line)]
        if override.is_interval_sweep():
            continue  # it names no one value
        if override.is_sweep_override():
            typed = [f"{name}={value}" for value in override.sweep_string_iterator()]
        choices.append(typed if options(name) else typed[:1])
    for overrides in itertools.islice(itertools.product(*choices), _MOST):
        try:
            yield composed(overrides)
        except HydraException:
            yield composed()


def chosen(config: Config) -> dict[str, str]:
    """Each group's chosen option: "optimizer" -> "sgd", "hydra/launcher" -> "local"."""
    return {str(group): str(name) for group, name in config["hydra"]["runtime"]["choices"].items()}


def names(config: Config) -> list[str]:
    """The groups and top-level values that a person may set."""
    own = [group for group in chosen(config) if "/" not in group]
    return [name for name in dict.fromkeys([*config, *own]) if name != "hydra"]


def at(config: Config, key: str) -> Any:
    """What lies at a dotted key; None where nothing does."""
    node: Any = config
    for part in key.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node
