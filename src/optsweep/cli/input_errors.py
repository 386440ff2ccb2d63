"""Hydra's errors as one line that says what was given, what is allowed and what to type instead.

`in_one_line` is given an error and the command line's arguments, and returns the line. Hydra's
errors differ by their text alone, so `_KINDS` maps a pattern of that text to the function that
words it anew.
"""

import re
import shlex
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.errors import OverrideParseException

from optsweep.cli.flags import assign, command, unreadable
from optsweep.cli.options import (
    Config,
    at,
    chosen,
    composed,
    configs_without,
    names,
    options,
    options_with,
    overrides_in,
)
from optsweep.config.overrides import key_of
from optsweep.errors import OptsweepError, StringRefused, nearest
from optsweep.system.exceptions import first_line
from optsweep.system.redaction import redact

# Words that people bring from elsewhere, where they are not only spelled otherwise.
_ELSEWHERE = {"learning_rate": "lr", "bs": "batch_size", "network": "model", "net": "model"}


@dataclass(frozen=True)
class _Fault:
    """An error of a known kind: what its pattern found in its text, and what had been typed."""

    error: Exception
    found: re.Match[str]
    arguments: Sequence[str]

    def typed(self, key: str) -> str:
        """The argument that sets `key`, as typed; the key alone where there is none."""
        return next((typed for typed in self.arguments if key_of(typed) == key), key)

    def typed_with(self, part: str) -> str | None:
        """The first argument that contains `part`."""
        return next((typed for typed in self.arguments if part in typed), None)


def in_one_line(error: Exception, arguments: Sequence[str]) -> str:
    """The line about an error for the user, given the arguments as typed; never raises."""
    if isinstance(error, StringRefused):
        return f"{redact(error.where)}: {in_one_line(error.reason, error.arguments)}"
    if isinstance(error.__cause__, OptsweepError):  # Hydra wraps what a launcher says
        error = error.__cause__
    text = _plain(error)
    if not isinstance(error, OptsweepError):
        with suppress(Exception):  # whatever goes wrong here, the error itself can still be shown
            text = _worded(error, arguments)
    return redact(" ".join(text.split()))


def is_hydras(error: BaseException) -> bool:
    """Whether Hydra raised the error while it read the command line and conf/.

    Not so where code of ours raised it, or what that called: then the traceback is wanted.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [str(frame.f_globals.get("__name__")) for frame in frames]
    ours = ("__main__", "optsweep.", "hydra_plugins.optsweep.")
    own = [place for place, module in enumerate(modules) if module.startswith(ours)]
    called = modules[own[-1] + 1 :] if own else modules
    return bool(called) and called[0].startswith("hydra.")


def _worded(error: Exception, arguments: Sequence[str]) -> str:
    if isinstance(error, OverrideParseException):
        return unreadable(error, arguments)
    if isinstance(error, OSError) and error.filename is not None:
        return _unusable_folder(error, arguments)
    for pattern, words in _KINDS:
        if found := re.search(pattern, str(error)):
            return words(_Fault(error, found, arguments))
    return _plain(error)


def _plain(error: Exception) -> str:
    """The error's own text, without Hydra's appendices."""
    text = re.split(r"Config search path:|See https://hydra.cc", str(error))[0]
    return text.strip() or type(error).__name__


# A value or an option that does not exist


def _unknown_key(fault: _Fault) -> str:
    key = fault.found["key"]
    given = fault.typed(key)
    value = given.partition("=")[2]
    for config in configs_without(key, fault.arguments):
        owner, lacking = _walk(config, key)
        if lacking and owner:
            return f"{given}: {_no_such_part(config, owner, lacking, key, value)}"
        if lacking:
            return f"{given}: {_no_such_value(config, lacking, key, value)}"
    return _plain(fault.error)


def _walk(config: Config, key: str) -> tuple[str, str]:
    """How far a dotted key leads, and its first part that is not there; "" where all of it is."""
    parts = key.split(".")
    node: Any = config
    for depth, part in enumerate(parts):
        if not isinstance(node, dict) or part not in node:
            return ".".join(parts[:depth]), part
        node = node[part]
    return key, ""


def _no_such_value(config: Config, lacking: str, key: str, value: str) -> str:
    there = names(config)
    nested = [f"{owner}.{lacking}" for owner in (*there, "hydra.launcher")]
    inside = [name for name in nested if _walk(config, name)[1] == ""]
    alias = _ELSEWHERE.get(lacking.lower().replace("-", "_"))
    best = inside[0] if inside else alias or nearest(lacking.lower(), there)
    if best is None:
        return f"there is no such value or group; there are {', '.join(there)}"
    return f"there is no such value or group; type {assign(best + key[len(lacking) :], value)}"


def _no_such_part(config: Config, owner: str, lacking: str, key: str, value: str) -> str:
    node, group = at(config, owner), owner.replace(".", "/")
    if not isinstance(node, dict):
        return f"{owner} is a single value; type {assign(owner, value)}"
    there = [name for name in node if not name.startswith("_")]
    option = chosen(config).get(group)
    place = f"{group}={option}" if option else owner
    has = f"{place} has no {lacking}, only {', '.join(there) or 'its name'}"
    if others := options_with(group, lacking):
        return f"{has}; it belongs to {', '.join(f'{group}={other}' for other in others)}"
    if best := nearest(lacking.lower(), there):
        rest = key[len(f"{owner}.{lacking}") :]
        return f"{has}; type {assign(f'{owner}.{best}{rest}', value)}"
    if target := node.get("_target_"):
        return f"{has}; where {target} takes it, type {assign(f'+{key}', value)}"
    return has


def _unknown_option(fault: _Fault) -> str:
    group, allowed = fault.found["group"], fault.found["options"].split()
    option = fault.found["missing"].removeprefix(group).strip("/")
    best = nearest(Path(option).stem.lower(), allowed) or chosen(composed()).get(group)
    return f"{group}={option}: must be one of {', '.join(allowed)}; type {group}={best}"


def _no_option(fault: _Fault) -> str:
    """A group was given null or a number, or an equals sign stands without a name before it."""
    for override in overrides_in(fault.arguments):
        given, group = str(override.input_line), override.key_or_group
        allowed = options(group)
        if not group:
            return f"{given}: a name is missing before the equals sign; type NAME=VALUE"
        swept = override.is_sweep_override()
        values = list(override.sweep_iterator()) if swept else [override.value()]
        if allowed and not all(isinstance(value, str | list) for value in values):
            best = "none" if "none" in allowed else chosen(composed())[group]
            return f"{given}: must be one of {', '.join(allowed)}; type {group}={best}"
    return _plain(fault.error)


# Several values, signs before a name, references


def _several_values(fault: _Fault) -> str:
    given = fault.found["given"]
    key, _, values = given.partition("=")
    sweep = f"{given}: several values make a sweep; type {command('-m', *fault.arguments)}"
    with suppress(Exception):  # what else is wrong, or sweeps, is the next message's
        usual = at(next(configs_without(key, fault.arguments)), key)
        if isinstance(usual, float) and re.fullmatch(r"\d+,\d+", values):
            return f"{sweep}; for one number type {assign(key, values.replace(',', '.'))}"
        if isinstance(usual, list):
            return f"{sweep}; for one list type {assign(key, f'[{values}]')}"
    return sweep


def _exists_already(fault: _Fault) -> str:
    key = fault.found["key"]
    given = fault.typed(key)
    if not given.startswith("+"):
        return _plain(fault.error)
    return f"{given}: {key} exists already; type {shlex.quote(given.lstrip('+'))}"


def _nothing_to_delete(fault: _Fault) -> str:
    return f"~{fault.found['key']}: there is nothing of that name to remove; leave it out"


def _cannot_merge(fault: _Fault) -> str:
    """A value of the wrong type for one of Hydra's own, or for a launcher's."""
    cause = fault.error.__cause__
    reason = first_line(cause) if cause else "it is of the wrong type"
    return f"{fault.found['given']}: {reason}"


def _one_value_only(fault: _Fault) -> str:
    key, _, values = fault.found["given"].partition("=")
    first = assign(key, values.partition(",")[0])
    return f"{key}={values}: {key} takes one value for the whole sweep; type {first}"


def _unknown_sweep(fault: _Fault) -> str:
    kind = fault.found["kind"].lower()
    given = fault.typed_with(f"{kind}(") or kind
    install = "" if find_spec("optuna") else "pip install 'optsweep[optuna]', then "
    return (
        f"{given}: a grid takes a list or a range; type {key_of(given)}=1e-3,1e-2,1e-1, "
        f"or for a search {install}add hydra/sweeper=optuna"
    )


def _value_for_group(fault: _Fault) -> str:
    """`hydra.launcher=local` sets a value where a group's option was meant."""
    given = fault.typed_with("hydra.launcher=") or fault.typed_with("hydra.sweeper=")
    if given is None:
        return _plain(fault.error)
    return f"{given}: an option is chosen with a slash; type {given.replace('.', '/', 1)}"


def _no_such_reference(fault: _Fault) -> str:
    name = fault.found["name"]
    if f"~{name}" in fault.arguments:
        return f"~{name}: other values refer to {name}; leave ~{name} out"
    given = fault.typed_with(name) or "conf/"
    return f"{given}: ${{{name}}} refers to a value that does not exist; type the value itself"


def _no_such_variable(fault: _Fault) -> str:
    name = fault.found["name"]
    given = fault.typed_with(name) or "conf/"
    return f"{given}: the environment variable {name} is not set; type export {name}=VALUE first"


def _unusable_folder(error: OSError, arguments: Sequence[str]) -> str:
    key = "hydra.sweep.dir" if {"-m", "--multirun"} & set(arguments) else "hydra.run.dir"
    return (
        f"{error.filename} cannot be used ({error.strerror}); open or free its folder, or give "
        f"another with {key}=/path/to/folder"
    )


_OPTIONS = r"Could not find '(?P<missing>[^']*)'\s+Available options in '(?P<group>[^']+)':"

_KINDS: Sequence[tuple[str, Callable[[_Fault], str]]] = (
    (r"Could not override '(?P<key>[^']+)'", _unknown_key),
    (_OPTIONS + r"(?P<options>(?:\n\t\S+)+)", _unknown_option),
    (r"Config group override must be a string", _no_option),
    (r"Ambiguous value for argument '(?P<given>[^\n]+)'\n", _several_values),
    (r"Sweep parameters '(?P<given>.+)' requires --multirun", _several_values),
    (r"An item is already at '(?P<key>[^']+)'", _exists_already),
    (r"Multiple values for (?P<key>\S+)\.", _exists_already),
    (r"force-add of config groups is not supported: '\+\+(?P<key>[^=']+)", _exists_already),
    (
        r"Could not delete (from config\. )?'(?P<key>[^']+)'( does not|\. No match)",
        _nothing_to_delete,
    ),
    (r"Error merging override (?P<given>.+)", _cannot_merge),
    (r"Sweeping over Hydra's configuration is not supported : '(?P<given>.+)'", _one_value_only),
    (r"does not support sweep type : (?P<kind>[A-Z]+)_SWEEP", _unknown_sweep),
    (r"Input config does not have a `_target_` field", _value_for_group),
    (r"Interpolation key '(?P<name>[^']+)' not found", _no_such_reference),
    (r"Environment variable '(?P<name>[^']+)' not found", _no_such_variable),
)
