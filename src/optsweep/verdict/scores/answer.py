"""What a verdict on scores is made of: plain records, with the numbers behind every sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optsweep.verdict.scores.intervals import LEVEL
from optsweep.verdict.scores.settling import MOST_SEEDS, POWER

SCHEMA = "optsweep/verdict/2"

Outcome = Literal["beats", "beats_within_margin", "equivalent", "leads", "undecided"]
Reason = Literal[
    "",
    "one seed",
    "no shared seeds",
    "no spread",
    "holds only without lost runs",
    "not confirmed",
    "continues",
    "dropped",
    "out of seeds",
    "beyond seeds",
]


@dataclass(frozen=True)
class Score:
    """A chosen configuration's mean score over seeds, with its 95 % interval where there is one.

    `samples` counts the test samples whose spread the interval holds too; None: seeds alone.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int
    samples: int | None


@dataclass(frozen=True)
class Candidate:
    """A candidate: what it was given, what was chosen for it, and how that scored.

    `runs` count all of its `configurations`, a number, `runs_to_tune` those that do not confirm;
    `judged_runs` count those that judge, of which `diverged` and `failed` were lost.
    `diverged_low` and `diverged_high` bound the rate of divergence. `is_confirmed` says that what
    judges did not choose.
    """

    name: str
    configurations: int
    runs: int
    runs_to_tune: int
    chosen: str | None
    chosen_by: float | None
    not_excluded: Sequence[str]
    excluded: Sequence[str]
    pruned: Sequence[str]
    is_confirmed: bool
    score: Score | None
    judged_runs: int
    diverged: int
    failed: int
    diverged_low: float | None
    diverged_high: float | None


@dataclass(frozen=True)
class Difference:
    """A mean difference, how much better the first is, with an interval and a p value."""

    mean: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True)
class Networks:
    """Two networks on one test set: the samples that only one has right, and McNemar's p value."""

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two candidates' chosen configurations, by their differences at shared seeds.

    `first` has the higher mean at these seeds. `p` is of no difference, `p_equivalent` of one of
    the margin or more; `..._holm` are corrected for all pairs of all workloads. The interval from
    `low` to `high`, at `interval_level`, leaves out 0 where the corrected test decides. With
    `samples`, all these are about new test samples, and `these_samples` is about those at hand;
    without, they are about the samples at hand. In looks, all numbers are those of the pair's last
    look, and the corrected p values are in the ratio of the level to what that look allowed.
    `seeds_low` to `seeds_high` fresh seeds would
    settle a difference of the margin; None: more than 1,000. `samples_to_settle` is how many test
    samples this takes, where seeds cannot.
    """

    first: str
    second: str
    outcome: Outcome
    reason: Reason
    seeds: int
    samples: int | None
    difference: float | None
    deviation: float | None
    low: float | None
    high: float | None
    interval_level: float
    p: float | None
    p_holm: float | None
    p_equivalent: float | None
    p_equivalent_holm: float | None
    these_samples: Difference | None
    networks: Networks | None
    seeds_low: int | None
    seeds_high: int | None
    samples_to_settle: int | None


@dataclass(frozen=True)
class Workload:
    """The answer for one workload; `candidates` are in the order of their scores, best first.

    `best` are the candidates that no other beats or leads. `lost_counts_as` is the score of a run
    that did not finish.
    """

    name: str
    best: Sequence[str]
    candidates: Sequence[Candidate]
    comparisons: Sequence[Comparison]
    lost_counts_as: float
    is_share: bool

    def candidate(self, name: str) -> Candidate:
        """The candidate of this name."""
        return next(each for each in self.candidates if each.name == name)

    @property
    def is_decided(self) -> bool:
        """Whether it is known which candidates are best.

        The best are then equivalent, or one of them is better by less than the margin; another
        candidate beats each of the others. Nothing is decided where nothing was compared.
        """
        beaten = {each.second for each in self.comparisons if each.outcome == "beats"}
        scored = {each.name for each in self.candidates if each.score}
        best = set(self.best)
        among = [each for each in self.comparisons if {each.first, each.second} <= best]
        alike = ("equivalent", "beats_within_margin")
        return (
            bool(self.comparisons)
            and beaten == scored - best
            and all(each.outcome in alike for each in among)
        )


@dataclass(frozen=True)
class Answer:
    """What scores say, one workload at a time; `pairs` were decided together over all of them.

    `looks` are the numbers of seeds at which it was looked; empty where all was judged at once.
    """

    workloads: Sequence[Workload]
    margin: float
    higher: bool
    pairs: int
    looks: Sequence[int]

    @property
    def is_decided(self) -> bool:
        """Whether it is known of every workload which candidates are best."""
        return bool(self.workloads) and all(each.is_decided for each in self.workloads)


def as_json(answer: Answer, sentences: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The answer as NAME.verdict.json holds it; `docs/verdict.schema.json` describes it."""
    content = asdict(answer)
    for workload in content["workloads"]:
        workload["sentences"] = list(sentences[workload["name"]])
    constants = {"level": LEVEL, "power": POWER, "most_seeds": MOST_SEEDS}
    return {"schema": SCHEMA, **constants, **content}
