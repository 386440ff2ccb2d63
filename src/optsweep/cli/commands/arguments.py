"""The arguments of these commands: each is NAME=VALUE, with defaults from conf/config.yaml."""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from optsweep.cli.compat.omegaconf import register_resolver
from optsweep.errors import OptsweepError, SettingsError, nearest
from optsweep.system import project_folder
from optsweep.system.redaction import redact

if TYPE_CHECKING:
    from optsweep.tracking.store import Store


def run_command(
    name: str,
    help_text: str,
    own: Mapping[str, str],
    arguments: list[str],
    act: Callable[[dict[str, str]], None],
) -> int:
    """Runs a command on the tracking store; returns the exit code.

    `own` are the defaults of its own arguments; `act` is given these and those of the store as they
    were typed. What it refuses is one line, and exit code 2.
    """
    try:
        options = {**own, **tracking_defaults()}
        if {"--help", "-h", "help"} & set(arguments):
            shown = {key.rpartition(".")[2]: redact(value) for key, value in options.items()}
            place = {"command": project_folder.command(name), "folder": project_folder.folder()}
            print(help_text.format(**shown, **place), end="")
            return 0
        act(options | parse(arguments, options))
    except OptsweepError as error:
        print(f"error: {redact(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'out'}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def tracking_defaults() -> dict[str, str]:
    """Address and experiment of the tracking store, where none are typed.

    Raises:
        SettingsError: conf/config.yaml has none.
    """
    register_resolver("project_root", lambda: str(project_folder.folder()))
    files = [conf / "config.yaml" for conf in project_folder.config_folders()]
    found = (OmegaConf.select(OmegaConf.load(file), "tracking") for file in files if file.is_file())
    tracking = next(filter(None, found), None)
    if tracking is None:
        raise SettingsError(f"{files[-1]}: tracking is missing; put it back")
    return {
        "tracking.uri": str(tracking.uri),
        "tracking.experiment": str(tracking.experiment),
    }


def parse(arguments: list[str], allowed: dict[str, str]) -> dict[str, str]:
    """The arguments, each `name=value`.

    Raises:
        SettingsError: one is something else, unknown, empty, or given twice.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in allowed:
            best = nearest(name, allowed)
            hint = f"did you mean {best}=?" if best else f"there are {'=, '.join(allowed)}="
            raise SettingsError(f"{argument}: there is no such argument; {hint}")
        if not equals or not value.strip():
            raise SettingsError(f"{argument}: a value is missing; type {name}=VALUE")
        if name in given:
            raise SettingsError(f"{name} is given twice: {given[name]} and {value}; type one")
        given[name] = value.strip()
    return given


def open_store(options: dict[str, str]) -> "Store":
    """The tracking store that the arguments name.

    Raises:
        SettingsError: there is none.
        TrackingError: it does not answer or cannot be used.
    """
    from optsweep.tracking.address import sqlite_path
    from optsweep.tracking.store import Store  # this import takes seconds

    path = sqlite_path(options["tracking.uri"])
    if path is not None and not path.exists():
        raise SettingsError(
            f"tracking.uri={options['tracking.uri']}: there is no such store; start a sweep with "
            f"{project_folder.command()} -m, or type tracking.uri= and where its store is"
        )
    return Store.open(options["tracking.uri"], options["tracking.experiment"])
