"""A sweep's verdict in words: for the terminal, the report and MLflow.

`sentences` is given a verdict and hands on plain sentences for each workload, the answer first.
Differences are in points, hundredths of accuracy; scores are fractions of 1, as everywhere else.
"""

from collections.abc import Sequence
from dataclasses import replace

from optsweep.records.run import NO_TEST
from optsweep.records.values import SPLIT_NAMES, label
from optsweep.verdict.boundaries import Boundary
from optsweep.verdict.scores.answer import Candidate, Workload
from optsweep.verdict.scores.outcome_sentences import answer_lines, further_lines, what_next
from optsweep.verdict.scores.phrases import counted, plain
from optsweep.verdict.verdict import Verdict, WorkloadDetails

_MOST = 6  # names on one line
_CONFIRM = "add confirm=5 resume=true to the command."


class SweepVerdict:
    """A verdict that prints as its answer; `data` holds all that it rests on."""

    def __init__(self, data: Verdict) -> None:
        self.data = data

    @property
    def lines(self) -> list[str]:
        """The answer, what to type next, and what it rests on, as the terminal shows them."""
        # The command is a shell's; to a program the line says what to add to the overrides.
        return few_sentences(replace(self.data, confirming=""))

    def __str__(self) -> str:
        return "\n".join(self.lines) or "No run finished without diverging."

    __repr__ = __str__


def sentences(verdict: Verdict) -> dict[str, list[str]]:
    """All that the verdict says, by workload: the answer, what to type next, warnings, the rest."""
    return {
        workload.name: [
            *answer_of(verdict, workload, details),
            *advice_of(verdict, workload, details),
            *reasons_of(verdict, workload, details),
        ]
        for workload, details in verdict.parts
    }


def few_sentences(verdict: Verdict) -> list[str]:
    """The sentences as a terminal shows them: of several workloads the answer and the advice.

    With the whole command that confirms the choice.
    """
    if len(verdict.parts) == 1:
        lines = [line for own in sentences(verdict).values() for line in own]
        return [with_command(verdict, line) for line in lines]
    lines = []
    for workload, details in verdict.parts:
        said = [*answer_of(verdict, workload, details), *advice_of(verdict, workload, details)]
        lines += [f"{workload.name}:", *(f"  {line}" for line in said)]
    if verdict.confirming and any(_CONFIRM in line for line in lines):
        lines += plain([with_command(verdict, f"To confirm at fresh seeds, {_CONFIRM}")])
    return lines + outcome_lines(verdict)


def with_command(verdict: Verdict, line: str) -> str:
    """The line, and if it is that which says how to confirm, with the whole command."""
    return line.replace(_CONFIRM, f"type: {verdict.confirming}") if verdict.confirming else line


def headline(verdict: Verdict) -> str:
    """What counts most, one workload after the other; empty where nothing finished."""
    said = [
        (f"{workload.name}: " if workload.name else "") + answer_of(verdict, workload, details)[0]
        for workload, details in verdict.parts
        if workload.best
    ]
    return " | ".join(said)


def answer_of(verdict: Verdict, workload: Workload, details: WorkloadDetails) -> list[str]:
    """The answer for one workload, in three lines."""
    if not workload.best:
        return []
    samples = SPLIT_NAMES[details.judged_on]
    return answer_lines(verdict.answer, workload, details.tuning, samples)


def advice_of(verdict: Verdict, workload: Workload, details: WorkloadDetails) -> list[str]:
    """What to type next for one workload, and what to beware of."""
    if not workload.best:
        return []
    return plain(
        [
            what_next(verdict.answer, workload, _CONFIRM) or _more_seeds(verdict, workload),
            NO_TEST if details.judged_on == "val" else "",
            _edges(details, bool(verdict.search), bool(verdict.extended)),
            _unsound(details),
            _pruned(details),
        ]
    )


def reasons_of(verdict: Verdict, workload: Workload, details: WorkloadDetails) -> list[str]:
    """What the answer for one workload rests on."""
    if not workload.best:
        return []
    extended = ", ".join(verdict.extended)
    rest = [
        f"The grid was extended by {extended}." if extended else "",
        _stable(details),
        _target(verdict, details),
        _method(verdict, details),
    ]
    return [*further_lines(verdict.answer, workload), *plain(rest)]


def outcome_lines(verdict: Verdict) -> list[str]:
    """Over several workloads: how often each candidate is best, and how close to the best."""
    names = list(dict.fromkeys(c.name for own in verdict.answer.workloads for c in own.candidates))
    if len(verdict.parts) < 2 or len(names) < 2:
        return []
    count = len(verdict.parts)
    best = [
        f"{name} {sum(name in own.best for own in verdict.answer.workloads)}"
        for name in names[:_MOST]
    ]
    lines = [f"Workloads (of {count}) in which no other is ahead: {', '.join(best)}."]
    if verdict.profile:
        close = [
            f"{name} {label(own[verdict.profile.factors.index(1.1)], 2)}"
            for name, own in list(verdict.profile.shares.items())[:_MOST]
        ]
        lines.append(
            f"Share of workloads within 1.1 times the lowest {verdict.profile.cost}, a description "
            f"and no test: {', '.join(close)}."
        )
    return plain(lines)


def outcome(workload: Workload, candidate: Candidate) -> str:
    """One candidate's part in a workload's answer, in a word or three."""
    if candidate.score is None:
        return "not finished"
    if candidate.name in workload.best:
        return "best" if len(workload.best) == 1 else "one of the best"
    behind = [pair for pair in workload.comparisons if pair.second == candidate.name]
    return "worse" if any(pair.outcome == "beats" for pair in behind) else "behind"


def at(name: str, chosen: str | None) -> str:
    """A candidate with the configuration that was chosen for it: `adam at 0.001`."""
    return f"{name} at {chosen}" if chosen else name


def _more_seeds(verdict: Verdict, workload: Workload) -> str:
    """What gives one candidate's configurations a chance to differ beyond luck."""
    if len(verdict.seeds) > 1 or sum(each.configurations for each in workload.candidates) < 2:
        return ""
    first = verdict.seeds[0] if verdict.seeds and isinstance(verdict.seeds[0], int) else 0
    return f"Add seed={','.join(str(first + place) for place in range(5))}."


def _unsound(details: WorkloadDetails) -> str:
    """How many runs diverged or did not finish, and whose they were."""
    kinds = [
        _counted_by_candidate(details, "diverged", "diverged"),
        _counted_by_candidate(details, "failed", "did not finish"),
    ]
    counts = " and ".join(filter(None, kinds))
    return f"Of {counted(details.runs, 'run')} {counts}." if counts else ""


def _counted_by_candidate(details: WorkloadDetails, kind: str, what: str) -> str:
    counts = {each.name: int(getattr(each, kind)) for each in details.candidates}
    whose = [f"{name} {count:,}" for name, count in counts.items() if count]
    of = f" ({', '.join(whose)})" if len(counts) > 1 else ""
    return f"{sum(counts.values()):,} {what}{of}" if whose else ""


def _pruned(details: WorkloadDetails) -> str:
    """How many runs a search ended early."""
    if not details.pruned:
        return ""
    were = "was pruned, as it looked" if details.pruned == 1 else "were pruned, as they looked"
    of = f"Of {counted(details.runs, 'run')} {details.pruned:,}"
    return f"{of} {were} hopeless early; no score holds them."


def _edges(details: WorkloadDetails, is_search: bool, is_extended: bool) -> str:
    """The best values on an edge of what was tried, and what to type to go beyond."""
    edges, several = details.edges, len(details.candidates) > 1
    if not edges:
        return ""
    if is_search and any(edge.searched for edge in edges):
        return _ends(edges, several)
    parts = [
        f"{f'{edge.contender} at ' if several else ''}{edge.key}={label(edge.value)} "
        f"({'lowest' if edge.side == 'low' else 'highest'} tried)"
        for edge in edges
    ]
    line = f"On the edge of the grid: {', '.join(parts)}; a better value may lie beyond"
    typed = wider(edges)
    if not any(edge.next is not None for edge in edges):
        return f"{line}."
    if not typed:  # each candidate has values of its own
        return f"{line}. {'Raise extend' if is_extended else 'Type extend=3'}."
    return f"{line}. Type {typed}, or {'raise extend' if is_extended else 'extend=3'}."


def _ends(edges: Sequence[Boundary], several: bool) -> str:
    """The best values near an end of what was searched, and what to search instead."""
    near = [edge for edge in edges if edge.searched]
    parts = [
        f"{f'{edge.contender} at ' if several else ''}{edge.key}={label(edge.value)} "
        f"(the {edge.side} end of {edge.searched})"
        for edge in near
    ]
    instead = " ".join(dict.fromkeys(edge.override for edge in near if edge.override))
    line = f"Near the end of what was searched: {', '.join(parts)}"
    return f"{line}; a better value may lie beyond." + (f" Type {instead}." if instead else "")


def wider(edges: Sequence[Boundary]) -> str:
    """The overrides that extend the grid by a step on each edge that has one."""
    values: dict[str, set[float]] = {}
    for edge in edges:
        if edge.next is not None and edge.override:
            values.setdefault(edge.key, set()).update(edge.values)
    return " ".join(
        f"{key}={','.join(label(value, 10) for value in sorted(each))}"
        for key, each in values.items()
    )


def _stable(details: WorkloadDetails) -> str:
    """The largest learning rate of each candidate at which nothing was lost, if anything was."""
    parts = [
        f"{each.name} {label(each.sensitivity.largest_stable)}"
        for each in details.candidates[:_MOST]
        if each.sensitivity
        and each.sensitivity.largest_stable
        and any(point.diverged or point.failed for point in each.sensitivity.points)
    ]
    return f"Largest learning rate without a lost run: {', '.join(parts)}." if parts else ""


def _target(verdict: Verdict, details: WorkloadDetails) -> str:
    """How soon each reaches the target, where a run that does not is started again."""
    parts = []
    for name in details.fastest[:_MOST]:
        time = details.candidate(name).times_to_target[0]
        if time.epochs is None or time.seconds is None:
            parts.append(f"{name} never")
            continue
        of = f", {time.reached} of {time.runs} seeds" if time.runs > 1 else ""
        if time.epochs_low is not None:
            high = "no end" if time.epochs_high is None else f"{time.epochs_high:.3g}"
            of = f", 95 % interval {time.epochs_low:.3g} to {high}{of}"
        epochs = f"{time.epochs:.3g} epoch{'' if time.epochs == 1 else 's'}"
        where = at(name, label(time.swept["lr"]) if details.tuning == "learning rate" else None)
        parts.append(f"{where} in {epochs} ({time.seconds:.1f} s{of})")
    split = _splits(verdict.chosen_on).capitalize()
    what = f"{split} accuracy {label(verdict.target)} takes, runs that miss it included"
    return f"{what}: {', '.join(parts)}." if parts else ""


def _method(verdict: Verdict, details: WorkloadDetails) -> str:
    """Which split did what."""
    chosen, judged = _splits(verdict.chosen_on), SPLIT_NAMES[details.judged_on]
    if details.judged_on == "val":
        return "Chosen and judged on validation alike: the scores flatter."
    if details.judged_on in verdict.chosen_on:
        return f"Chosen and judged on {judged} alike, as val_fraction=0: the scores flatter."
    return f"Chosen on {chosen}, judged on {judged}."


def _splits(splits: Sequence[str]) -> str:
    return " or ".join(SPLIT_NAMES[split] for split in splits)
