"""An option's `_target_` and arguments -> the object it names, with readable refusals."""

import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

from optsweep.errors import SettingsError, nearest
from optsweep.settings import Option


def resolve(group: str, option: Option) -> Callable[..., Any]:
    """What the option's `_target_` names.

    Raises:
        SettingsError: there is no such module or name, or it cannot be called.
    """
    try:
        target: Any = pkgutil.resolve_name(option.target)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"{group}={option.name}: _target_ {option.target} cannot be imported ({error})"
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
        SettingsError: an argument is unknown to the target.
    """
    parameters = inspect.signature(target).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name in option.arguments:
        if name not in parameters:
            best = nearest(name, parameters)
            hint = f"did you mean {group}.{best}?" if best else f"it takes {', '.join(parameters)}"
            raise SettingsError(f"{group}.{name}: {option.target} takes no such argument; {hint}")


def call(group: str, option: Option, target: Callable[..., Any], /, *args: Any, **more: Any) -> Any:
    """Calls the target with the option's arguments, after `args` and beside `more`.

    Raises:
        SettingsError: the target refuses a value (torch's own checks of betas, alpha, ...).
    """
    check_arguments(group, option, target)
    try:
        return target(*args, **{**option.arguments, **more})
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{group}={option.name}: {error}") from error
