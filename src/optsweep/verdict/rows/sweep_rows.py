"""A sweep's runs as rows of scores, which `scores.judge_table` judges like any other table."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from optsweep.records.grouping import Configuration, seed_of
from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import identity, label, named
from optsweep.verdict.candidates import Candidate, tuned_keys
from optsweep.verdict.scores.rows import Row, Status


def rows_of(
    sweep: SweepRecord, found: Sequence[Candidate], judged_on: Mapping[str, str]
) -> list[Row]:
    """One row a run: chosen by the accuracy that ranks, judged by that on the workload's split.

    Left out are runs that never ended, killed or not started, as they say nothing of a candidate;
    and of runs at one seed all but one. Runs that confirm are in the order of their seeds.
    """
    fresh = {identity(seed): place for place, seed in enumerate(sweep.confirm_seeds)}
    rows = []
    for candidate in found:
        for text, configuration in by_text(sweep, candidate).items():
            runs = sorted(_once(configuration), key=lambda run: fresh.get(seed_of(run), -1))
            chosen_by = f"{configuration.split}/accuracy"
            for run in runs:
                status, score = _ending(run, f"{judged_on[candidate.workload]}/accuracy")
                rows.append(
                    Row(
                        candidate=candidate.name,
                        seed=seed_of(run),
                        score=score,
                        configuration=text,
                        workload=candidate.workload,
                        phase="confirm" if seed_of(run) in fresh else "tune",
                        chosen_by=_ending(run, chosen_by)[1],
                        status=status,
                        correct=run.correct,
                    )
                )
    return rows


def by_text(sweep: SweepRecord, candidate: Candidate) -> dict[str, Configuration]:
    """A candidate's configurations by what was tried for it: `0.001`, `lr=0.1 batch_size=64`."""
    tuned = set(tuned_keys(sweep, [candidate]))
    own = [
        {
            key: value
            for key, value in configuration.swept.items()
            if key in tuned or key not in sweep.grid
        }
        for configuration in candidate.configurations
    ]
    short = [_text(values, 6) for values in own]
    is_clear = len(set(short)) == len(short)
    full = short if is_clear else [_text(values, 17) for values in own]
    return dict(zip(full, candidate.configurations, strict=True))


def _text(values: Mapping[str, Any], digits: int) -> str:
    return label(values["lr"], digits) if list(values) == ["lr"] else named(values, digits)


def _once(configuration: Configuration) -> list[RunRecord]:
    """The runs that ended, one a seed, a sound one if there is any."""
    runs: dict[str, RunRecord] = {}
    for run in configuration.runs:
        seed = seed_of(run)
        if run.status in ("FINISHED", "FAILED") and (seed not in runs or not runs[seed].sound):
            runs[seed] = run
    return list(runs.values())


def _ending(run: RunRecord, metric: str) -> tuple[Status, float | None]:
    """How a run ended, and its score if it finished."""
    if run.status != "FINISHED":
        return "failed", None
    if run.diverged or run.pruned:
        return ("diverged" if run.diverged else "pruned"), None
    score = run.metrics.get(metric)
    if score is None:
        return "failed", None
    return ("finished", score) if isfinite(score) else ("diverged", None)
