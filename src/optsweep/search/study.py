"""A search under way: trials that are proposed one by one, by what became of those before.

A `Study` is kept in the sweep's folder, so that a stopped search can resume. Only this package
imports optuna, and not before a search begins.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optsweep.errors import SettingsError
from optsweep.records.run import RunRecord, ranking_split
from optsweep.search.pruning import REDUCTION, Hopeless, Rungs
from optsweep.search.search import Search
from optsweep.search.space import BEGINNING, Choice, Dimension, Interval, evenly_spread, every, size
from optsweep.search.study_journal import drop_unreadable, open_study
from optsweep.verdict.ranking import objective

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"  # in the sweep's folder; optuna's own tools read it
_AGAIN = "again"  # marks a proposal that was made before, and is no trial
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
        self._study = open_study(str(self._path), self._rungs.first, REDUCTION)
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
            point = self._runs(self._typed(trial.params)) if whole else ()
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

        space, tried = self._search.space, [self._runs(point) for point in self.points]
        left = None
        if size(space) is not None:
            known = set(tried)
            points = every(space)
            left = next((each for each in points if self._runs(each) not in known), None)
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
            if self._runs(point) not in tried:
                self._numbers.append(trial.number)
                return point
            trial.set_user_attr(_AGAIN, True)
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _runs(self, point: Mapping[str, str]) -> tuple[str, ...]:
        """What the trial at a point runs: two points of several grids may run the same."""
        return tuple(self._search.overrides(point))

    def _typed(self, params: Mapping[str, Any]) -> dict[str, str]:
        return {
            each.key: each.text(params[each.key])
            if isinstance(each, Interval)
            else str(params[each.key])
            for each in self._search.space
        }


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
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

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
