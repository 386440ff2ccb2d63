"""Runs seen together: those that differ in seed alone as one setting, several sweeps as one sweep.

`repeats` is given a sweep and hands on its settings, the best first, each with its runs and with
mean and standard deviation over them. `merge` makes one sweep of several. Both are linear in the
number of runs. `label` words a value for tables, pictures and pages, and `printable` any text.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from optsweep.records.run import RunRecord, SweepRecord, ranking_split

# What says where a run was computed, not what: no reason to tell runs of two sweeps apart.
_WHERE = ("threads",)


# Colours and cursor moves, titles, character sets, and any other escape of two signs.
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]+[0-~]|.)")


@dataclass(frozen=True)
class Setting:
    """Runs that agree in all that the sweep varies but `seed`; `swept` holds those values."""

    swept: Mapping[str, Any]
    runs: Sequence[RunRecord]

    @property
    def sound(self) -> list[RunRecord]:
        """The runs that finished without diverging, and were not pruned."""
        return [run for run in self.runs if run.sound]

    @property
    def diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(run.diverged and run.status == "FINISHED" for run in self.runs)

    @property
    def pruned(self) -> int:
        """How many of the runs a search ended early."""
        return sum(run.pruned and run.status == "FINISHED" for run in self.runs)

    @property
    def failed(self) -> int:
        """How many of the runs did not finish."""
        return sum(run.status != "FINISHED" for run in self.runs)

    @property
    def split(self) -> str:
        """The split that the runs are ranked by."""
        known = [run.metrics for run in self.sound or self.runs if run.metrics]
        return ranking_split(known[0] if known else {})

    @property
    def name(self) -> str:
        """The values, each under its name but for the optimizer: `adam lr=0.001`."""
        return named(self.swept)

    @property
    def notes(self) -> str:
        """How many of the runs did not end soundly: `1 of 3 diverged`."""
        counts = {"diverged": self.diverged, "pruned": self.pruned, "not finished": self.failed}
        of = f" of {len(self.runs)}" if len(self.runs) > 1 else ""
        return "; ".join(
            f"{count}{of} {what}" if of else what for what, count in counts.items() if count
        )

    def values(self, metric: str) -> list[float]:
        """The metric of each sound run that has it."""
        return [run.metrics[metric] for run in self.sound if metric in run.metrics]

    def mean(self, metric: str) -> float | None:
        """The metric's mean over the sound runs; None where there are none."""
        values = self.values(metric)
        return fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Its standard deviation over them (n - 1 in the denominator); None for fewer than two."""
        values = self.values(metric)
        return stdev(values) if len(values) > 1 else None

    @property
    def seconds(self) -> float:
        """The mean time of the runs that took any."""
        taken = [run.seconds for run in self.runs if run.seconds > 0]
        return fmean(taken) if taken else 0.0


def repeats(runs: Iterable[RunRecord]) -> list[Setting]:
    """The settings of the runs, the best first, equal ones in their order.

    They are ranked by the mean accuracy over seeds, to which a diverged run counts as 0: it tells
    against a setting, while one that was killed tells nothing. Those without a sound run are last,
    of these the pruned ones first, the longest before the others.
    """
    gathered: dict[tuple[tuple[str, str], ...], list[RunRecord]] = {}
    for run in runs:
        gathered.setdefault(_identity(run), []).append(run)
    return sorted((Setting(_unseeded(own[0]), own) for own in gathered.values()), key=_rank)


def ranking_splits(settings: Iterable[Setting]) -> list[str]:
    """The splits that settings are ranked by: one, unless sweeps of two kinds were merged."""
    found = ((setting.split, run) for setting in settings for run in setting.runs)
    # One that diverged in its first epoch has scores of its training alone.
    return list(dict.fromkeys(split for split, run in found if f"{split}/accuracy" in run.metrics))


def _rank(setting: Setting) -> tuple[int, float, float]:
    if not setting.sound and setting.pruned:
        longest = max((run for run in setting.runs if run.pruned), key=lambda run: run.epochs)
        return 1, -longest.epochs, -longest.metrics.get(f"{setting.split}/accuracy", 0.0)
    if not setting.sound:
        return (2 if setting.diverged else 3), 0.0, 0.0
    accuracies = setting.values(f"{setting.split}/accuracy")
    accuracy = sum(accuracies) / max(len(accuracies) + setting.diverged, 1)
    return 0, -accuracy, setting.mean(f"{setting.split}/loss") or 0.0


def setting_name(run: RunRecord) -> str:
    """The name of the setting that the run is of: `adam lr=0.001`."""
    return named(_unseeded(run))


def _identity(run: RunRecord) -> tuple[tuple[str, str], ...]:
    return tuple((key, identity(value)) for key, value in sorted(_unseeded(run).items()))


def _unseeded(run: RunRecord) -> dict[str, Any]:
    return {key: value for key, value in run.swept.items() if key != "seed"}


def optimizer_of(run: RunRecord) -> str:
    """The name of the run's optimizer, swept or not; empty where the record does not hold it."""
    return label(run.swept.get("optimizer", run.params.get("optimizer", "")))


def named(values: Mapping[str, Any], digits: int = 6) -> str:
    """Values on one line, the optimizer first and by its name alone: `adam lr=0.001`."""
    words = [label(values["optimizer"])] if "optimizer" in values else []
    others = [key for key in values if key != "optimizer"]
    words += [f"{printable(key)}={label(values[key], digits)}" for key in others]
    return " ".join(words)


def printable(text: str) -> str:
    """The text without what would steer a terminal or turn the text after it around."""
    plain = re.sub(r"\r\n?", "\n", _ESCAPES.sub("", text))
    plain = re.sub("[\u202a-\u202e\u2066-\u2069]", "", plain)
    # Surrogates stand for bytes that were no text.
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", plain)


def label(value: Any, digits: int = 6) -> str:
    """A value as a person types it, numbers rounded: `1e-5`, `true`, `null`, `[512,512]`."""
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{label(each, digits)}" for key, each in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(label(each, digits) for each in value) + "]"
    return str(value)


def identity(value: Any) -> str:
    """The same for equal values, whether typed, composed or read back: 10, 10.0 and "10"."""
    return label(value, 17)


def is_number(value: Any) -> bool:
    """Whether the value is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def ascending(choices: Sequence[Any]) -> list[Any]:
    """Numbers by size; where there is anything else, the order given."""
    return sorted(choices) if all(map(is_number, choices)) else list(choices)


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

    A run that one sweep carried out and another took over counts as carried out. A group's
    argument that its option decides (`optimizer.betas`) is not swept.
    """
    if len(sweeps) == 1:
        return sweeps[0]
    runs = _once(run for sweep in sweeps for run in sweep.runs)
    keys = _differing(sweeps, runs)
    runs = [replace(run, swept={key: _value(run, key) for key in keys}) for run in runs]
    return MergedRecord(
        run_id=", ".join(sweep.run_id for sweep in sweeps),
        overrides=[override for sweep in sweeps for override in sweep.overrides],
        grid={key: distinct(run.swept[key] for run in runs) for key in keys},
        runs=runs,
        environment=_joined(sweep.environment for sweep in sweeps),
        common=common(runs, keys),
        target=_agreed([sweep.target for sweep in sweeps], None),
        intervals=_agreed([sweep.intervals for sweep in sweeps], "t"),
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


def _value(run: RunRecord, key: str) -> Any:
    return run.swept[key] if key in run.swept else run.params.get(key)


def distinct(values: Iterable[Any]) -> list[Any]:
    """The values, each once, where it came first."""
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(identity(value), value)
    return list(found.values())


def _joined(environments: Iterable[Mapping[str, str]]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for environment in environments:
        for key, value in environment.items():
            found.setdefault(key, {})[value] = None
    return {key: "; ".join(values) for key, values in found.items()}
