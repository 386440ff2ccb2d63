"""A search under way: trials that are proposed one by one, by what became of those before.

A `Study` is kept in the sweep's folder, so that a stopped search can resume. This module alone
imports optuna, and not before a search begins.

With pruning, `Hopeless` is asked by a run's own process after each epoch: successive halving
(Li et al., 2020: asynchronous, runs that are stopped stay stopped) in the first sixth of a run.
Later looks compare with what was reached there: runs that have got so far are too close to each
other to be compared before their end.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optsweep.errors import SettingsError
from optsweep.records.run import RunRecord, ranking_split
from optsweep.search.search import Search
from optsweep.search.space import BEGINNING, Choice, Dimension, Interval, evenly_spread, every, size
from optsweep.search.study_journal import drop_unreadable
from optsweep.verdict.ranking import objective

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"  # in the sweep's folder; optuna's own tools read it
NAME = "optsweep"  # of the study in it
REDUCTION = 3  # of three trials that reach a rung, one continues
HALVED = 6  # the share of a run, as its inverse, in which rungs lie
_AGAIN = "again"  # marks a proposal that was made before, and is no trial
_PRUNED = "pruned"  # marks a trial that was found hopeless
_TRIES = 20  # proposals after which a choice is taken that was not tried yet


def require_optuna() -> None:
    """Makes sure that optuna is installed.

    Raises:
        SettingsError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise SettingsError(
            "hydra/sweeper=optuna: optuna is not installed; type pip install 'optsweep[optuna]'"
        ) from None


class Study:
    """A search under way: proposes trials, learns their scores, and keeps both on disk.

    A trial's place is its number among those that run. `workers` trials go side by
    side.

    Without pruning, a search is the same each time: the trial at place n is proposed with what is
    known of all up to n - `workers`, whichever of the others has ended already. With pruning,
    where ends come unevenly, nobody waits, and a trial is proposed with all that is known.
    """

    def __init__(self, search: Search, folder: Path, workers: int, epochs: int) -> None:
        self._search = search
        self._workers = max(1, workers)
        self._path = folder / JOURNAL
        self._rungs = Rungs.of(epochs)
        folder.mkdir(parents=True, exist_ok=True)
        drop_unreadable(self._path)
        self._study = _open(str(self._path), self._rungs)
        self._numbers = list(self._proposed())

    @property
    def points(self) -> list[dict[str, str]]:
        """Each trial's values as they are typed, by its key, in their order."""
        trials = self._study.get_trials(deepcopy=False)
        return [self._typed(trials[number].params) for number in self._numbers]

    def hopeless(self, place: int) -> "Hopeless | None":
        """What a run asks after each epoch; None where nothing is pruned."""
        if not self._search.pruning:
            return None
        return Hopeless(str(self._path), self._numbers[place], self._rungs)

    def next(self, records: Sequence[RunRecord]) -> dict[str, str] | None:
        """The next trial's values as they are typed, given the records of the trials so far.

        None where there is none, or not before more trials have ended.
        """
        place = len(self._numbers)
        over = place >= self._search.n_trials
        in_order = not over and not self._search.pruning
        known = records[: max(0, place - self._workers + 1)] if in_order else records
        ended = {n: each for n, each in enumerate(known) if each.status in ("FINISHED", "FAILED")}
        if in_order and len(ended) < len(known):
            return None
        for earlier, record in ended.items():
            self._report(earlier, record)
        return None if over else self._ask()

    def _proposed(self) -> Iterator[int]:
        """The numbers of the trials; what a crash left of a proposal is ended, to be made anew."""
        from optuna.trial import Trial, TrialState

        keys, known = {each.key for each in self._search.space}, set()
        for trial in self._study.get_trials(deepcopy=False):
            whole = trial.params.keys() == keys and _AGAIN not in trial.user_attrs
            point = tuple(self._typed(trial.params).values()) if whole else ()
            if whole and point not in known:
                known.add(point)
                yield trial.number
            elif trial.state == TrialState.RUNNING:
                Trial(self._study, trial._trial_id).set_user_attr(_AGAIN, True)
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _report(self, place: int, record: RunRecord) -> None:
        """Records the result of a trial, once: a run that diverged is as bad as can be."""
        from optuna.trial import Trial, TrialState

        number = self._numbers[place]
        frozen = self._study.get_trials(deepcopy=False)[number]
        if frozen.state.is_finished():
            return
        if record.status == "FAILED":
            self._study.tell(number, state=TrialState.FAIL)
            return
        if self._search.pruning:  # what a worker reported itself is known already
            trial = Trial(self._study, frozen._trial_id)
            best = 0.0
            for epoch, value in record.history.get(_metric(record), ()):
                best = max(best, value)
                if epoch > 0 and epoch not in frozen.intermediate_values:
                    trial.report(best, epoch)
                    trial.should_prune()
        if record.pruned:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._study.tell(number, 0.0 if record.diverged else objective(record.metrics))

    def _ask(self) -> dict[str, str] | None:
        from optuna.trial import TrialState

        space, tried = self._search.space, [tuple(point.values()) for point in self.points]
        left = None
        if size(space) is not None:
            known = set(tried)
            points = every(space)
            left = next((each for each in points if tuple(each.values()) not in known), None)
            if left is None:
                return None
        for attempt in range(_TRIES + 1):
            if self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                pass  # a crash has left what comes next
            elif left and (self._search.sampler == "grid" or attempt == _TRIES):
                self._study.enqueue_trial(_raw(left, space))
            elif self._search.sampler == "tpe" and not attempt and len(tried) < BEGINNING:
                begin = evenly_spread(space, self._search.seed)[len(tried)]
                self._study.enqueue_trial(_raw(begin, space))
            # Seeded anew for each trial: what was proposed before a stop plays no part in what
            # is proposed after it, nor how often there was a stop.
            number = len(tried) * (_TRIES + 1) + attempt
            self._study.sampler = _sampler(self._search.sampler, self._search.seed, number)
            trial = self._study.ask({each.key: _distribution(each) for each in space})
            point = self._typed(trial.params)
            if tuple(point.values()) not in tried:
                self._numbers.append(trial.number)
                return point
            trial.set_user_attr(_AGAIN, True)
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _typed(self, params: Mapping[str, Any]) -> dict[str, str]:
        return {
            each.key: each.text(params[each.key])
            if isinstance(each, Interval)
            else str(params[each.key])
            for each in self._search.space
        }


@dataclass(frozen=True)
class Rungs:
    """The epochs after which a third continues: `first`, three times that, and so on to `last`."""

    first: int
    last: int

    @classmethod
    def of(cls, epochs: int) -> "Rungs":
        """Of a run of so many epochs: 1 of 9, 1 and 3 of 27, 3 and 9 of 90."""
        first = last = max(1, epochs // REDUCTION**3)
        while REDUCTION * last <= epochs / HALVED:
            last *= REDUCTION
        return cls(first, last)


@dataclass(frozen=True)
class Hopeless:
    """Takes a trial's epoch and its ranking accuracy; true where the trial should end there.

    What counts is the best accuracy so far: a single epoch may be unlucky. After the last rung a
    trial is hopeless once a third of all that came by there had more, there, than it has now. The
    same epoch asked twice, after a stop, gets the same answer.
    """

    path: str
    number: int
    rungs: Rungs

    def __call__(self, epoch: int, accuracy: float) -> bool:
        """Whether the trial is hopeless."""
        from optuna.trial import Trial

        study = _open(self.path, self.rungs)
        trials = study.get_trials(deepcopy=False)
        frozen = trials[self.number]
        if frozen.user_attrs.get(_PRUNED) == epoch:
            return True
        trial = Trial(study, frozen._trial_id)
        best = max([accuracy, *frozen.intermediate_values.values()])
        if epoch not in frozen.intermediate_values:
            trial.report(best, epoch)
        if epoch <= self.rungs.last:
            hopeless = trial.should_prune()
        else:
            there = [each.intermediate_values.get(self.rungs.last) for each in trials]
            values = sorted((value for value in there if value is not None), reverse=True)
            hopeless = bool(values) and best < values[max(1, len(values) // REDUCTION) - 1]
        if hopeless:
            trial.set_user_attr(_PRUNED, epoch)
        return hopeless


@functools.lru_cache(maxsize=4)
def _open(path: str, rungs: Rungs) -> "optuna.Study":
    """The study in a file, which is made where there is none."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(path)),
        study_name=NAME,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=rungs.first, reduction_factor=REDUCTION
        ),
    )


def _sampler(name: str, seed: int, number: int) -> "optuna.samplers.BaseSampler":
    import optuna

    own = (seed * 1_000_003 + number) % 2**32
    if name == "tpe":
        return optuna.samplers.TPESampler(
            n_startup_trials=BEGINNING // 2,  # the evenly spread ones, even where some have failed
            multivariate=True,  # a good rate for one optimizer is not one for another
            constant_liar=True,  # no two workers try the same at once
            seed=own,
        )
    return optuna.samplers.RandomSampler(seed=own)


def _distribution(dimension: Dimension) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(dimension, Choice):
        if dimension.step is None:
            return CategoricalDistribution(dimension.values)
        first, last = int(dimension.values[0]), int(dimension.values[-1])
        return IntDistribution(first, last, step=dimension.step)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _raw(point: Mapping[str, Any], space: Sequence[Dimension]) -> dict[str, Any]:
    """A point as optuna holds it."""
    raw = {}
    for each in space:
        value = point[each.key]
        is_whole = each.whole if isinstance(each, Interval) else each.step is not None
        raw[each.key] = round(float(value)) if is_whole else value
    return raw


def _metric(record: RunRecord) -> str:
    return f"{ranking_split(record.metrics)}/accuracy"
