"""The pruning rule: which trials of a search end early.

A run's own process asks `Hopeless` after each epoch. In the first sixth of a run the rule is
successive halving (Li et al., 2020; asynchronous: runs that are stopped stay stopped). Later epochs
are compared with what was reached there: runs that have got so far are too close to each other to
be compared before their end.
"""

from dataclasses import dataclass

from optsweep.search.study_journal import open_study

REDUCTION = 3  # of three trials that reach a rung, one continues
HALVED = 6  # the share of a run, as its inverse, in which rungs lie
_PRUNED = "pruned"  # marks a trial that was found hopeless


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

        study = open_study(self.path, self.rungs.first, REDUCTION)
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
