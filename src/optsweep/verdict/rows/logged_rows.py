"""Runs that another program logged, as rows of scores.

`rows_of` is given the runs and where their values stand. What cannot be judged it names run by run;
what says nothing, such as a run that still runs, it counts.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from optsweep.errors import SettingsError, nearest
from optsweep.records.logged_run import LoggedRun
from optsweep.verdict.rows.keys import Keys, Source
from optsweep.verdict.scores.answer import Answer, Candidate
from optsweep.verdict.scores.phrases import counted, listed
from optsweep.verdict.scores.rows import LARGEST, PHASES, Phase, Row, Status

_Whose = tuple[str | None, ...]  # the values of a candidate
_Having = Set[tuple[_Whose, Source]]  # what some runs of a candidate have
_MOST = 8  # names or seeds in a sentence


@dataclass
class Reading:
    """The rows, each with its run in `runs`; what cannot be judged, and how many say nothing."""

    rows: list[Row] = field(default_factory=list)
    runs: list[LoggedRun] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, why: str) -> None:
        """Counts a run that says nothing."""
        self.left_out[why] = self.left_out.get(why, 0) + 1


class _Place(NamedTuple):
    """Whose run it is: of two runs at one place, one is too many."""

    workload: str
    candidate: str
    configuration: str
    phase: str
    seed: str


def rows_of(runs: Sequence[LoggedRun], keys: Keys) -> Reading:
    """One row for each run that ended and has what the keys name.

    Left out and counted are: runs that still run or were killed, as they say nothing; runs that
    have neither the seed nor the score, nested ones of which none has the score, and parents of
    others that lack one of the keys; failed runs that logged too little to say whose they are, or
    that were repeated.

    Raises:
        SettingsError: no run has what a key names.
    """
    _check_present(runs, keys)
    reading = Reading()
    own = _judgeable(runs, keys, reading)
    having = {
        (_whose(run, keys), source)
        for run in own
        for source in keys.configuration
        if source.text(run) is not None
    }
    own = [run for run in own if not _lacks(run, keys, having, reading)]
    places: dict[_Place, list[LoggedRun]] = {}
    for run in own:
        places.setdefault(_place(run, keys), []).append(run)
    for place, found in places.items():
        finished = [run for run in found if run.status == "FINISHED"]
        if len(finished) > 1:
            reading.problems.append(_doubled(place, finished, keys))
            continue
        kept = [*finished, *reversed(found)][0]  # of failed ones, that which started last
        for _ in found[1:]:
            reading.leave_out("failed and repeated")
        _add(kept, place, keys, reading)
    return reading


def _check_present(runs: Sequence[LoggedRun], keys: Keys) -> None:
    for name, source in keys:
        if all(source.text(run) is None for run in runs):
            there = sorted({each for run in runs for each in getattr(run, source.kind, ())})
            best = nearest(source.name, there)
            shown = ", ".join(f"{source.kind}.{each}" for each in there[:_MOST]) or "none"
            more = ", ..." if len(there) > _MOST else ""
            hint = (
                f"did you mean {name}={source.kind}.{best}?" if best else f"there are {shown}{more}"
            )
            raise SettingsError(f"{name}={source}: no run has it; {hint}")


def _judgeable(runs: Sequence[LoggedRun], keys: Keys, reading: Reading) -> list[LoggedRun]:
    """The runs that ended and are of the kind to judge; others are counted."""
    parents = {run.parent for run in runs}
    scored = {run.parent for run in runs if run.parent and keys.score.text(run) is not None}
    found = []
    for run in runs:
        if why := _not_to_judge(run, keys, run.run_id in parents, run.parent in scored):
            reading.leave_out(why)
        else:
            found.append(run)
    return found


def _not_to_judge(run: LoggedRun, keys: Keys, is_parent: bool, has_scored_siblings: bool) -> str:
    """Why a run is left out; empty where it is to be judged."""
    is_known = None not in _whose(run, keys) and keys.seed.text(run) is not None
    has_score = keys.score.text(run) is not None
    if run.status == "KILLED":
        return "killed"
    if run.status not in ("FINISHED", "FAILED"):
        return "still running"
    if is_parent and not (is_known and has_score):
        return "with others nested below"
    if run.status == "FAILED" and not is_known:
        return "failed before it was known whose"
    if keys.seed.text(run) is None and not has_score:
        return "of another kind, without seed and score"
    if run.status == "FINISHED" and run.parent and not (has_score or has_scored_siblings):
        return "nested in a group of which none has the score"  # the folds of a grid search
    return ""


def _lacks(
    run: LoggedRun, keys: Keys, having: Set[tuple[_Whose, Source]], reading: Reading
) -> bool:
    """Whether a run lacks a value or has a wrong one, which is a problem.

    A configuration's values may be a candidate's own, such as a momentum: all of its runs have
    them, or none. `having` are the candidates with what some of their runs have.
    """
    needed = [*keys.candidate, keys.seed, *keys.workload]
    scores = [each for each in (keys.score, keys.chosen_by) if each]
    lacking = [source for source in needed if source.text(run) is None]
    if run.status == "FINISHED":
        lacking += [source for source in scores if source.text(run) is None]
    said = [f"missing: run {run} has no {source}" for source in dict.fromkeys(lacking)]
    for source in keys.configuration:
        if not lacking and source.text(run) is None and (_whose(run, keys), source) in having:
            others_have = f"which other runs of {_candidate(run, keys)} have"
            said.append(f"missing: run {run} has no {source}, {others_have}")
    for source in scores:
        try:
            source.number(run)
        except ValueError:
            said.append(f"wrong: run {run} has {source}={source.text(run)}, which is no number")
    if keys.phase and (keys.phase.text(run) or PHASES[0]) not in PHASES:
        given = f"{keys.phase}={keys.phase.text(run)}"
        said.append(f"wrong: run {run} has {given}, which is neither tune nor confirm")
    reading.problems += said
    return bool(said)


def _whose(run: LoggedRun, keys: Keys) -> _Whose:
    return tuple(source.text(run) for source in keys.candidate)


def _place(run: LoggedRun, keys: Keys) -> _Place:
    return _Place(
        _named(run, keys.workload),
        _candidate(run, keys),
        _named(run, keys.configuration),
        (keys.phase and keys.phase.text(run)) or PHASES[0],
        keys.seed.text(run) or "",
    )


def _candidate(run: LoggedRun, keys: Keys) -> str:
    """The candidate's first value alone, and others by their names: `adam schedule=cosine`."""
    first, *others = keys.candidate
    return f"{first.text(run)} {_named(run, others)}".strip()


def _named(run: LoggedRun, sources: Sequence[Source]) -> str:
    """The values that a run has, by their names: `lr=0.001 weight_decay=0`."""
    found = ((source.name, source.text(run)) for source in sources)
    return " ".join(f"{name}={text}" for name, text in found if text is not None)


def _doubled(place: _Place, runs: Sequence[LoggedRun], keys: Keys) -> str:
    whose = " ".join(filter(None, [place.workload, place.candidate, place.configuration]))
    who = listed([str(run) for run in runs[:_MOST]])
    more = f" and {len(runs) - _MOST} more" if len(runs) > _MOST else ""
    typed = {source for _, source in keys}
    names = sorted({name for run in runs for name in run.params})
    differing = [
        f"params.{name}"
        for name in names
        if len({run.params.get(name) for run in runs}) > 1 and Source("params", name) not in typed
    ]
    what = "delete all but one"
    if differing:
        what = f"they differ in {listed(differing[:_MOST])}: add it to configuration=, or {what}"
    return f"doubled: {whose} has seed {place.seed} {len(runs)} times, {who}{more}; {what}"


def _add(run: LoggedRun, place: _Place, keys: Keys, reading: Reading) -> None:
    status: Status = "finished" if run.status == "FINISHED" else "failed"
    score = _usual(keys.score.number(run))
    if status == "finished" and score is None:
        status = "diverged"
    is_sound = status == "finished"
    chosen_by = _usual(keys.chosen_by.number(run)) if keys.chosen_by and is_sound else None
    phase: Phase = "confirm" if place.phase == "confirm" else "tune"
    reading.runs.append(run)
    reading.rows.append(
        Row(
            candidate=place.candidate,
            seed=place.seed,
            score=score if is_sound else None,
            configuration=place.configuration,
            workload=place.workload,
            phase=phase,
            chosen_by=chosen_by,
            status=status,
        )
    )


def _usual(number: float | None) -> float | None:
    """The number where it can be a score: finite, and not so large that its square overflows."""
    return number if number is not None and abs(number) < LARGEST else None


def judged_rows(rows: Iterable[Row], workload: str, candidate: Candidate) -> list[Row]:
    """The rows that judge a candidate, by what was chosen for it."""
    own = [
        row
        for row in rows
        if (row.workload, row.candidate, row.configuration)
        == (workload, candidate.name, candidate.chosen)
    ]
    fresh = [row for row in own if row.phase == "confirm"]
    return fresh if fresh and candidate.configurations > 1 else own


def unpaired(answer: Answer, rows: Sequence[Row]) -> list[str]:
    """The seeds that judge one candidate and not another, which no comparison uses."""
    lines = []
    for workload in answer.workloads:
        seeds = {
            each.name: [row.seed for row in judged_rows(rows, workload.name, each)]
            for each in workload.candidates
            if each.chosen is not None
        }
        every = list(dict.fromkeys(seed for own in seeds.values() for seed in own))
        of = f" of {workload.name}" if len(answer.workloads) > 1 else ""
        for name, own in seeds.items():
            if absent := [seed for seed in every if seed not in own]:
                has = [other for other in seeds if set(absent) & set(seeds[other])]
                what = listed(absent[:_MOST]) + (" and others" if len(absent) > _MOST else "")
                chosen = workload.candidate(name).chosen
                at = f"{name} at {chosen}" if chosen else name
                lines.append(
                    f"unpaired: {at}{of} has no run with seed {what}, and {listed(has[:_MOST])} "
                    f"{'has' if len(has) == 1 else 'have'}; run it, or only shared seeds count"
                )
    return lines


def left_out_line(left_out: Mapping[str, int]) -> str:
    """The runs that were left out, in words; empty where there are none."""
    parts = [f"{counted(count, 'run')} {why}" for why, count in left_out.items()]
    return f"Left out: {'; '.join(parts)}." if parts else ""
