"""What is searched, in how many trials, and how: `hydra.sweeper.*`, checked.

A `Search` is plain data; `study.py` proposes its trials.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optsweep.config.launchers import ClusterLaunch, Launch
from optsweep.config.validators import integer, one_of, optional, yes_or_no
from optsweep.errors import SettingsError
from optsweep.records.search_intervals import in_words
from optsweep.search.space import Choice, Dimension, Interval, probes, size, typed

TRIALS = 20  # where no number is asked for
_GRID = "(grid)"  # which of several grids a trial is of, beside the keys that it draws


@dataclass(frozen=True)
class Grid:
    """A part of a search: the overrides that its trials share, as typed, and what they draw."""

    fixed: Sequence[str]
    space: Sequence[Dimension]

    @property
    def optimizers(self) -> Sequence[str]:
        """The optimizers that it may draw, as far as it names them."""
        drawn = [e.values for e in self.space if isinstance(e, Choice) and e.key == "optimizer"]
        named = [each.partition("=")[2] for each in self.fixed if each.startswith("optimizer=")]
        return [*named[-1:], *(name for names in drawn for name in names)]

    @property
    def probes(self) -> list[list[str]]:
        """The overrides of runs that hold every choice and every end at least once."""
        return [[*self.fixed, *typed(point)] for point in probes(self.space)]


@dataclass(frozen=True)
class Search:
    """What is searched, in how many trials, and how; `hydra.sweeper.*`.

    `identity` is the same for searches that are one and the same: what they draw from, how, and
    what else decides their runs, but not the number of trials, so that a search can be resumed
    with. `fixed` are the overrides that all trials share, as typed.

    Of several `grids` a point of the space says which of them a trial is of, and for each key how
    far it lies, from 0 to 1, between the ends of what that grid draws from. So what one optimizer
    shows of its range speaks for the others.
    """

    space: Sequence[Dimension]
    n_trials: int
    sampler: str = "tpe"
    pruning: bool = False
    seed: int = 0
    fixed: Sequence[str] = ()
    identity: str = ""
    grids: Sequence[Grid] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any], grids: Sequence[Grid]) -> "Search":
        """A search of one grid or of several, by the sweeper's config.

        Raises:
            SettingsError: as `from_config`; or several are to be searched by their grid.
        """
        if len(grids) == 1:
            return cls.from_config(config, grids[0].space, grids[0].fixed)
        if config["sampler"] == "grid":
            raise SettingsError(
                "hydra.sweeper.sampler=grid: it takes one grid; leave hydra/sweeper=optuna out for "
                "all runs of several, or type hydra.sweeper.sampler=tpe"
            )
        keys = dict.fromkeys(each.key for grid in grids for each in grid.space)
        places = Choice(_GRID, tuple(map(str, range(len(grids)))))
        shares = [Interval(key, 0.0, 1.0, log=False) for key in keys]
        search = cls.from_config(config, [places, *shares])
        sizes = [size(grid.space) for grid in grids]
        most = [] if None in sizes else [sum(each or 0 for each in sizes)]
        return replace(search, n_trials=min([search.n_trials, *most]), grids=grids)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], space: Sequence[Dimension], fixed: Sequence[str] = ()
    ) -> "Search":
        """Checks the sweeper's config.

        Raises:
            SettingsError: a value is of the wrong type or out of its range, or nothing is searched.
        """
        sampler = one_of("tpe", "random", "grid")("hydra.sweeper.sampler", config["sampler"])
        trials = optional(integer(1, "20"))("hydra.sweeper.n_trials", config["n_trials"])
        pruning = yes_or_no("hydra.sweeper.pruning", config["pruning"])
        seed = integer(0, "0")("hydra.sweeper.seed", config["seed"])
        if not space:
            raise SettingsError(
                "hydra/sweeper=optuna: there is nothing to search; "
                "give a value an interval or choices, such as lr=interval(1e-5,1)"
            )
        if sampler == "grid":
            for each in space:
                if isinstance(each, Interval):
                    raise SettingsError(
                        f"{each.key}={each}: hydra.sweeper.sampler=grid takes choices alone; "
                        f"type {each.key}=1e-3,1e-2,1e-1, or hydra.sweeper.sampler=tpe"
                    )
        points = size(space)
        asked = trials or (points if sampler == "grid" and points else TRIALS)
        return cls(space, min(asked, points or asked), sampler, pruning, seed, fixed)

    @property
    def probes(self) -> list[list[str]]:
        """The overrides of runs that hold every choice and every end at least once."""
        return [job for grid in self.grids or [Grid(self.fixed, self.space)] for job in grid.probes]

    def overrides(self, point: Mapping[str, str]) -> list[str]:
        """The overrides of the trial at a point of the space."""
        if not self.grids:
            return [*self.fixed, *typed(point)]
        grid = self.grids[int(point[_GRID])]
        return [*grid.fixed, *(f"{e.key}={_at(e, float(point[e.key]))}" for e in grid.space)]

    @property
    def texts(self) -> dict[str, str]:
        """What each value is drawn from, as it would be typed; of several grids, with which."""
        found: dict[str, dict[str, list[str]]] = {}
        for grid in self.grids or [Grid(self.fixed, self.space)]:
            for each in grid.space:
                drawn = found.setdefault(each.key.lstrip("+"), {})
                drawn.setdefault(str(each), []).extend(grid.optimizers)
        return {key: in_words(drawn) for key, drawn in found.items()}

    def identify(self, fingerprints: Sequence[str]) -> str:
        """A search's `identity`, given the fingerprints of runs at its space's ends."""
        how = [self.sampler, str(self.pruning), str(self.seed)]
        words = [f"{key}={text}" for key, text in self.texts.items()]
        return hashlib.sha256(" ".join([*words, *how, *fingerprints]).encode()).hexdigest()[:32]


def _at(dimension: Dimension, share: float) -> str:
    if isinstance(dimension, Choice):
        return dimension.at(share)
    return dimension.text(dimension.at(share))


def refuse_with_search(extend: int, launch: Launch) -> None:
    """Makes sure that what a sweep is asked for goes together with a search.

    Raises:
        SettingsError: it does not.
    """
    if extend:
        raise SettingsError(
            f"extend={extend}: a search goes where its intervals let it; "
            "leave extend out, and widen the interval"
        )
    more = "max_parallel" if isinstance(launch, ClusterLaunch) else "workers"
    if launch.stack not in (None, 1):
        raise SettingsError(
            f"hydra.launcher.stack={launch.stack}: the trials of a search train individually, as "
            "each is proposed; type hydra.launcher.stack=1, or "
            f"hydra.launcher.{more}=4 for more at once"
        )
    if isinstance(launch, ClusterLaunch) and launch.workers is None:
        raise SettingsError(
            "hydra/sweeper=optuna: a trial is proposed with what others gave, so a cluster is "
            "given some at a time; type hydra.launcher.max_parallel=4"
        )


def refuse_pruning_apart(search: Search) -> None:
    """Makes sure that a search whose runs do not all see its folder does not prune.

    Raises:
        SettingsError: it does.
    """
    if search.pruning:
        raise SettingsError(
            "hydra.sweeper.pruning=true: runs compare themselves in the folder of the search, "
            "which not all nodes see; leave pruning out, or give a folder that all of them see "
            "with hydra.sweep.dir=/path/to/it hydra.launcher.shared=true"
        )
