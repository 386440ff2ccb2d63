"""What a sweep's verdict is made of: the answer on its scores, and what the sweep knows besides."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optsweep.verdict.boundaries import Boundary
from optsweep.verdict.performance_profile import Profile
from optsweep.verdict.scores.answer import Answer, as_json
from optsweep.verdict.scores.answer import Candidate as ScoredCandidate
from optsweep.verdict.scores.answer import Workload as ScoredWorkload
from optsweep.verdict.sensitivity import Sensitivity
from optsweep.verdict.time_to_target import TargetTime


@dataclass(frozen=True)
class Details:
    """What a sweep knows of a candidate beside its scores.

    `swept` are the chosen configuration's values, empty where no run finished without diverging;
    `run_ids` are its runs that judge. `runs`, `diverged` and `failed` count those of every
    configuration.
    """

    name: str
    swept: Mapping[str, Any]
    run_ids: Sequence[str]
    runs: int
    diverged: int
    failed: int
    pruned: int
    edges: Sequence[Boundary]
    sensitivity: Sensitivity | None
    times_to_target: Sequence[TargetTime]


@dataclass(frozen=True)
class WorkloadDetails:
    """What a sweep knows of a workload beside its scores.

    `candidates` are in the order of the answer, the best score first; `fastest` are they by their
    time to the target. `tuning` says what was tried for each: learning rates alone, or
    configurations. `judged_on` names its split ("val" where it has no test data). The counts are
    those of all candidates together.
    """

    name: str
    tuning: str
    judged_on: str
    runs: int
    diverged: int
    failed: int
    pruned: int
    candidates: Sequence[Details]
    fastest: Sequence[str]

    @property
    def edges(self) -> list[Boundary]:
        """The best values of all candidates with nothing tried beyond them."""
        return [edge for each in self.candidates for edge in each.edges]

    def candidate(self, name: str) -> Details:
        """The candidate of this name."""
        return next(each for each in self.candidates if each.name == name)


@dataclass(frozen=True)
class Verdict:
    """What a sweep says about its candidates, one workload at a time.

    `key` is what is compared. `chosen_on` and `judged_on` name splits ("val", "test"). `target` is
    an accuracy on the split that chooses; `extended` names the configurations by which the sweep
    extended its grid itself. Of a search, `search` maps what was searched to what it was drawn
    from, and `pruned` counts the runs that it ended early, which no score holds. `confirming` is
    the command that confirms the choice at fresh seeds; empty where sweeps were merged. `profile`
    is a summary over three workloads or more.
    """

    answer: Answer
    key: str | None
    chosen_on: Sequence[str]
    judged_on: str
    seeds: Sequence[Any]
    confirm_seeds: Sequence[Any]
    runs: int
    diverged: int
    failed: int
    pruned: int
    workloads: Sequence[WorkloadDetails]
    target: float | None
    extended: Sequence[str]
    search: Mapping[str, str]
    confirming: str
    profile: Profile | None

    @property
    def parts(self) -> list[tuple[ScoredWorkload, WorkloadDetails]]:
        """The answer for each workload, with what else is known of it."""
        return list(zip(self.answer.workloads, self.workloads, strict=True))

    @property
    def leader(self) -> ScoredCandidate | None:
        """The best candidate of the only workload; None where none finished, or of several."""
        if len(self.answer.workloads) != 1 or not self.answer.workloads[0].best:
            return None
        return self.answer.workloads[0].candidate(self.answer.workloads[0].best[0])


def verdict_json(verdict: Verdict, sentences: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The verdict as `verdict.json` holds it; `docs/verdict.schema.json` describes it.

    It is the answer as for any table, and under `sweep` the rest, without the command: one that
    continued a sweep may have differed from that which the store holds.
    """
    own = asdict(verdict)
    del own["answer"], own["confirming"]
    return {**as_json(verdict.answer, sentences), "sweep": own}
