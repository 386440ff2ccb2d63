"""Which candidate is best, and how sure that is: rows of scores in, an `Answer` out.

Each workload is judged by itself. The chosen configurations of each pair of candidates are compared
by their differences at shared seeds, and all pairs of all workloads are decided together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations, takewhile

import numpy as np

from optsweep.verdict.scores.answer import (
    Answer,
    Candidate,
    Comparison,
    Difference,
    Outcome,
    Reason,
    Score,
    Workload,
)
from optsweep.verdict.scores.choice import Entrant, Scale, entrants, scale_of
from optsweep.verdict.scores.holm import Step, holm
from optsweep.verdict.scores.intervals import LEVEL, MARGIN, score_interval, share_interval
from optsweep.verdict.scores.looks import follow, outcome_of
from optsweep.verdict.scores.pairs import FAILED, Pair, has_samples, pair_of, right
from optsweep.verdict.scores.rows import Row
from optsweep.verdict.scores.settling import samples_to_settle, seeds_to_settle
from optsweep.verdict.scores.significance import over_seeds, over_seeds_and_samples


def judge_table(
    rows: Sequence[Row],
    *,
    margin: float = MARGIN,
    higher: bool = True,
    lost: float | Mapping[str, float] | None = None,
    looks: Sequence[int] = (),
) -> Answer:
    """The answer that rows of scores give, one for each workload.

    Differences below `margin` do not matter in practice. Where `higher` is false, lower scores are
    better. `lost` is what a run counts that did not finish, one for each workload or the same for
    all: chance accuracy, as a rule; without it, the worst finished score of its workload. Where
    seeds were added in `looks`, these and not Holm's steps decide about the pairs that were
    confirmed; seeds are in the order of the rows.

    Raises:
        RowError: a run is given twice, or is to confirm at a seed that has chosen.
    """
    numbered: dict[str, list[tuple[int, Row]]] = {}
    for index, row in enumerate(rows):
        numbered.setdefault(row.workload, []).append((index, row))
    scales = {
        name: scale_of(
            [row for _, row in own], higher, lost[name] if isinstance(lost, Mapping) else lost
        )
        for name, own in numbered.items()
    }
    found = {name: entrants(own, scales[name]) for name, own in numbered.items()}
    pairs = {
        name: [
            pair_of(first, second, scales[name])
            for first, second in combinations([each for each in own if each.chosen], 2)
        ]
        for name, own in found.items()
    }
    every = [pair for own in pairs.values() for pair in own]
    comparisons = dict(zip(map(id, every), _decided(every, margin), strict=True))
    for name, own in pairs.items() if looks else ():
        comparisons |= _decided_in_looks(own, looks, scales[name], margin, len(every))
    return Answer(
        workloads=[
            _workload(name, own, [comparisons[id(pair)] for pair in pairs[name]], scales[name])
            for name, own in found.items()
        ],
        margin=margin,
        higher=higher,
        pairs=len(every),
        looks=list(looks),
    )


def _decided(pairs: Sequence[Pair], margin: float) -> list[Comparison]:
    """All pairs decided together by Holm's procedure, differences and equivalences each.

    A pair that was not confirmed keeps its place in the family, and is never rejected there: its
    p value is too small, and would hand its level to others. Whether one leads is decided apart.
    """
    alpha = 1 - LEVEL
    differs = [pair.p_differs() for pair in pairs]
    equivalent = [pair.p_equivalent(margin) for pair in pairs]
    leads = holm(differs, alpha)
    fair = [p if pair.is_fair else 1.0 for p, pair in zip(differs, pairs, strict=True)]
    same = [p if pair.is_fair else 1.0 for p, pair in zip(equivalent, pairs, strict=True)]
    steps = zip(pairs, leads, holm(fair, alpha), holm(same, alpha), strict=True)
    return [
        _comparison(pair, decided if pair.is_fair else lead, alike, margin, alpha / len(pairs))
        for pair, lead, decided, alike in steps
    ]


def _decided_in_looks(
    pairs: Sequence[Pair], looks: Sequence[int], scale: Scale, margin: float, family: int
) -> dict[int, Comparison]:
    """One workload's confirmed pairs by what the looks say, each as it was at its last look."""
    fair = {each.name: each for pair in pairs if pair.is_fair for each in (pair.first, pair.second)}
    order = max(
        (list(each.confirmed or each.judged) for each in fair.values()), key=len, default=[]
    )
    rows = {
        name: [each.judged[seed] for seed in takewhile(each.judged.__contains__, order)]
        for name, each in fair.items()
    }
    by_sample = has_samples(chain(*rows.values()))
    paths = {
        name: right(own, scale) if by_sample else np.array([scale.score(row) for row in own])
        for name, own in rows.items()
    }
    progress = follow(paths, looks, margin=margin, family=family)
    found = {frozenset((each.first, each.second)): each for each in progress.pairs}
    comparisons = {}
    for pair in pairs:
        if not pair.is_fair:
            continue
        seen = found[frozenset((pair.first.name, pair.second.name))]
        ours, theirs = (
            replace(each, judged=dict(zip(order[: seen.seeds], rows[each.name], strict=False)))
            for each in (pair.first, pair.second)
        )
        last = pair_of(ours, theirs, scale) if seen.seeds else pair
        differs = _step(last.p_differs(), seen.level, seen.outcome.startswith("beats"))
        is_alike = seen.outcome in ("equivalent", "beats_within_margin")
        alike = _step(last.p_equivalent(margin), seen.level_equivalent, is_alike)
        made = _comparison(last, differs, alike, margin, (1 - LEVEL) / family)
        if made.outcome == "undecided" and not made.reason and seen.state != "settled":
            made = replace(made, reason=seen.state)
        comparisons[id(pair)] = made
    return comparisons


def _step(p: float, level: float, is_rejected: bool) -> Step:
    """A p value in looks as a step of Holm's; what failed runs leave open is not rejected."""
    return Step(is_rejected and p < level, min(1.0, p * (1 - LEVEL) / level), level)


def _comparison(pair: Pair, step: Step, alike: Step, margin: float, strictest: float) -> Comparison:
    weakest, counted = pair.weakest, pair.means[0]
    outcome: Outcome = outcome_of(step.rejected, alike.rejected)
    if not pair.is_fair:
        outcome = "leads" if step.rejected else "undecided"
    ends = weakest.interval(1 - step.level) if weakest else None
    has_p = weakest is not None and weakest.has_spread
    settle: tuple[int | None, int | None] = (None, None)
    samples = None
    if counted and counted.has_spread and margin > 0:
        settle = seeds_to_settle(counted, margin, strictest)
        samples = samples_to_settle(counted, margin, strictest)
    these = None
    if pair.these and counted and counted.samples:
        low, high = pair.these.interval(1 - step.level) or (None, None)
        these = Difference(pair.these.mean, low, high, pair.these.p_differs())
    return Comparison(
        first=pair.first.name,
        second=pair.second.name,
        outcome=outcome,
        reason=_reason(pair, step) if outcome in ("undecided", "leads") else "",
        seeds=len(pair.seeds),
        samples=counted.samples if counted else None,
        difference=pair.difference,
        deviation=float(np.sqrt(counted.seed_variance)) if counted else None,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        interval_level=1 - step.level,
        p=pair.p_differs() if has_p else None,
        p_holm=step.adjusted if has_p else None,
        p_equivalent=pair.p_equivalent(margin) if has_p and pair.is_fair else None,
        p_equivalent_holm=alike.adjusted if has_p and pair.is_fair else None,
        these_samples=these,
        networks=pair.networks,
        seeds_low=settle[0],
        seeds_high=settle[1],
        samples_to_settle=samples,
    )


def _reason(pair: Pair, step: Step) -> Reason:
    """Why a pair is not decided, where it is not that chance may explain it."""
    if len(pair.seeds) < 2:
        return "one seed" if pair.seeds else "no shared seeds"
    if step.rejected:
        return "not confirmed"
    if pair.means[0] and not pair.means[0].has_spread:
        return "no spread"
    if pair.sound and pair.sound.p_differs() < step.level:
        return "holds only without lost runs"
    return "" if pair.is_fair else "not confirmed"


def _workload(
    name: str, found: Sequence[Entrant], comparisons: Sequence[Comparison], scale: Scale
) -> Workload:
    behind = {each.second for each in comparisons if each.outcome in ("beats", "leads")}
    candidates = [_candidate(each, scale) for each in found]
    candidates.sort(key=lambda each: -scale.sign * each.score.mean if each.score else np.inf)
    scored = [each.name for each in candidates if each.score]
    # Where pairs share different seeds, each may be behind another.
    best = [name for name in scored if name not in behind] or scored[:1]
    return Workload(
        name=name,
        best=best,
        candidates=candidates,
        comparisons=[_within(each) for each in comparisons] if scale.is_share else comparisons,
        lost_counts_as=scale.lost_score,
        is_share=scale.is_share,
    )


def _within(comparison: Comparison) -> Comparison:
    """The comparison of two shares, whose difference lies within [-1, 1]."""

    def clipped(end: float | None) -> float | None:
        return None if end is None else min(max(end, -1.0), 1.0)

    these = comparison.these_samples
    if these:
        these = replace(these, low=clipped(these.low), high=clipped(these.high))
    low, high = clipped(comparison.low), clipped(comparison.high)
    return replace(comparison, low=low, high=high, these_samples=these)


def _candidate(entrant: Entrant, scale: Scale) -> Candidate:
    judged = list(entrant.judged.values())
    diverged = sum(row.status == "diverged" for row in judged)
    rate = share_interval(diverged, len(judged)) if judged else (None, None)
    pruned = [each.label for each in entrant.configurations if each.is_pruned]
    kept = {*entrant.not_excluded, *pruned}
    return Candidate(
        name=entrant.name,
        configurations=len(entrant.configurations),
        runs=sum(len(each.all) for each in entrant.configurations),
        runs_to_tune=sum(len(each.tune) for each in entrant.configurations),
        chosen=entrant.chosen.label if entrant.chosen else None,
        chosen_by=entrant.chosen_by,
        not_excluded=entrant.not_excluded,
        excluded=[each.label for each in entrant.configurations if each.label not in kept],
        pruned=pruned,
        is_confirmed=entrant.is_fair,
        score=_score(judged, scale) if judged else None,
        judged_runs=len(judged),
        diverged=diverged,
        failed=sum(row.status in FAILED for row in judged),
        diverged_low=rate[0],
        diverged_high=rate[1],
    )


def _score(runs: Sequence[Row], scale: Scale) -> Score:
    """The mean of what judges, by the same method as differences."""
    if len(runs) < 2:
        return Score(scale.sign * scale.score(runs[0]), None, None, 1, None)
    if has_samples(runs):
        mean = over_seeds_and_samples(right(runs, scale))
    else:
        mean = over_seeds(np.array([scale.sign * scale.score(row) for row in runs]))
    ends = score_interval(mean.mean, mean.reach(LEVEL), scale.is_share)
    low, high = ends or (None, None)
    return Score(mean.mean, low, high, mean.seeds, mean.samples)
