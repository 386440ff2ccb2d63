"""An option's `_target_` and arguments -> the object it names, with readable refusals."""

import errno
import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from optsweep.config.importing import find, why_not
from optsweep.config.settings import Option
from optsweep.config.validators import yes_or_no
from optsweep.errors import OptsweepError, SettingsError, UnknownArgument, nearest
from optsweep.system.exceptions import place_of, reason

# How a function of ours that loads data refuses an argument; what else it raises is a bug.
_REFUSALS = (TypeError, ValueError, RuntimeError, ArithmeticError)

# What is called, by group: what optsweep gives it, and what it has to be.
CONTRACTS = {
    "dataset": "a function (*, data_dir, **keywords) that returns an optsweep.data.Source",
    "model": "a torch.nn.Module built as Model(input_shape, classes, **keywords)",
    "loss": "a function loss(outputs, labels, **keywords) that gives one loss for each sample",
    "optimizer": "a torch.optim.Optimizer built as Optimizer(params, **keywords)",
    "schedule": "a torch.optim.lr_scheduler.LRScheduler built as Schedule(optimizer, **keywords)",
}


def resolve(group: str, option: Option) -> Callable[..., Any]:
    """What the option's `_target_` names.

    Raises:
        SettingsError: there is no such module or name, or it cannot be called.
    """
    try:
        target = find(option.target)
    except (Exception, SystemExit) as error:  # whatever a module of somebody's own raises
        raise SettingsError(
            f"{group}={option.name}: _target_ {option.target} cannot be imported "
            f"{why_not(option.target, error)}"
        ) from error
    if not callable(target):
        raise SettingsError(
            f"{group}={option.name}: _target_ {option.target} cannot be called; needed is "
            f"{contract(group)}"
        )
    named: Callable[..., Any] = target
    return named


def contract(group: str) -> str:
    """What a `_target_` of the group has to be; those of an optimizer's parts are optimizers."""
    return CONTRACTS[group.partition(".")[0]]


def accepts(target: Callable[..., Any], name: str) -> bool:
    """Whether `target` has a parameter of that name."""
    return name in parameters_of(target)


def parameters_of(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """A target's parameters; any, where it is written in C and does not say."""
    return _signature_of(target).parameters


def _signature_of(target: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # written in C
        return inspect.signature(lambda *args, **keywords: None)


def check_arguments(group: str, option: Option, target: Callable[..., Any]) -> None:
    """Refuses arguments that the target does not take, with the nearest that it does.

    Raises:
        SettingsError: an argument is unknown to the target, or a text where that has a yes or no.
    """
    parameters = parameters_of(target)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name, value in option.arguments.items():
        if name not in parameters:
            best = nearest(name, parameters)
            takes = [key for key, p in parameters.items() if p.default is not p.empty]
            known = f"it takes {', '.join(takes) or 'none'}"
            hint = f"did you mean {group}.{best}?" if best else known
            raise UnknownArgument(
                f"{group}.{name}: {option.target} takes no such argument; {hint}", group
            )
        if isinstance(parameters[name].default, bool) and isinstance(value, str):
            yes_or_no(f"{group}.{name}", value)


def check_fits(
    group: str, option: Option, target: Callable[..., Any], /, *args: Any, **more: Any
) -> None:
    """Refuses a target that cannot be called with `args`, the option's arguments and `more`.

    Raises:
        SettingsError: it lacks a value, or takes something else; the line says what is needed.
    """
    check_arguments(group, option, target)
    signature = _signature_of(target)
    try:
        signature.bind(*args, **{**option.arguments, **more})
    except TypeError as misfit:
        raise SettingsError(
            f"{group}={option.name}: {option.target} takes {_shown(signature)}, which does not fit "
            f"({misfit}); needed is {contract(group)}"
        ) from misfit


def _shown(signature: inspect.Signature) -> str:
    """A signature without its types."""
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    shown = signature.replace(parameters=bare, return_annotation=signature.empty)
    return " ".join(str(shown).split())


def call(group: str, option: Option, target: Callable[..., Any], /, *args: Any, **more: Any) -> Any:
    """Calls the target with the option's arguments, after `args` and beside `more`.

    Raises:
        SettingsError: the target refuses a value (torch's own checks of betas, alpha, ...), or
            fails.
    """
    check_fits(group, option, target, *args, **more)
    try:
        return target(*args, **{**option.arguments, **more})
    except OptsweepError as error:
        if place := place_of(error):  # raised by what a user's own code called
            raise type(error)(f"{group}={option.name}: {error}, in {place}") from error
        raise
    except (Exception, SystemExit) as error:
        is_ours = option.target.startswith("optsweep.")
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if group == "dataset" and (full or (is_ours and not isinstance(error, _REFUSALS))):
            raise
        why = reason(error)
        if group != "dataset" and "; type " not in why:  # a dataset may take minutes to try
            fault = _at_fault(group, option, target, args, more)
            why = f"{why}{fault}" if fault or isinstance(error, ValueError) else _misfit(why, group)
        raise SettingsError(f"{group}={option.name}: {why}") from error


def _misfit(why: str, group: str) -> str:
    """What failed of itself, and no value that it refused: most often it wants something else."""
    return f"its constructor's arguments do not fit ({why}); needed is {contract(group)}"


def _at_fault(
    group: str, option: Option, target: Callable[..., Any], args: Any, more: dict[str, Any]
) -> str:
    """Which argument the target refused: the one at whose default it is content; "" if none is."""
    parameters = parameters_of(target)
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
