"""A union of grids: `hydra.sweeper.grids`, and `lr=auto`, as one list of overrides for each job.

Each string of the union is overrides as they are typed on a shell, and gives what it would give
on a command line: all combinations of its values. What stands beside the union holds for all of
it. `lr=auto` stands for rates over the optimizer's own range, which its option gives.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import log10
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from optsweep.cli.composing import Composed
from optsweep.config.overrides import changed
from optsweep.config.settings import Settings
from optsweep.config.validators import integer
from optsweep.errors import OptsweepError, SettingsError, StringRefused
from optsweep.system.redaction import redact

KEY = "hydra.sweeper.grids"
AUTO = "auto"
_EXAMPLE = f"""'{KEY}=["optimizer=sgd lr=1e-2,1e-1","optimizer=adam lr=1e-4,1e-3"]'"""
_FEW, _ALL = 2, 17  # digits of a rate: as few as rates differ in

Job = list[str]  # its overrides


class Grids:
    """The grids of a sweep, one for each string; without strings one grid, as typed.

    `first` are overrides that stand in a file, `beside` those on the command line: of two that
    name the same key the last one counts, so that the command line wins over the strings too.
    """

    def __init__(self, given: Any, first: Sequence[str], beside: Sequence[str]) -> None:
        self._strings = _strings(given)
        self._typed = [self._split(place) for place in range(len(self._strings))]
        self._first, self._beside = list(first), list(beside)
        self._string_of: dict[tuple[str, ...], int] = {}

    def overrides(self, parser: OverridesParser) -> Iterator[list[Override]]:
        """Each grid's overrides.

        Raises:
            SettingsError: a string of the union cannot be read.
            HydraException: what stands beside it cannot.
        """
        around = parser.parse_overrides([*self._first, *self._beside])
        for place in range(len(self._strings)):
            with self.blaming(place):
                own = parser.parse_overrides(self._typed[place])
                _refuse_hydras_own(own)
            yield [*around[: len(self._first)], *own, *around[len(self._first) :]]
        if not self._strings:
            yield around

    def jobs(
        self, parser: OverridesParser, split: Callable[[list[Override]], Sequence[Job]]
    ) -> list[Job]:
        """The jobs of all grids, one grid after another; `split` gives those of one."""
        jobs: list[Job] = []
        for place, overrides in enumerate(self.overrides(parser)):
            with self.blaming(place):
                own = split(overrides)
            self.belong(own, place)
            jobs += own
        return jobs

    def with_rates(
        self, jobs: Sequence[Job], compose: Callable[[Sequence[Job]], Iterator[Composed]]
    ) -> list[Job]:
        """The jobs, those with `lr=auto` once for each rate of their optimizer's range.

        Raises:
            SettingsError: an optimizer has no range.
        """
        found: list[Job] = []
        composed = compose(jobs)
        for job in jobs:
            with self.naming(job):
                one = next(composed)
                points = rates_of(one.values, one.choices)
            own = [job] if points is None else [changed(job, "lr", rate) for rate in points]
            self.belong(own, self._string_of.get(tuple(job), -1))
            found += own
        return found

    @contextmanager
    def naming(self, job: Sequence[str]) -> Iterator[None]:
        """Says of which string a job is where it is refused."""
        with self.blaming(self._string_of.get(tuple(job), -1)):
            yield

    def belong(self, jobs: Sequence[Job], place: int) -> None:
        """Lets `naming` know jobs that were made of the grid at a place."""
        self._string_of |= {tuple(job): place for job in jobs}

    @contextmanager
    def blaming(self, place: int) -> Iterator[None]:
        """Says of which string it is what is refused."""
        try:
            yield
        except (OptsweepError, HydraException, OmegaConfBaseException) as error:
            if not 0 <= place < len(self._strings):
                raise
            arguments = [*self._typed[place], *self._beside]
            raise StringRefused(self._where(place), error, arguments) from None

    def _where(self, place: int) -> str:
        return f"{KEY}, string {place + 1} of {len(self._strings)}, {self._strings[place]!r}"

    def _split(self, place: int) -> list[str]:
        try:
            return shlex.split(self._strings[place])
        except ValueError as error:  # a quote that is not closed
            raise SettingsError(
                f"{self._where(place)}: {str(error).lower()}; type each quote twice, or none"
            ) from None


def _strings(given: Any) -> list[str]:
    listed = isinstance(given, list | tuple | ListConfig)
    found = [] if given is None else list(given) if listed else [given]
    if (given is not None and not listed) or not all(isinstance(each, str) for each in found):
        raise SettingsError(
            f"{KEY}={redact(str(given))}: must be a list of strings, each overrides as typed; "
            f"type {_EXAMPLE}"
        )
    return found


def _refuse_hydras_own(overrides: Sequence[Override]) -> None:
    for override in overrides:
        if override.is_hydra_override():
            raise SettingsError(
                f"{override.input_line}: it holds for the sweep as a whole; type it beside {KEY}"
            )


def rates_of(values: Mapping[str, Any], choices: Mapping[str, Any]) -> list[float] | None:
    """The learning rates of a composed config whose `lr` is auto; None of any other.

    Raises:
        SettingsError: the config is none, or its optimizer has no range of rates.
    """
    if values.get("lr") != AUTO:
        return None
    count = integer(1, "5")("rates", values["rates"])
    return rates(*range_of(values, choices), count)


def middle_rate(values: Mapping[str, Any], choices: Mapping[str, Any]) -> float | None:
    """The learning rate of a single run whose `lr` is auto: the middle of the range, by ratio."""
    found = rates_of({**values, "rates": 1}, choices) if values.get("lr") == AUTO else None
    return found[0] if found else None


def refuse_union_of_one(hydra: Any) -> None:
    """Makes sure that a single run is asked for no union; `hydra` is Hydra's own config.

    Raises:
        SettingsError: it is.
    """
    if OmegaConf.select(hydra, "sweeper.grids"):
        raise SettingsError(f"{KEY}: several grids make a sweep; type -m before them")


def range_of(values: Mapping[str, Any], choices: Mapping[str, Any]) -> tuple[float, float]:
    """The range of learning rates that a config's optimizer gives.

    Raises:
        SettingsError: the config is none, or its optimizer gives no range.
    """
    option = Settings.from_config({**values, "lr": 1.0}, choices).optimizer
    if option.rates is None:
        raise SettingsError(
            f"lr=auto: optimizer={option.name} has no range of learning rates; type lr=1e-3, or "
            f"add a line such as _rates_: [1e-4, 1e-2] to conf/optimizer/{option.name}.yaml"
        )
    return option.rates


def rates(low: float, high: float, count: int) -> list[float]:
    """So many learning rates from `low` to `high` at equal ratios, with both; of one the middle.

    They have as few digits as they differ in, so that they can be typed again.
    """
    shares = [place / (count - 1) for place in range(count)] if count > 1 else [0.5]
    exact = [10 ** (log10(low) + share * (log10(high) - log10(low))) for share in shares]
    for digits in range(_FEW, _ALL):
        found = [float(f"{rate:.{digits}g}") for rate in exact]
        if len(set(found)) == count:
            break
    if count > 1:
        found[0], found[-1] = low, high
    return found
