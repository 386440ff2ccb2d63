"""Arguments that are not NAME=VALUE, and what they were meant as.

Flags that do not exist, bare words, a space where none belongs, brackets that are not closed.
"""

import argparse
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.errors import OverrideParseException

from optsweep.cli.compat.hydra import flag_parser
from optsweep.cli.options import composed, groups, names, options
from optsweep.config.overrides import key_of
from optsweep.errors import nearest
from optsweep.system.project_folder import typed_command
from optsweep.system.redaction import redact

_FUNCTIONS = ("range", "choice", "glob", "shuffle", "sort")  # Hydra's, as far as they make sweeps


def assign(key: str, value: str) -> str:
    """An argument as it is to be typed: in quotes where the shell would read more into it."""
    return shlex.quote(f"{key}={value}")


def command(*arguments: str) -> str:
    """The command line that was typed, with other arguments."""
    return shlex.join([*typed_command(), *arguments])


def unknown_flag(arguments: Sequence[str]) -> str | None:
    """The message about a flag that does not exist or lacks its value; None where all is well.

    Hydra's own answer would be eight lines of usage.
    """
    parser = flag_parser()
    parser.exit_on_error = False
    try:
        unknown: list[str] = parser.parse_known_args(list(arguments))[1]
    except argparse.ArgumentError as error:
        return f"{error}; --hydra-help lists the flags"
    if not unknown:
        return None
    flag = unknown[0]
    if not flag.startswith("-"):
        typed = [each for each in arguments if each not in ("-m", "--multirun")]
        how = f"; type {command('-m', *typed)}" if len(typed) < len(arguments) else ""
        return redact(f"{flag}: flags stand before all values{how}")
    key, equals, value = flag.lstrip("-").replace("-", "_").partition("=")
    flags = re.findall(r"--[\w-]+", parser.format_usage())
    if not equals and not _is_value(key) and (best := nearest(flag.lower(), flags)):
        return f"{flag}: there is no such flag; type {best}"
    value = value if equals else _following(flag, arguments) or "VALUE"
    return redact(f"{flag}: values are typed without dashes; type {assign(key, value)}")


def _is_value(key: str) -> bool:
    with suppress(Exception):
        return key.partition(".")[0] in names(composed())
    return False


def unreadable(error: OverrideParseException, arguments: Sequence[str]) -> str:
    """The message about an argument that Hydra's grammar does not know."""
    given = str(error.override)
    named = re.fullmatch(r"([+~\w./@-]*)\s*=\s*(.*)", given, re.DOTALL)
    if not named:
        return f"{given!r}: an argument is NAME=VALUE{_meant(given, arguments)}"
    key, value = named.groups()
    if key == "hydra.sweeper.grids":
        return (
            f"{given}: each string stands in double quotes, and the whole in single ones; type "
            f"""'{key}=["optimizer=sgd lr=1e-2,1e-1","optimizer=adam lr=1e-4,1e-3"]'"""
        )
    if function := re.search(r"Unknown function '(\w+)'", str(error)):
        return f"{given}: {_no_such_function(key, value, function[1])}"
    if refusal := re.search(r" while evaluating '.*': (.+)", str(error)):
        return f"{given}: {refusal[1]}; type for example {key}=1e-3,1e-2 or 'range(1,4)'"
    if value.endswith(","):
        whole = value + (_following(given, arguments) or "")
        meant = assign(key, whole.rstrip(","))
        how = command("-m", meant) if "," in meant else meant
        return f"{given}: nothing follows the comma; type, without spaces, {how}"
    if re.search(r"\s[\w.]+=", value):
        return f"{given!r} is several arguments in one; type {given} without quotes around it"
    return f"{given}: {_badly_quoted(key, value)}"


def _no_such_function(key: str, value: str, name: str) -> str:
    best = nearest(name, _FUNCTIONS)
    fixed = f"type {assign(key, value.replace(name, best, 1))}" if best else "type a list, a,b"
    return f"there is no function {name}, but {', '.join(_FUNCTIONS)}; {fixed}"


def _badly_quoted(key: str, value: str) -> str:
    if re.fullmatch(r"[\w.+-]+(;\s*[\w.+-]+)+", value):
        parted = re.sub(r";\s*", ",", value)
        return f"values are parted by commas; type {key}={parted}"
    if value.startswith("=") and "=" not in value[1:]:
        return f"one equals sign is enough; type {assign(key, value[1:])}"
    for opening, closing in ("[]", "{}", "()"):
        excess = value.count(opening) - value.count(closing)
        if excess > 0:
            return f"{opening} is not closed; type {assign(key, value + closing * excess)}"
        if excess < 0:
            return f"{closing} has no {opening}; type {assign(key, value.rstrip(closing))}"
    bare = re.sub("[\"']", "", value)
    return f"""a value with special characters needs both quotes; type '{key}="{bare}"'"""


def _meant(word: str, arguments: Sequence[str]) -> str:
    """What a bare word was meant as: `lr = 1`, `lr 1`, `lr:1`, `lr= 1`, `adam`."""
    place = list(arguments).index(word)
    if place and arguments[place - 1].endswith("="):
        return f"; type, without spaces, {assign(key_of(arguments[place - 1]), word)}"
    if arguments[place + 1 : place + 2] == ["="]:
        value = "".join(arguments[place + 2 : place + 3])
        return f"; type, without spaces, {assign(word, value)}"
    if apart := re.fullmatch(r"([a-z][\w.]*):(.+)", word):
        return f"; type {assign(apart[1], apart[2])}"
    path = Path(word)
    for group in groups():
        if path.stem in options(group) and path.parent.name in ("", group):
            return f"; type {group}={path.stem}"
    if value := _following(word, arguments) or "":
        return f"; type {assign(word, value)}"
    return ", such as lr=1e-3 or optimizer=adam; this has no equals sign"


def _following(argument: str, arguments: Sequence[str]) -> str | None:
    """The next argument where it is a bare word, as when a space was typed before it."""
    place = list(arguments).index(argument) + 1
    after = "".join(arguments[place : place + 1])
    return after if after and "=" not in after and not after.startswith("-") else None
