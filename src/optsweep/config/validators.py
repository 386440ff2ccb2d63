"""Checks of single values: each gives the value back, typed, or says what to type instead.

A check is given a value's name, as it is typed on the command line, and the value.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optsweep.errors import SettingsError, nearest
from optsweep.records.values import is_number

Check = Callable[[str, Any], Any]


def refuse(name: str, given: Any, allowed: str, instead: str) -> SettingsError:
    """The error that names what was given, what is allowed, and what to type instead."""
    shown = "null" if given is None else given
    return SettingsError(f"{name}={shown}: {allowed}; type for example {name}={instead}")


def positive(name: str, value: Any) -> float:
    """A finite number above 0, as a float."""
    if not is_number(value) or value <= 0:
        raise refuse(name, value, "must be a finite number above 0", "1e-3")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """A number from 0 up to, but not including, 1, as a float."""
    if not is_number(value) or not 0 <= value < 1:
        raise refuse(name, value, "must be a number from 0 up to, but not including, 1", "0.1")
    return float(value)


def share(name: str, value: Any) -> float:
    """A number above 0 and up to 1, as a float: an accuracy."""
    if not is_number(value) or not 0 < value <= 1:
        percent = is_number(value) and 1 < value <= 100
        instead = f"{value / 100:g}" if percent else "0.85"
        raise refuse(name, value, "must be a number above 0 and at most 1", instead)
    return float(value)


def integer(least: int, example: str) -> Check:
    """A check for integers from `least` to 2**63 - 1."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            meant = isinstance(value, float) and value.is_integer() and value >= least
            instead = str(int(value)) if meant else example
            raise refuse(name, value, f"must be an integer >= {least}", instead)
        if value >= 2**63:
            raise refuse(name, value, "must be below 2**63", example)
        return value

    return check


def integer_or(word: str, least: int, example: str) -> Check:
    """A check for `word`, or an integer from `least` on."""

    def check(name: str, value: Any) -> int | str:
        if value == word:
            return word
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise refuse(name, value, f"must be {word} or an integer >= {least}", example)
        return value

    return check


def margin(name: str, value: Any) -> float:
    """A number above 0 and below 1, as a float: a difference of accuracies."""
    if not is_number(value) or not 0 < value < 1:
        raise refuse(name, value, "must be a number above 0 and below 1", "0.01")
    return float(value)


def rate_range(name: str, value: Any) -> tuple[float, float] | None:
    """The lowest and the highest of a range of learning rates; None for null."""
    if value is None:
        return None
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value))
    if not is_pair or not 0 < value[0] < value[1]:
        shown = f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else value
        raise refuse(name, shown, "must be two numbers above 0, the lower first", "[1e-3,1]")
    return float(value[0]), float(value[1])


def optional(check: Check) -> Check:
    """A check that lets null pass too."""
    return lambda name, value: None if value is None else check(name, value)


def one_of(*allowed: str) -> Check:
    """A check for one of the texts `allowed`."""

    def check(name: str, value: Any) -> str:
        if value not in allowed:
            best = nearest(str(value).lower(), allowed) or allowed[0]
            raise refuse(name, value, f"must be one of {', '.join(allowed)}", best)
        return str(value)

    return check


def yes_or_no(name: str, value: Any) -> bool:
    """The value of `name` where that is true or false.

    Raises:
        SettingsError: it is something else.
    """
    if not isinstance(value, bool):
        meant = "false" if str(value).lower() in ("no", "n", "off", "0", "false") else "true"
        raise refuse(name, value, "must be true or false", meant)
    return value


def text(example: str) -> Check:
    """A check for a text that is not empty."""

    def check(name: str, value: Any) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise SettingsError(f"""{name}={value}: must be a text; type '{name}="{value}"'""")
        if not isinstance(value, str) or not value.strip():
            given = "" if value is None else value
            raise refuse(name, given, "must be a text, not empty", example)
        return value

    return check


def check_address(name: str, value: Any) -> str:
    """The address of an MLflow store, where it is of a kind that MLflow has.

    Raises:
        SettingsError: it names a plain file or folder, or lacks its beginning.
    """
    uri: str = text("sqlite:////path/to/mlflow.db")(name, value)
    path = Path(re.sub(r"^(sqlite|file):(//)?", "", uri)).expanduser()
    database = f"{name}=sqlite:///{(path if path.suffix else path / 'mlflow.db').absolute()}"
    if re.match(r"sqlite:(?!///)", uri):
        how = "an sqlite address has three slashes, then the file's path"
        raise SettingsError(f"{name}={uri}: {how}; type {database}")
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        raise SettingsError(
            f"{name}={uri}: a server's address begins with http; type {name}=http://{uri}"
        )
    if ":" not in uri.removeprefix("file:") and not uri.startswith("databricks"):
        raise SettingsError(
            f"{name}={uri}: MLflow no longer keeps runs in plain files; type a database such as "
            f"{database}, or a server, {name}=http://host:5000"
        )
    return uri


def check_held_out(values: Mapping[str, Any]) -> None:
    """Makes sure that there is validation data for what needs it.

    Raises:
        SettingsError: an epoch is to be chosen, or a run to be ended, by data that is not there.
    """
    needs = {"select": values["select"] == "best", "patience": values["patience"] is not None}
    for name in [name for name, does in needs.items() if does]:
        if values["val_fraction"] == 0:
            raise SettingsError(
                f"{name}={values[name]} needs validation data, and val_fraction=0 leaves none; "
                "type val_fraction=0.1"
            )


def folder(name: str, value: Any) -> Path:
    """A folder, with `~` spelled out."""
    return Path(text("/path/to/folder")(name, value)).expanduser()


def device(name: str, value: Any) -> str:
    """A device by torch's name, or auto."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", str(value)):
        word = str(value).lower()
        best = {"gpu": "cuda"}.get(word) or nearest(word, ("auto", "cpu", "cuda", "mps"))
        raise refuse(name, value, "must be one of auto, cpu, cuda, cuda:N, mps", best or "auto")
    return str(value)
