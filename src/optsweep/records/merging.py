"""Several sweeps as one: what differs between any two runs counts as swept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optsweep.records.run import RunRecord, SweepRecord
from optsweep.records.values import distinct, identity

# What says where a run was computed, not what: no reason to treat runs of two sweeps as different.
_WHERE = ("threads",)


@dataclass(frozen=True)
class MergedRecord(SweepRecord):
    """Several sweeps as one, whose runs may differ in more than each sweep varied."""

    sweeps: Sequence[SweepRecord] = ()

    @property
    def command(self) -> str:
        """The commands that repeat the sweeps, one on a line."""
        return "\n".join(sweep.command for sweep in self.sweeps)


def merge(sweeps: Sequence[SweepRecord]) -> SweepRecord:
    """One sweep of the runs of all, each once; what differs between any two runs is swept.

    A run that one sweep ran and another reused counts as run. A group's
    argument that its option decides (`optimizer.betas`) is not swept.
    """
    if len(sweeps) == 1:
        return sweeps[0]
    runs = _once(run for sweep in sweeps for run in sweep.runs)
    keys = _differing(sweeps, runs)
    runs = [
        replace(run, swept={key: known[key] for key in keys if key in known})
        for run in runs
        for known in [{**run.params, **run.swept}]
    ]
    return MergedRecord(
        run_id=", ".join(sweep.run_id for sweep in sweeps),
        overrides=[override for sweep in sweeps for override in sweep.overrides],
        grid={key: distinct(r.swept[key] for r in runs if key in r.swept) for key in keys},
        runs=runs,
        environment=_joined(sweep.environment for sweep in sweeps),
        common=common(runs, keys),
        target=_agreed([sweep.target for sweep in sweeps], None),
        confirm_seeds=_agreed([tuple(sweep.confirm_seeds) for sweep in sweeps], ()),
        looks=_agreed([tuple(sweep.looks) for sweep in sweeps], ()),
        margin=_agreed([sweep.margin for sweep in sweeps], SweepRecord.margin),
        compare=_agreed([sweep.compare for sweep in sweeps], None),
        extended=[name for sweep in sweeps for name in sweep.extended],
        search={key: text for sweep in sweeps for key, text in sweep.search.items()},
        sweeps=tuple(sweeps),
    )


def _agreed(asked: Sequence[Any], otherwise: Any) -> Any:
    """What all sweeps were asked for alike."""
    return asked[0] if len(set(asked)) == 1 else otherwise


def common(runs: Sequence[RunRecord], swept: Iterable[str]) -> dict[str, Any]:
    """The settings in which all runs agree, as far as they have any, without those `swept`."""
    known = [run.params for run in runs if run.params]
    first: Mapping[str, Any] = known[0] if known else {}
    missing = object()
    return {
        key: value
        for key, value in first.items()
        if key not in set(swept) and all(params.get(key, missing) == value for params in known)
    }


def _once(runs: Iterable[RunRecord]) -> list[RunRecord]:
    found: dict[object, RunRecord] = {}
    for run in runs:
        key: object = run.run_id or object()  # one that never started has no id to share
        if key not in found or (found[key].reused and not run.reused):
            found[key] = run
    return list(found.values())


def _differing(sweeps: Sequence[SweepRecord], runs: Sequence[RunRecord]) -> list[str]:
    """What the sweeps vary, in the order in which it was typed, then what else differs."""
    typed = dict.fromkeys(key for sweep in sweeps for key in sweep.grid)
    known = [run for run in runs if run.params]
    keys = dict.fromkeys([*typed, *(key for run in known for key in run.params)])
    return [key for key in keys if key in typed or _differs(key, known)]


def _differs(key: str, runs: Sequence[RunRecord]) -> bool:
    if key in _WHERE:
        return False
    group = key.partition(".")[0]
    within: dict[str, set[str]] = {}
    for run in runs:
        option = identity(run.params.get(group)) if group != key else ""
        value = identity(run.params.get(key))
        # cuda:0 and cuda:1 are the same kind of device.
        within.setdefault(option, set()).add(value.partition(":")[0] if key == "device" else value)
    return any(len(values) > 1 for values in within.values())


def _joined(environments: Iterable[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for environment in environments:
        for key, value in environment.items():
            found.setdefault(key, {})[value] = None
    return {key: "; ".join(values) for key, values in found.items()}
