"""Which candidate is best and how sure that is: plain run records in, a `Verdict` out.

Each workload is judged by itself. Each candidate's configuration is chosen on validation and judged
on test, at fresh seeds where the sweep confirmed it: `scores.judge_table` does both.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from optsweep.records.grouping import Configuration, chance, seed_of
from optsweep.records.merging import MergedRecord
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.search_intervals import is_several
from optsweep.records.values import distinct, identity
from optsweep.verdict.boundaries import boundaries
from optsweep.verdict.candidates import Candidate, candidates, compared_key, tuned_keys
from optsweep.verdict.performance_profile import Profile, profile
from optsweep.verdict.ranking import ranking_splits
from optsweep.verdict.rows.sweep_rows import by_text, rows_of
from optsweep.verdict.scores.answer import Answer, Workload
from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.sensitivity import sensitivity
from optsweep.verdict.time_to_target import speed, time_to_target
from optsweep.verdict.verdict import Details, Verdict, WorkloadDetails

_CONFIRM = "confirm=5"  # what is advised


def judge(sweep: SweepRecord) -> Verdict:
    """The verdict on a sweep, whatever became of its runs."""
    found = candidates(sweep)
    splits = ranking_splits(each for one in found for each in one.configurations)
    names = {each.workload for each in found}
    judged_on = {name: _judging_split(_runs(found, name), splits) for name in names}
    answer = judge_table(
        rows_of(sweep, found, judged_on),
        margin=sweep.margin,
        lost={name: chance(_runs(found, name)) for name in names},
        looks=sweep.looks,
    )
    workloads = [
        _details(sweep, workload, found, judged_on[workload.name]) for workload in answer.workloads
    ]
    overall = _judging_split(sweep.runs, splits)
    counts = [candidate.counts() for candidate in found]
    return Verdict(
        answer=answer,
        key=compared_key(sweep.grid, sweep.compare),
        chosen_on=splits or [overall],
        judged_on=overall,
        seeds=distinct(run.swept.get("seed", run.params.get("seed", 0)) for run in sweep.runs),
        confirm_seeds=list(sweep.confirm_seeds),
        runs=len(sweep.runs),
        diverged=sum(diverged for _, diverged, _ in counts),
        failed=sum(failed for *_, failed in counts),
        pruned=sum(run.pruned for run in sweep.runs),
        workloads=workloads,
        target=sweep.target,
        extended=list(sweep.extended),
        search=dict(sweep.search),
        confirming=_confirming(sweep),
        profile=_profile(answer, workloads, sweep.target),
    )


def _runs(found: Sequence[Candidate], workload: str) -> list[RunRecord]:
    own = [each for each in found if each.workload == workload]
    return [run for one in own for each in one.configurations for run in each.runs]


def _judging_split(runs: Sequence[RunRecord], splits: Sequence[str]) -> str:
    """Test where any run has it, as all do whose dataset has test data."""
    tested = any("test/accuracy" in run.metrics for run in runs)
    return "test" if tested or not splits else splits[0]


def _details(
    sweep: SweepRecord, workload: Workload, found: Sequence[Candidate], judged_on: str
) -> WorkloadDetails:
    own = {each.name: each for each in found if each.workload == workload.name}
    apart = _tried_apart(sweep, list(own.values()))
    details = [_detail(sweep, own[each.name], each.chosen, apart) for each in workload.candidates]
    timed = [each for each in details if each.times_to_target]
    tuned = tuned_keys(sweep, list(own.values()))
    return WorkloadDetails(
        name=workload.name,
        tuning="learning rate" if tuned == ["lr"] else "configuration",
        judged_on=judged_on,
        runs=sum(each.runs for each in details),
        diverged=sum(each.diverged for each in details),
        failed=sum(each.failed for each in details),
        pruned=sum(each.pruned for each in details),
        candidates=details,
        fastest=[each.name for each in sorted(timed, key=lambda e: speed(e.times_to_target[0]))],
    )


def _tried_apart(sweep: SweepRecord, own: Sequence[Candidate]) -> set[str]:
    """The keys of which not all candidates were given the same values."""
    if sweep.search:
        return {key for key, words in sweep.search.items() if is_several(words)}

    def tried(candidate: Candidate, key: str) -> set[str]:
        given = [each for each in candidate.configurations if each.name not in sweep.extended]
        return {identity(each.swept.get(key)) for each in given}

    return {key for key in sweep.grid if len({frozenset(tried(each, key)) for each in own}) > 1}


def _detail(
    sweep: SweepRecord, candidate: Candidate, text: str | None, apart: Collection[str]
) -> Details:
    chosen = by_text(sweep, candidate)[text] if text is not None else None
    others = [each for each in candidate.configurations if each is not chosen]
    first = replace(candidate, configurations=[chosen, *others] if chosen else others)
    runs, diverged, failed = candidate.counts()
    edges = [
        replace(edge, override="") if edge.key in apart else edge
        for edge in boundaries(first, sweep.search)
    ]
    return Details(
        name=candidate.name,
        swept=dict(chosen.swept) if chosen else {},
        run_ids=[run.run_id for run in _judging(sweep, candidate, chosen)],
        runs=runs,
        diverged=diverged,
        failed=failed,
        pruned=sum(each.pruned for each in candidate.configurations),
        edges=edges,
        sensitivity=sensitivity(candidate),
        times_to_target=time_to_target(candidate, sweep.target) if sweep.target is not None else [],
    )


def _judging(
    sweep: SweepRecord, candidate: Candidate, chosen: Configuration | None
) -> list[RunRecord]:
    """The runs of the chosen configuration that judge it: those at fresh seeds, if any."""
    if chosen is None:
        return []
    fresh = set(map(identity, sweep.confirm_seeds))
    confirming = [run for run in chosen.runs if seed_of(run) in fresh]
    return confirming if confirming and len(candidate.configurations) > 1 else list(chosen.runs)


def _confirming(sweep: SweepRecord) -> str:
    """The sweep's command with what confirms its choice, which reuses all that is finished."""
    if isinstance(sweep, MergedRecord):
        return ""
    typed = [each for each in sweep.overrides if not each.lstrip("+").startswith("resume=")]
    asked = any(each.lstrip("+").startswith("confirm=") for each in typed)
    more = ["resume=true"] if asked else [_CONFIRM, "resume=true"]
    return replace(sweep, overrides=[*typed, *more]).command


def _profile(
    answer: Answer, details: Sequence[WorkloadDetails], target: float | None
) -> Profile | None:
    """By the time to the target where one was asked for, else by the error."""
    if target is not None:
        times = [{c.name: c.times_to_target[0].epochs for c in own.candidates} for own in details]
        return profile("epochs to the target", times)
    errors = [
        {each.name: 1 - each.score.mean if each.score else None for each in own.candidates}
        for own in answer.workloads
    ]
    return profile("error", errors)
