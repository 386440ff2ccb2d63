"""What MLflow shows of a verdict on the sweep's own run: tags to read, metrics to sort by."""

from collections.abc import Mapping

from optsweep.records.run import RunRecord
from optsweep.verdict.scores.answer import Comparison, Workload
from optsweep.verdict.sweep_sentences import at, headline
from optsweep.verdict.verdict import Verdict, WorkloadDetails


def tags(verdict: Verdict) -> dict[str, str]:
    """Tags, to be kept under `optsweep.`; a tag that has nothing to say is empty.

    `verdict.decided` is true where the best of each workload beats, or is equivalent to, every
    other candidate there.
    """
    parts = [(workload, details) for workload, details in verdict.parts if workload.best]
    return {
        "verdict": headline(verdict),
        "verdict.best": _of_each([(w.name, _best(w)) for w, _ in parts]),
        "verdict.decided": str(bool(parts) and all(_is_decided(w) for w, _ in parts)).lower(),
        "verdict.edges": _of_each([(w.name, _edges(details)) for w, details in parts]),
        "verdict.fastest": _of_each([(w.name, _fastest(details)) for w, details in parts]),
    }


def best_tags(best: Mapping[str, RunRecord]) -> dict[str, str]:
    """Tags that name the best run of each workload; with its settings, where there is one."""
    names = {
        "best_run_id": _of_each([(name, run.run_id) for name, run in best.items()]),
        "best_run": _of_each([(name, run.name) for name, run in best.items()]),
    }
    if len(best) > 1:
        return names
    (run,) = best.values()
    return names | {f"best.{key}": str(value) for key, value in run.params.items()}


def metrics(verdict: Verdict) -> dict[str, float]:
    """Metrics under `verdict/`, as far as they are known; of several workloads the counts alone.

    `accuracy` is the best candidate's on the split that judges, `lead` its mean paired difference
    from the next, each with the ends of its interval; `p` is that comparison's, corrected.
    """
    found: dict[str, float | None] = {
        "edges": sum(len(details.edges) for details in verdict.workloads),
        "diverged": verdict.diverged,
        "failed": verdict.failed,
        "pruned": verdict.pruned if verdict.search else None,
    }
    if verdict.leader and verdict.leader.score:
        score = verdict.leader.score
        found |= {"accuracy": score.mean, "accuracy_low": score.low, "accuracy_high": score.high}
        found["seeds"] = score.seeds
        if pair := _closest(verdict.answer.workloads[0]):
            found |= _lead(pair, verdict.leader.name)
        fastest = verdict.workloads[0].fastest
        if fastest and (times := verdict.workloads[0].candidate(fastest[0]).times_to_target):
            found["epochs_to_target"] = times[0].epochs
            found["seconds_to_target"] = times[0].seconds
    return {f"verdict/{name}": value for name, value in found.items() if value is not None}


def _of_each(texts: list[tuple[str, str]]) -> str:
    """One text, or of several workloads each with its name."""
    if len(texts) == 1:
        return texts[0][1]
    return " | ".join(f"{workload}: {text}" for workload, text in texts if text)


def _best(workload: Workload) -> str:
    return " or ".join(at(name, workload.candidate(name).chosen) for name in workload.best)


def _edges(details: WorkloadDetails) -> str:
    return ", ".join(f"{edge.contender} {edge.key} {edge.side}" for edge in details.edges)


def _fastest(details: WorkloadDetails) -> str:
    names = [n for n in details.fastest if details.candidate(n).times_to_target[0].reached]
    return next(iter(names), "")


def _is_decided(workload: Workload) -> bool:
    first = workload.best[0]
    own = [pair for pair in workload.comparisons if first in (pair.first, pair.second)]
    return bool(own) and all(pair.outcome not in ("leads", "undecided") for pair in own)


def _closest(workload: Workload) -> Comparison | None:
    """The best candidate against the next by score."""
    names = [each.name for each in workload.candidates if each.score]
    others = [name for name in names if name != workload.best[0]]
    pair = {workload.best[0], *others[:1]}
    return next((each for each in workload.comparisons if {each.first, each.second} == pair), None)


def _lead(pair: Comparison, name: str) -> dict[str, float | None]:
    """The difference as the lead of the one that is named."""
    ends, sign = (
        ((pair.low, pair.high), 1.0) if pair.first == name else ((pair.high, pair.low), -1.0)
    )
    low, high = (None if end is None else sign * end for end in ends)
    lead = None if pair.difference is None else sign * pair.difference
    return {"lead": lead, "lead_low": low, "lead_high": high, "p": pair.p_holm}
