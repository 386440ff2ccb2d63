"""A verdict in words: for the terminal, the report and MLflow.

`sentences` is given a verdict and hands on plain sentences, the most important first. Differences
are in points, hundredths of accuracy; scores are fractions of 1, as everywhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from optsweep.records.values import SPLIT_NAMES, label, named, printable
from optsweep.verdict.boundaries import Boundary
from optsweep.verdict.verdict import LEVEL, MOST_SEEDS, Comparison, Estimate, Standing, Verdict

_MOST = 5  # comparisons and candidates that a terminal or a page shows as sentences
_FEW_SEEDS = 4  # below which an interval is said to be wide
_FEW_FOR_BOOTSTRAP = 10  # below which a bootstrap has too few values to draw from


def sentences(verdict: Verdict, most: int | None = None) -> list[str]:
    """All that the verdict says, a sentence or two each; of a kind at most `most`.

    Empty where no run finished without diverging.
    """
    if verdict.leader is None:
        return []
    lines = [
        *_limited([comparison(e, verdict) for e in verdict.comparisons], most, "comparisons"),
        _chance(verdict),
        *_limited([score(e, verdict) for e in verdict.standings if e.score], most, "scores"),
        _unsound(verdict),
        _pruned(verdict),
        f"The grid was extended by {', '.join(verdict.extended)}." if verdict.extended else "",
        _edges(verdict),
        _rates(verdict, most),
        _target(verdict, most),
        _method(verdict),
    ]
    return [printable(line) for line in lines if line]


def few_sentences(verdict: Verdict) -> list[str]:
    """The sentences as a terminal and a page show them: of many candidates only the first."""
    return sentences(verdict, _MOST)


def headline(verdict: Verdict) -> str:
    """The one sentence that counts most; empty where there is nothing to say."""
    return next(iter(sentences(verdict)), "")


def _limited(lines: Sequence[str], most: int | None, what: str) -> list[str]:
    said = [line for line in lines if line]
    if most is None or len(said) <= most + 1:
        return said
    return [*said[:most], f"And {len(said) - most} more {what}, in verdict.json."]


def at(standing: Standing, key: str | None) -> str:
    """A candidate with the values that were chosen for it: `adam at 0.001`."""
    return f"{standing.name}{chosen(standing.swept, key)}"


def chosen(swept: Mapping[str, Any], key: str | None) -> str:
    """A configuration's values but the candidate's own: ` at 0.001`, ` at lr=0.1 batch_size=64`."""
    values = {name: value for name, value in swept.items() if name != key}
    if list(values) == ["lr"]:
        return f" at {label(values['lr'])}"
    return f" at {named(values)}" if values else ""


def comparison(pair: Comparison, verdict: Verdict) -> str:
    """What one comparison says; empty where there is only one seed, of which `_chance` speaks."""
    first, second = verdict.standing(pair.first), verdict.standing(pair.second)
    winner, other = at(first, verdict.key), at(second, verdict.key)
    difference = f"{points(pair.difference or 0.0)} points"
    if pair.outcome == "too few seeds":
        if len(verdict.seeds) < 2:
            return ""
        return f"Not enough shared seeds to compare {winner} and {other}: {_seeds(pair.seeds)}."
    if pair.outcome == "no spread":
        said = f"{winner} is ahead of {other} by {difference}"
        said = f"{winner} and {other} score the same" if not pair.difference else said
        return f"Undecided: {said} at each of {_seeds(pair.seeds)}, no spread to judge chance by."
    interval = f"interval {points(pair.low or 0.0)} to {points(pair.high or 0.0)}"
    chance = f"{_seeds(pair.seeds)}, {probability(pair.p_holm or 0.0)}"
    if pair.outcome == "beats":
        return (
            f"{winner} beats {other} by {difference} ({100 * LEVEL:.0f} % {interval}, {chance})"
            f"{_but(pair, verdict)}."
        )
    many = pair.seeds_to_decide is None
    needed = f"more than {MOST_SEEDS:,}" if many else f"about {pair.seeds_to_decide:,}"
    if (pair.low or 0.0) > 0:
        interval += ", which leaves out zero, but not after correction"
    return (
        f"Undecided between {winner} and {other}: {difference}, {interval} ({chance}); "
        f"{needed} seeds would decide a difference of this size{_but(pair, verdict)}."
    )


def _but(pair: Comparison, verdict: Verdict) -> str:
    """What a reader has to know beside a comparison: lost seeds, and a choice that was wrong."""
    first, second = verdict.standing(pair.first), verdict.standing(pair.second)
    words = [
        f"{standing.name} lost {lost} of its {standing.runs} seeds"
        for standing in (first, second)
        if (lost := standing.diverged + standing.failed)
    ]
    order = [each.name for each in verdict.standings]
    if pair.outcome == "beats" and order.index(first.name) > order.index(second.name):
        words.append(f"{_split(verdict.chosen_on)} had {second.name} ahead")
    return f", though {' and '.join(words)}" if words else ""


def score(standing: Standing, verdict: Verdict) -> str:
    """A candidate's judged score with its interval."""
    assert standing.score is not None
    lost = standing.diverged + standing.failed
    return (
        f"{at(standing, verdict.key)}: {SPLIT_NAMES[verdict.judged_on]} accuracy "
        f"{standing.score.mean:.4f}{_interval(standing.score)}"
        f"{f'; lost {lost} of its {standing.runs} seeds' if lost else ''}."
    )


def _interval(found: Estimate) -> str:
    if found.seeds < 2:
        return ""
    if found.low is None or found.high is None:
        return f" (the same at {_seeds(found.seeds)})"
    level = f"{100 * LEVEL:.0f} % interval"
    return f" ({level} {found.low:.4f} to {found.high:.4f}, {_seeds(found.seeds)})"


def _chance(verdict: Verdict) -> str:
    """How far the number of seeds allows a statement."""
    if len(verdict.seeds) < 2:
        first = verdict.seeds[0] if verdict.seeds and isinstance(verdict.seeds[0], int) else 0
        add = ",".join(str(first + n) for n in range(5))
        if verdict.search and verdict.leader:
            best = " ".join(f"{key}={label(each)}" for key, each in verdict.leader.swept.items())
            return (
                "One seed is not enough to decide; repeat the best, with all else as it was, "
                f"by -m {best} seed={add}."
            )
        return f"One seed is not enough to decide; add seed={add}."
    most = max((each.score.seeds for each in verdict.standings if each.score), default=0)
    if 2 <= most < _FEW_FOR_BOOTSTRAP and verdict.intervals == "bootstrap":
        return f"A bootstrap over {_seeds(most)} makes intervals too narrow; intervals=t is honest."
    if 2 <= most < _FEW_SEEDS:
        return f"{_seeds(most).capitalize()} make wide intervals; more seeds narrow them."
    return ""


def _unsound(verdict: Verdict) -> str:
    """How many runs diverged or did not finish, and whose they were."""
    if not verdict.diverged and not verdict.failed:
        return ""
    kinds = {"diverged": verdict.diverged, "did not finish": verdict.failed}
    counted = " and ".join(f"{count:,} {what}" for what, count in kinds.items() if count)
    whose = [
        f"{each.name} {each.all_diverged + each.all_failed:,}"
        for each in verdict.standings
        if each.all_diverged or each.all_failed
    ]
    of = f" ({', '.join(whose)})" if len(verdict.standings) > 1 else ""
    return f"Of {verdict.runs:,} runs {counted}{of}."


def _pruned(verdict: Verdict) -> str:
    """How many runs a search ended early."""
    if not verdict.pruned:
        return ""
    were = "was pruned, as it looked" if verdict.pruned == 1 else "were pruned, as they looked"
    return (
        f"Of {verdict.runs:,} runs {verdict.pruned:,} {were} hopeless early; no score holds them."
    )


def _edges(verdict: Verdict) -> str:
    """The best values on an edge of what was tried, and what to type to go beyond."""
    if not verdict.edges:
        return ""
    several = len(verdict.standings) > 1
    if verdict.search and any(edge.searched for edge in verdict.edges):
        return _ends(verdict, several)
    parts = [
        f"{f'{edge.contender} at ' if several else ''}{edge.key}={label(edge.value)} "
        f"({'lowest' if edge.side == 'low' else 'highest'} tried)"
        for edge in verdict.edges
    ]
    line = f"On the edge of the grid: {', '.join(parts)}; a better value may lie beyond"
    typed = wider(verdict.edges)
    by_itself = "raise extend" if verdict.extended else "extend=3"
    return f"{line}. Type {typed}, or {by_itself}." if typed else f"{line}."


def _ends(verdict: Verdict, several: bool) -> str:
    """The best values near an end of what was searched, and what to search instead."""
    near = [edge for edge in verdict.edges if edge.searched]
    parts = [
        f"{f'{edge.contender} at ' if several else ''}{edge.key}={label(edge.value)} "
        f"(the {edge.side} end of {edge.searched})"
        for edge in near
    ]
    instead = " ".join(dict.fromkeys(edge.override for edge in near))
    line = f"Near the end of what was searched: {', '.join(parts)}"
    return f"{line}; a better value may lie beyond. Type {instead}."


def wider(edges: Sequence[Boundary]) -> str:
    """The overrides that extend the grid by a step on each edge that has one."""
    values: dict[str, set[float]] = {}
    for edge in edges:
        if edge.next is not None:
            values.setdefault(edge.key, set()).update(edge.values)
    return " ".join(
        f"{key}={','.join(label(value, 10) for value in sorted(each))}"
        for key, each in values.items()
    )


def _rates(verdict: Verdict, most: int | None) -> str:
    """How wide the good learning rates are, and the largest that did not diverge."""
    parts = []
    for standing in verdict.standings[:most]:
        found = standing.sensitivity
        if found is None or found.range is None:
            continue
        low, high = map(label, found.range)
        words = f"{standing.name} {low}" + (f" to {high}" if low != high else " alone")
        if any(point.diverged or point.failed for point in found.points):
            largest = found.largest_stable
            words += f" (largest stable {label(largest)})" if largest else ""
        parts.append(words)
    return f"Learning rates within a point of the best: {', '.join(parts)}." if parts else ""


def _target(verdict: Verdict, most: int | None) -> str:
    """Who reached the target first, by epochs and seconds, and who did not."""
    if verdict.target is None:
        return ""
    parts = []
    for name in verdict.fastest[:most]:
        time = verdict.standing(name).times_to_target[0]
        if time.epochs is None or time.seconds is None:
            parts.append(f"{name} never")
            continue
        of = f", {time.reached} of {time.runs} seeds" if time.runs > 1 else ""
        epochs = f"{time.epochs:.3g} epoch{'' if time.epochs == 1 else 's'}"
        where = chosen(time.swept, verdict.key)
        parts.append(f"{name}{where} after {epochs} ({time.seconds:.1f} s{of})")
    reached = f"{_split(verdict.chosen_on).capitalize()} accuracy {label(verdict.target)}"
    return f"{reached} was reached by {', '.join(parts)}."


def _method(verdict: Verdict) -> str:
    """Which split did what, and what the numbers mean."""
    chosen, judged = _split(verdict.chosen_on), SPLIT_NAMES[verdict.judged_on]
    if verdict.judged_on in verdict.chosen_on:
        line = f"Chosen and judged on {judged} alike, as val_fraction=0: the scores flatter"
    else:
        line = f"Chosen on {chosen}, judged on {judged}"
    tested = sum(each.p is not None for each in verdict.comparisons)
    if tested:
        line += "; compared by paired differences at shared seeds (t test"
        line += f", corrected by Holm for {tested} comparisons)" if tested > 1 else ")"
    line += "; intervals by bootstrap" if verdict.intervals == "bootstrap" else ""
    return f"{line}."


def _split(splits: Sequence[str]) -> str:
    return " or ".join(SPLIT_NAMES[split] for split in splits)


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def points(difference: float) -> str:
    """A difference of accuracies in points, one digit behind the point, two below a tenth."""
    value = 100 * difference
    digits = 1 if abs(value) >= 0.095 or abs(value) < 5e-10 else 2
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def probability(p: float) -> str:
    """A p value as papers write it: two significant digits, none below a thousandth."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
