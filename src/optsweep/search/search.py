"""What is searched, in how many trials, and how: `hydra.sweeper.*`, checked.

A `Search` is plain data; `study.py` proposes its trials.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optsweep.config.launchers import ClusterLaunch, Launch
from optsweep.config.validators import integer, one_of, optional, yes_or_no
from optsweep.errors import SettingsError
from optsweep.search.space import Dimension, Interval, size

TRIALS = 20  # where no number is asked for


@dataclass(frozen=True)
class Search:
    """What is searched, in how many trials, and how; `hydra.sweeper.*`.

    `identity` is the same for searches that are one and the same: what they draw from, how, and
    what else decides their runs, but not the number of trials, so that a search can be resumed
    with. `fixed` are the overrides that all trials share, as typed.
    """

    space: Sequence[Dimension]
    n_trials: int
    sampler: str = "tpe"
    pruning: bool = False
    seed: int = 0
    fixed: Sequence[str] = ()
    identity: str = ""

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
    def texts(self) -> dict[str, str]:
        """What each value is drawn from, as it would be typed."""
        return {each.key.lstrip("+"): str(each) for each in self.space}

    def identify(self, fingerprints: Sequence[str]) -> str:
        """A search's `identity`, given the fingerprints of runs at its space's ends."""
        how = [self.sampler, str(self.pruning), str(self.seed)]
        words = [f"{key}={text}" for key, text in self.texts.items()]
        return hashlib.sha256(" ".join([*words, *how, *fingerprints]).encode()).hexdigest()[:32]


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
