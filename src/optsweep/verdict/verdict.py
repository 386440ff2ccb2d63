"""What a verdict is made of: plain records with the numbers behind every sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optsweep.verdict.boundaries import Boundary
from optsweep.verdict.sensitivity import Sensitivity
from optsweep.verdict.time_to_target import TargetTime

SCHEMA = "optsweep/verdict/1"
LEVEL = 0.95  # of every interval; comparisons are decided at 1 - LEVEL
POWER = 0.8  # with which the number of seeds that is named would decide
MOST_SEEDS = 1000  # beyond which no number of seeds is named
MOST_CANDIDATES = 20  # of whom every pair is compared; a pair costs some milliseconds
_NO_SPREAD = 1e-12  # differences of accuracies closer than this are the same
Outcome = Literal["beats", "undecided", "no spread", "too few seeds"]


@dataclass(frozen=True)
class Estimate:
    """A mean accuracy over seeds, with its 95 % interval.

    `deviation` is the standard deviation over seeds (n - 1). It and the interval are None for
    fewer than two seeds; the interval is None too where all seeds gave the same.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Standing:
    """A candidate: its chosen configuration and how that was judged.

    `swept` are the chosen configuration's values, empty and all scores None where no run finished
    without diverging. `chosen_by` is the mean accuracy on the split that chooses, `score` the
    accuracy on the split that judges. `diverged` and `failed` of `runs` count the chosen
    configuration's seeds, `all_...` those of every configuration of the candidate.
    """

    name: str
    swept: Mapping[str, Any]
    run_ids: Sequence[str]
    chosen_by: float | None
    score: Estimate | None
    runs: int
    diverged: int
    failed: int
    all_runs: int
    all_diverged: int
    all_failed: int
    sensitivity: Sensitivity | None
    times_to_target: Sequence[TargetTime]


@dataclass(frozen=True)
class Comparison:
    """Two candidates' chosen configurations, by the differences of their scores at shared seeds.

    `first` is the one with the higher mean at these seeds. `difference` is the mean difference,
    `deviation` the standard deviation of the differences (n - 1). `p` is the paired t test's,
    `p_holm` the same corrected for all comparisons of the verdict; `low` and `high` are the
    difference's interval, not corrected. `seeds_to_decide` is how many seeds would decide a
    difference of this size with a power of 0.8, None where that is more than 1,000 or the
    question does not arise.
    """

    first: str
    second: str
    outcome: Outcome
    seeds: int
    difference: float | None
    deviation: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    seeds_to_decide: int | None


@dataclass(frozen=True)
class Verdict:
    """What a sweep says about its candidates.

    `standings` are in the order of the choice, the best first; `comparisons` hold every pair, in
    that order. `chosen_on` and `judged_on` name splits ("val", "test"). `target` is an accuracy on
    the split that chooses; `fastest` are the candidates by their time to it; `extended` names the
    configurations by which the sweep extended its grid itself. Of a search, `search` maps what was
    searched to what it was drawn from, and `pruned` counts the runs that it ended early, which no
    score holds.
    """

    key: str | None
    chosen_on: Sequence[str]
    judged_on: str
    intervals: str
    seeds: Sequence[Any]
    runs: int
    diverged: int
    failed: int
    pruned: int
    standings: Sequence[Standing]
    comparisons: Sequence[Comparison]
    edges: Sequence[Boundary]
    target: float | None
    fastest: Sequence[str]
    extended: Sequence[str]
    search: Mapping[str, str]

    @property
    def leader(self) -> Standing | None:
        """The candidate with the best chosen configuration; None where no run ended soundly."""
        return self.standings[0] if self.standings and self.standings[0].score else None

    def standing(self, name: str) -> Standing:
        """The candidate of this name."""
        return next(each for each in self.standings if each.name == name)


def as_json(verdict: Verdict, sentences: Sequence[str]) -> dict[str, Any]:
    """The verdict as `verdict.json` holds it; `docs/verdict.schema.json` describes it."""
    return {"schema": SCHEMA, "level": LEVEL, "sentences": list(sentences), **asdict(verdict)}
