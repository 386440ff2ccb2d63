"""What MLflow shows of a verdict on the sweep's own run: tags to read, metrics to sort by."""

from optsweep.verdict.sentences import at, headline
from optsweep.verdict.verdict import Comparison, Verdict


def tags(verdict: Verdict) -> dict[str, str]:
    """Tags, to be kept under `optsweep.`; a tag that has nothing to say is empty.

    `verdict.decided` is true where the leader beats every other candidate.
    """
    leader = verdict.leader
    fastest = verdict.fastest[0] if verdict.fastest else ""
    return {
        "verdict": headline(verdict),
        "verdict.best": at(leader, verdict.key) if leader else "",
        "verdict.decided": str(_is_decided(verdict)).lower(),
        "verdict.edges": ", ".join(f"{e.contender} {e.key} {e.side}" for e in verdict.edges),
        "verdict.fastest": fastest if _time(verdict) else "",
    }


def metrics(verdict: Verdict) -> dict[str, float]:
    """Metrics under `verdict/`, as far as they are known.

    `accuracy` is the leader's on the split that judges, `lead` its mean paired difference from the
    next of the ranking, each with the ends of its interval; `p` is that comparison's, corrected.
    """
    found: dict[str, float | None] = {
        "edges": len(verdict.edges),
        "diverged": verdict.diverged,
        "failed": verdict.failed,
        "pruned": verdict.pruned if verdict.search else None,
    }
    leader = verdict.leader
    if leader and leader.score:
        score = leader.score
        found |= {"accuracy": score.mean, "accuracy_low": score.low, "accuracy_high": score.high}
        found["seeds"] = score.seeds
    if pair := _closest(verdict):
        ends = (pair.low, pair.high)
        lead, sign = pair.difference, 1.0
        if leader and pair.first != leader.name:
            ends, sign = ends[::-1], -1.0
        found["lead"] = None if lead is None else sign * lead
        found["lead_low"], found["lead_high"] = (
            None if end is None else sign * end for end in ends
        )
        found["p"] = pair.p_holm
    if time := _time(verdict):
        found["epochs_to_target"], found["seconds_to_target"] = time
    return {f"verdict/{name}": value for name, value in found.items() if value is not None}


def _closest(verdict: Verdict) -> Comparison | None:
    """The leader against the next of the ranking: the first pair."""
    return verdict.comparisons[0] if verdict.comparisons else None


def _is_decided(verdict: Verdict) -> bool:
    if verdict.leader is None:
        return False
    name = verdict.leader.name
    own = [pair for pair in verdict.comparisons if name in (pair.first, pair.second)]
    return bool(own) and all(pair.outcome == "beats" and pair.first == name for pair in own)


def _time(verdict: Verdict) -> tuple[float, float] | None:
    if not verdict.fastest:
        return None
    time = verdict.standing(verdict.fastest[0]).times_to_target[0]
    return None if time.epochs is None or time.seconds is None else (time.epochs, time.seconds)
