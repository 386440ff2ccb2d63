"""Hydra's errors as one line that says what was given, what is allowed and what to type instead.

`in_one_line` is given an error and the command line's arguments, and returns the line. Hydra tells
its errors apart by their text alone, so `_KINDS` maps a pattern of that text to the function that
words it anew. What exists in conf/ is asked of Hydra: the config is composed again without the
argument at fault, so that presets, chosen options and plugins all have their say.
"""

import argparse
import itertools
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from optsweep.errors import OptsweepError, nearest
from optsweep.settings import redact

# Words that people bring from elsewhere, beside those that are only spelled otherwise.
_ELSEWHERE = {"learning_rate": "lr", "bs": "batch_size", "network": "model", "net": "model"}

Tree = dict[str, Any]


@dataclass(frozen=True)
class _Fault:
    """An error of a known kind: what its pattern found in the text, and what had been typed."""

    error: Exception
    text: str
    found: re.Match[str]
    arguments: Sequence[str]

    def typed(self, key: str) -> str:
        """The argument that sets `key`, as it was typed; the key alone where there is none."""
        return next((typed for typed in self.arguments if _key(typed) == key), key)


def in_one_line(error: Exception, arguments: Sequence[str]) -> str:
    """What to tell a person about an error, given the arguments as typed; never raises."""
    if isinstance(error, OptsweepError):
        return redact(_joined(str(error)))
    with suppress(Exception):  # whatever goes wrong here, the error itself can still be told
        return redact(_joined(_worded(error, arguments)))
    return redact(_plain(error))


def unknown_flag(arguments: Sequence[str]) -> str | None:
    """What to tell about a flag that does not exist or lacks its value; None where all is well.

    Hydra's own answer would be eight lines of usage.
    """
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        unknown: list[str] = parser.parse_known_args(list(arguments))[1]
    except argparse.ArgumentError as error:
        return f"{error}; --hydra-help lists the flags"
    if not unknown:
        return None
    flag = unknown[0]
    flags = [name for name in parser._option_string_actions if name.startswith("--")]
    key, equals, value = flag.lstrip("-").partition("=")
    if not equals and (best := nearest(flag.lower(), flags)):
        return f"{flag}: there is no such flag; type {best}"
    if not equals:
        value = _following(flag, arguments) or "VALUE"
    return f"{flag}: values are typed without dashes; type {key.replace('-', '_')}={value}"


def is_hydras(error: BaseException) -> bool:
    """Whether Hydra itself raised the error, while it read the command line and conf/.

    It is not where code of ours, or what that called, raised it: then the traceback is wanted.
    """
    modules = [
        str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    ours = ("__main__", "optsweep.", "hydra_plugins.optsweep.")
    last = max((i for i, module in enumerate(modules) if module.startswith(ours)), default=-1)
    return modules[last + 1 : last + 2] != [] and modules[last + 1].startswith("hydra.")


def _worded(error: Exception, arguments: Sequence[str]) -> str:
    if isinstance(error, OverrideParseException):
        return _unreadable(error, arguments)
    if isinstance(error, OSError) and error.filename is not None:
        return _unusable_folder(error, arguments)
    text = str(error)
    for pattern, words in _KINDS:
        if found := re.search(pattern, text):
            return words(_Fault(error, text, found, arguments))
    return _plain(error)


def _plain(error: Exception) -> str:
    """The error's own text, without Hydra's appendices."""
    text = re.split(r"Config search path:|See https://hydra.cc", str(error))[0]
    return _joined(text) or type(error).__name__


def _joined(text: str) -> str:
    return " ".join(text.split())


# What exists


def _conf() -> Path:
    """conf/, which lies beside the folder of the script that was started."""
    return Path(sys.argv[0]).resolve().parent.parent / "conf"


def _options(group: str) -> list[str]:
    return sorted(file.stem for file in (_conf() / group).glob("*.yaml"))


def _key(argument: str) -> str:
    return argument.lstrip("+~").partition("=")[0]


def _overrides(arguments: Sequence[str]) -> list[Override]:
    """The arguments that Hydra can read as overrides, one by one."""
    parsed: list[Override] = []
    for argument in arguments:
        with suppress(OverrideParseException):
            parsed += OverridesParser.create().parse_overrides([argument])
    return parsed


def _compose(overrides: Sequence[str]) -> Tree:
    with initialize_config_dir(str(_conf()), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    tree: Any = OmegaConf.to_container(config, resolve=False)
    return dict(tree)


def _configs(arguments: Sequence[str], key: str) -> Iterator[Tree]:
    """What the command line composes to without `key`: one config for each option that it sweeps.

    A second fault beside the one at hand leaves the defaults.
    """
    choices = []
    for override in _overrides(arguments):
        name = override.get_key_element()
        if _key(name) == key:
            continue
        if not override.is_sweep_override():
            choices.append([str(override.input_line)])
            continue
        values = [f"{name}={value}" for value in override.sweep_string_iterator()]
        choices.append(values if _options(name) else values[:1])
    for overrides in itertools.islice(itertools.product(*choices), 20):
        try:
            yield _compose(overrides)
        except Exception:
            yield _compose([])


def _chosen(config: Tree) -> dict[str, str]:
    """Each group's chosen option: "optimizer" -> "sgd", "hydra/launcher" -> "local"."""
    return {str(group): str(name) for group, name in config["hydra"]["runtime"]["choices"].items()}


def _names(config: Tree) -> list[str]:
    """The groups and top-level values."""
    groups = [group for group in _chosen(config) if "/" not in group]
    return list(dict.fromkeys([*config, *groups] if "hydra" not in config else _names_of(config)))


def _names_of(config: Tree) -> list[str]:
    groups = [group for group in _chosen(config) if "/" not in group]
    return [name for name in [*config, *groups] if name != "hydra"]


# A value or an option that does not exist


def _unknown_key(fault: _Fault) -> str:
    key = fault.found["key"]
    given = fault.typed(key)
    value = given.partition("=")[2]
    for config in _configs(fault.arguments, key):
        owner, lacking, there = _walk(config, key)
        if lacking:
            break
    else:
        return _plain(fault.error)
    if owner:
        return f"{given}: {_no_such_part(config, owner, lacking, there, key, value)}"
    return f"{given}: {_no_such_value(config, lacking, key, value)}"


def _walk(config: Tree, key: str) -> tuple[str, str, list[str] | None]:
    """How far a dotted key leads: what is there, the first part that is not, and what is instead.

    The last is None where the key leads into a single value; the part is empty where all is there.
    """
    node: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        owner = ".".join(parts[:depth])
        if not isinstance(node, dict):
            return owner, part, None
        if part not in node:
            return owner, part, [name for name in node if name != "_target_"]
        node = node[part]
    return key, "", []


def _no_such_value(config: Tree, lacking: str, key: str, value: str) -> str:
    names = _names(config)
    inside = [name for name in names if lacking in _inside(config, name)]
    alias = _ELSEWHERE.get(lacking.lower().replace("-", "_"))
    best = f"{inside[0]}.{lacking}" if inside else alias or nearest(lacking.lower(), names)
    if best is None:
        return f"there is no such value or group; there are {', '.join(names)}"
    return f"there is no such value or group; type {_assign(key.replace(lacking, best, 1), value)}"


def _inside(config: Tree, name: str) -> list[str]:
    node = config.get(name)
    return list(node) if isinstance(node, dict) else []


def _no_such_part(
    config: Tree, owner: str, lacking: str, there: list[str] | None, key: str, value: str
) -> str:
    if there is None:
        return f"{owner} is a single value; type {_assign(owner, value)}"
    group = owner.replace(".", "/")
    chosen = _chosen(config).get(group)
    place = f"{group}={chosen}" if chosen else owner
    has = f"{place} has no {lacking}, only {', '.join(there) or 'no values at all'}"
    if others := _options_with(group, lacking):
        return f"{has}; {lacking} belongs to {group}={', '.join(others)}: type {group}={others[0]}"
    if best := nearest(lacking.lower(), there):
        prefix = f"{owner}.{lacking}"
        return f"{has}; type {_assign(f'{owner}.{best}' + key[len(prefix) :], value)}"
    target = _inside_value(config, owner, "_target_")
    return f"{has}; if {target} takes it, type {_assign(f'+{key}', value)}" if target else has


def _inside_value(config: Tree, owner: str, name: str) -> Any:
    node: Any = config
    for part in owner.split("."):
        node = node[part]
    return node.get(name)


def _options_with(group: str, name: str) -> list[str]:
    """The options of a group whose file holds the value `name`."""
    return [
        option for option in _options(group) if name in OmegaConf.load(_conf() / group / f"{option}.yaml")
    ]


def _unknown_option(fault: _Fault) -> str:
    group, options = fault.found["group"], fault.found["options"].split()
    option = fault.found["missing"].removeprefix(group).strip("/")
    best = nearest(Path(option).stem.lower(), options) if option else None
    if best is None:
        best = next((_chosen(config).get(group) for config in _configs((), group)), options[0])
    return f"{group}={option}: must be one of {', '.join(options)}; type {group}={best}"


def _no_option(fault: _Fault) -> str:
    """A group was given null or a number, or an equals sign stands without a name before it."""
    for override in _overrides(fault.arguments):
        values: list[Any] = [override.value()]
        if override.is_sweep_override():
            values = list(override.sweep_iterator())
        group, options = override.key_or_group, _options(override.key_or_group)
        if not group:
            return f"{override.input_line}: a name is missing before the equals sign: NAME=VALUE"
        if options and any(not isinstance(value, str | list) for value in values):
            best = "none" if "none" in options else _chosen(_compose([]))[group]
            allowed = f"must be one of {', '.join(options)}"
            return f"{override.input_line}: {allowed}; type {group}={best}"
    return _plain(fault.error)


# Several values, signs before a name, braces


def _several_values(fault: _Fault) -> str:
    given = fault.found["given"]
    key, _, values = given.partition("=")
    words = [f"{given}: several values make a sweep; type {_command('-m', *fault.arguments)}"]
    if re.fullmatch(r"\d+,\d+", values):
        words.append(f"for one number type {key}={values.replace(',', '.')}")
    with suppress(Exception):
        config = next(_configs(fault.arguments, key))
        if isinstance(_inside_value(config, *key.rpartition(".")[::2]), list):
            words.append(f"for one list type {_assign(key, f'[{values}]')}")
    return "; ".join(words)


def _command(*arguments: str) -> str:
    return shlex.join(["python", sys.argv[0], *arguments])


def _assign(key: str, value: str) -> str:
    """An argument as it is to be typed, in quotes where the shell would read more into it."""
    return shlex.quote(f"{key}={value}")


def _exists_already(fault: _Fault) -> str:
    given = fault.typed(fault.found["key"])
    if not given.startswith("+"):
        return _plain(fault.error)
    return f"{given}: {fault.found['key']} exists already; type {given.lstrip('+')}"


def _nothing_to_delete(fault: _Fault) -> str:
    return f"~{fault.found['key']}: there is nothing of that name to remove; leave it out"


def _cannot_merge(fault: _Fault) -> str:
    """A value of the wrong type for one of Hydra's own, or of a launcher's."""
    reason = str(fault.error.__cause__ or "wrong type").splitlines()[0]
    return f"{fault.found['given']}: {reason}"


def _one_value_only(fault: _Fault) -> str:
    key, _, values = fault.found["given"].partition("=")
    first = values.partition(",")[0]
    return f"{key}={values}: {key} takes one value for the whole sweep; type {_assign(key, first)}"


def _unknown_sweep(fault: _Fault) -> str:
    kind = fault.found["kind"].lower()
    given = next((typed for typed in fault.arguments if f"{kind}(" in typed), kind)
    key = _key(given)
    return f"{given}: a sweep takes a list or a range; type for example {key}=1e-3,1e-2,1e-1"


def _group_as_value(fault: _Fault) -> str:
    """`hydra.launcher=local` sets a value where a group's option was meant."""
    for typed in fault.arguments:
        if found := re.fullmatch(r"hydra\.(launcher|sweeper)=(.*)", typed):
            return f"{typed}: an option is chosen with a slash; type hydra/{found[1]}={found[2]}"
    return _plain(fault.error)


def _no_such_reference(fault: _Fault) -> str:
    name = fault.found["name"]
    if f"~{name}" in fault.arguments:
        return f"~{name}: other values refer to {name}; leave ~{name} out"
    given = next((typed for typed in fault.arguments if "${" in typed), "conf/")
    return f"{given}: ${{{name}}} refers to a value that does not exist; type another name"


def _no_such_variable(fault: _Fault) -> str:
    name = fault.found["name"]
    given = next((typed for typed in fault.arguments if name in typed), f"${{oc.env:{name}}}")
    return f"{given}: the environment variable {name} is not set; type export {name}=VALUE first"


# An argument that is not NAME=VALUE


def _unreadable(error: OverrideParseException, arguments: Sequence[str]) -> str:
    given = str(error.override)
    named = re.fullmatch(r"([+~\w./@-]*)\s*=\s*(.*)", given, re.DOTALL)
    if not named:
        return f"{given!r}: an argument is NAME=VALUE{_meant(given, arguments)}"
    key, value = named.groups()
    if function := re.search(r"Unknown function '(\w+)'\nAvailable: (\S+)", str(error)):
        return _unknown_function(given, key, value, function)
    if value.endswith(","):
        last = _following(given, arguments)
        whole = value + last if last else value.rstrip(",")
        how = _command("-m", f"{key}={whole}") if "," in whole else _assign(key, whole)
        return f"{given}: a value is missing after the comma; type, without spaces, {how}"
    if value.startswith("=") and "=" not in value[1:]:
        return f"{given}: one equals sign is enough; type {_assign(key, value[1:])}"
    if re.search(r"\s[\w.]+=", value):
        return f"{given!r}: several arguments in one; type {given} without quotes around it"
    for bracket, closing in ("[]", "{}", "()"):
        if (missing := value.count(bracket) - value.count(closing)) != 0:
            fixed = value + closing * missing if missing > 0 else value[:missing]
            word = "does not close" if missing > 0 else "was not opened"
            return f"{given}: a bracket {word}; type {_assign(key, fixed)}"
    quoted = value.replace('"', "").replace("'", "")
    return f"""{given}: a value with special characters needs quotes twice; type '{key}="{quoted}"'"""


def _unknown_function(given: str, key: str, value: str, found: re.Match[str]) -> str:
    available = found[2].split(",")
    best = nearest(found[1], available)
    fixed = f"; type {_assign(key, value.replace(found[1], best, 1))}" if best else ""
    return f"{given}: there is no function {found[1]}, only {', '.join(available)}{fixed}"


def _meant(word: str, arguments: Sequence[str]) -> str:
    """What a bare word may have been meant as: `lr = 1`, `lr 1`, `lr:1`, `lr= 1`, `adam`."""
    at = list(arguments).index(word)
    if at and arguments[at - 1].endswith("="):
        return f"; type, without spaces, {_assign(_key(arguments[at - 1]), word)}"
    if arguments[at + 1 : at + 2] == ["="]:
        return f"; type, without spaces, {_assign(word, ''.join(arguments[at + 2 : at + 3]))}"
    if apart := re.fullmatch(r"([a-z][\w.]*)[:/](.+)", word):
        return f"; type {_assign(apart[1], apart[2])}"
    for group in sorted(folder.name for folder in _conf().iterdir() if folder.is_dir()):
        if word in _options(group):
            return f"; type {group}={word}"
    if value := _following(word, arguments):
        return f"; type {_assign(word, value)}"
    return f", such as lr=1e-3 or optimizer=adam; {word} has no equals sign"


def _following(argument: str, arguments: Sequence[str]) -> str | None:
    """The next argument where it is a bare word, as when a space was typed before it."""
    at = list(arguments).index(argument)
    after = "".join(arguments[at + 1 : at + 2])
    return after if after and "=" not in after and not after.startswith("-") else None


# Folders


def _unusable_folder(error: OSError, arguments: Sequence[str]) -> str:
    key = "hydra.sweep.dir" if {"-m", "--multirun"} & set(arguments) else "hydra.run.dir"
    return (
        f"{error.filename} cannot be used ({error.strerror}); open or free its folder, or give "
        f"another with {key}=/path/to/folder"
    )


_KINDS: Sequence[tuple[str, Callable[[_Fault], str]]] = (
    (r"Could not override '(?P<key>[^']+)'", _unknown_key),
    (
        r"Could not find '(?P<missing>[^']*)'\s+Available options in '(?P<group>[^']+)':"
        r"(?P<options>(?:\n\t\S+)+)",
        _unknown_option,
    ),
    (r"Config group override must be a string", _no_option),
    (r"Ambiguous value for argument '(?P<given>[^\n]+)'\n", _several_values),
    (r"Sweep parameters '(?P<given>.+)' requires --multirun", _several_values),
    (r"An item is already at '(?P<key>[^']+)'", _exists_already),
    (r"Multiple values for (?P<key>\S+)\.", _exists_already),
    (r"force-add of config groups is not supported: '\+\+(?P<key>[^=']+)", _exists_already),
    (r"Could not delete (?:from config\. )?'(?P<key>[^']+)'(?: does not|\. No match)", _nothing_to_delete),
    (r"Error merging override (?P<given>.+)", _cannot_merge),
    (r"Sweeping over Hydra's configuration is not supported : '(?P<given>.+)'", _one_value_only),
    (r"does not support sweep type : (?P<kind>[A-Z]+)_SWEEP", _unknown_sweep),
    (r"Input config does not have a `_target_` field", _group_as_value),
    (r"Interpolation key '(?P<name>[^']+)' not found", _no_such_reference),
    (r"Environment variable '(?P<name>[^']+)' not found", _no_such_variable),
)
