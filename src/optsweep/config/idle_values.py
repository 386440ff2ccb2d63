"""Swept values that change nothing: their runs would be trained alike, and compared in earnest.

A learning rate that no optimizer takes is refused; what changes nothing for a part of the runs, or
only how they are run, is warned of.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from optsweep.config.overrides import swept_key
from optsweep.config.settings import Settings
from optsweep.errors import SettingsError
from optsweep.records.values import distinct, identity, label

_DIGITS = 10  # of a value that is to be typed again


@dataclass(frozen=True)
class Typed:
    """A run before it is a job: what was typed, its settings, and its swept values."""

    overrides: Sequence[str]
    settings: Settings
    swept: Mapping[str, Any]

    @cached_property
    def content(self) -> str:
        """What is trained, as a text; the learning rate as far as the optimizer takes it."""
        used = replace(self.settings, lr=1.0)
        return used.fingerprint(repr(used.dataset))


def idle_values(keys: Iterable[str], runs: Sequence[Typed]) -> list[str]:
    """A sentence for each swept key whose values change nothing in all or some of the runs.

    Raises:
        SettingsError: it is the learning rate, in all runs.
    """
    return [sentence for key in keys if key != "seed" for sentence in _idle(key, runs)]


def _idle(key: str, runs: Sequence[Typed]) -> Iterator[str]:
    alike: dict[str, list[Typed]] = {}
    for run in runs:
        others = {name: identity(value) for name, value in run.swept.items() if name != key}
        alike.setdefault(str(others), []).append(run)
    several = [each for each in alike.values() if len(each) > 1]
    idle = [each for each in several if len({run.content for run in each}) == 1]
    if not idle:
        return
    found = [run for each in idle for run in each]
    values = distinct(run.swept[key] for run in found if key in run.swept)
    typed = f"{key}={','.join(label(value, _DIGITS) for value in values)}"
    if key != "lr":
        if len(idle) == len(several):
            yield f"{typed}: changes no result; type one value, unless the runs are to be timed"
    elif len(idle) == len(several):
        raise SettingsError(f"{typed}: {_unused(found[0], typed)}")
    else:
        yield f"{typed}: {_unused(found[0], typed)}"


def _unused(run: Typed, typed: str) -> str:
    """Why a run's learning rate is not used, and what to type instead."""
    option, values = run.settings.optimizer, typed.partition("=")[2]
    beside = [each for each in run.overrides if swept_key(each) == "optimizer.lr"]
    if beside:
        return f"{beside[0]} replaces it; leave {beside[0]} out, or type optimizer.lr={values}"
    instead = f"type optimizer.lr={values}, or " if "lr" in option.arguments else ""
    return (
        f"optimizer={option.name} does not use it; {instead}write lr: ${{lr}} into "
        f"conf/optimizer/{option.name}.yaml"
    )
