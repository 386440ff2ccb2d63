"""An option's `_target_` and arguments -> the object it names, with readable refusals."""

import inspect
import pkgutil
import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from optsweep.config.settings import Option
from optsweep.config.validators import yes_or_no
from optsweep.errors import OptsweepError, SettingsError, nearest
from optsweep.system.exceptions import first_line

# Packages that options of conf/ name, and the extras that hold them.
_EXTRAS = {"schedulefree": "optimizers", "pytorch_optimizer": "optimizers"}

# How a function that loads data refuses an argument; what else it raises is its own matter.
_REFUSALS = (TypeError, ValueError, RuntimeError, ArithmeticError)


def resolve(group: str, option: Option) -> Callable[..., Any]:
    """What the option's `_target_` names.

    Raises:
        SettingsError: there is no such module or name, or it cannot be called.
    """
    try:
        target: Any = pkgutil.resolve_name(option.target)
    except (ImportError, AttributeError, ValueError) as error:
        extra = _EXTRAS.get(getattr(error, "name", None) or "")
        install = f"; type pip install 'optsweep[{extra}]'" if extra else ""
        raise SettingsError(
            f"{group}={option.name}: _target_ {option.target} cannot be imported ({error}){install}"
        ) from error
    if not callable(target):
        raise SettingsError(f"{group}={option.name}: _target_ {option.target} cannot be called")
    named: Callable[..., Any] = target
    return named


def accepts(target: Callable[..., Any], name: str) -> bool:
    """Whether `target` has a parameter of that name."""
    return name in inspect.signature(target).parameters


def check_arguments(group: str, option: Option, target: Callable[..., Any]) -> None:
    """Refuses arguments that the target does not take, with the nearest that it does.

    Raises:
        SettingsError: an argument is unknown to the target, or a text where that has a yes or no.
    """
    parameters = inspect.signature(target).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name, value in option.arguments.items():
        if name not in parameters:
            best = nearest(name, parameters)
            takes = [key for key, p in parameters.items() if p.default is not p.empty]
            known = f"it takes {', '.join(takes) or 'none'}"
            hint = f"did you mean {group}.{best}?" if best else known
            raise SettingsError(f"{group}.{name}: {option.target} takes no such argument; {hint}")
        if isinstance(parameters[name].default, bool) and isinstance(value, str):
            yes_or_no(f"{group}.{name}", value)


def call(group: str, option: Option, target: Callable[..., Any], /, *args: Any, **more: Any) -> Any:
    """Calls the target with the option's arguments, after `args` and beside `more`.

    Raises:
        SettingsError: the target refuses a value (torch's own checks of betas, alpha, ...).
    """
    check_arguments(group, option, target)
    try:
        return target(*args, **{**option.arguments, **more})
    except OptsweepError:
        raise
    except Exception as error:
        if group == "dataset" and not isinstance(error, _REFUSALS):
            raise
        reason = first_line(error)
        if group != "dataset" and "; type " not in reason:  # a dataset may take minutes to try
            reason += _at_fault(group, option, target, args, more)
        raise SettingsError(f"{group}={option.name}: {reason}") from error


def _at_fault(
    group: str, option: Option, target: Callable[..., Any], args: Any, more: dict[str, Any]
) -> str:
    """Which argument the target refused: the one at whose default it is content; "" if none is."""
    parameters = inspect.signature(target).parameters
    for name, value in option.arguments.items():
        rest = {key: given for key, given in option.arguments.items() if key != name}
        with suppress(Exception):  # whatever it still refuses, another argument may be at fault
            target(*args, **{**rest, **more})
            default = parameters[name].default
            typed, instead = (_typed(f"{group}.{name}", given) for given in (value, default))
            return f" (from {typed}); type for example {shlex.quote(instead)}"
    return ""


def _typed(name: str, value: Any) -> str:
    """`name=value` as it is typed, lists in brackets and without spaces."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"{name}=[{','.join(map(str, value))}]"
    words = {None: "null", True: "true", False: "false"}
    return f"{name}={words[value] if value is None or isinstance(value, bool) else value}"
