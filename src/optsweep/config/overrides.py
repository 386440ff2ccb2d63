"""What an override on the command line sets."""

from collections.abc import Sequence


def key_of(argument: str) -> str:
    """What an argument sets: "+optimizer.foo=1" -> "optimizer.foo"."""
    return argument.lstrip("+~").partition("=")[0]


def swept_key(argument: str) -> str:
    """What an argument sets, without the package in which it does: "optimizer@a=sgd" too."""
    return key_of(argument).partition("@")[0]


def changed(overrides: Sequence[str], key: str, value: object) -> list[str]:
    """A job's overrides with another value of `key`, under the name by which it was typed."""
    if not any(swept_key(typed) == key for typed in overrides):
        return [*overrides, f"{key}={value!r}"]
    return [
        f"{typed.partition('=')[0]}={value!r}" if swept_key(typed) == key else typed
        for typed in overrides
    ]
