"""What the page's scripts work on, and the scripts themselves.

`page_data` gives the runs' values, scores and curves as compact JSON: columns rather than rows,
choices by their number, four digits. `scripts` gives Bokeh, which draws the charts, and the
page's own programs, `scripts/*.js`.
"""

import base64
import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from math import isfinite
from pathlib import Path
from typing import Any

from markupsafe import Markup

from optsweep.records.grouping import configuration_name
from optsweep.records.run import SCORES, RunRecord, SweepRecord, ranking_split
from optsweep.records.values import ascending, distinct, identity, is_number, label, printable
from optsweep.report.terminal_table import ending
from optsweep.verdict.candidates import workloads
from optsweep.verdict.ranking import ranked_configurations

_MOST_NUMBERS = 200_000  # of all curves together: 1.4 MB
_MOST_WORDS = 200  # letters of a note


@dataclass(frozen=True)
class Script:
    """A program in the page, and the hash by which the page's policy lets it run."""

    text: Markup
    hash: str

    @classmethod
    def of(cls, text: str) -> "Script":
        """The program with what would end or hide it in HTML written as strings may hold it."""
        safe = text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
        digest = hashlib.sha256(safe.encode()).digest()
        return cls(Markup(safe), f"sha256-{base64.b64encode(digest).decode()}")


@cache
def scripts() -> tuple[Script, ...]:
    """Bokeh's two programs, which begin with their licence, and the page's own.

    They are read where the package lies: to import it takes time. None where they are not found:
    the page can be read without them.
    """
    try:
        static = Path(str(distribution("bokeh").locate_file("bokeh/server/static/js")))
        theirs = [(static / f"{name}.min.js").read_text("utf-8") for name in ("bokeh", "bokeh-api")]
    except (PackageNotFoundError, FileNotFoundError):
        return ()
    folder = Path(__file__).parent / "scripts"
    own = [(folder / f"{name}.js").read_text("utf-8") for name in ("tables", "lines", "charts")]
    return tuple(map(Script.of, [*theirs, "\n".join(["(() => {", *own, "})();"])]))


@dataclass(frozen=True)
class PageData:
    """The data as JSON, and where a run and its configuration are in it, by the run's `id`."""

    json: Markup
    places: Mapping[int, int]
    configurations: Mapping[int, int]
    epochs: int
    epochs_shown: int


def page_data(
    sweep: SweepRecord, ranked: Mapping[str, Sequence[RunRecord]], most: int = _MOST_NUMBERS
) -> PageData:
    """The runs of each workload in the page's order; of long curves evenly spaced epochs."""
    runs = [run for own in ranked.values() for run in own]
    names = [name for name in SCORES if any(name in run.metrics for run in runs)]
    every = sorted({epoch for run in runs for name in names for epoch in _epochs(run, name)})
    epochs = _spaced(every, most // max(len(runs) * len(names), 1))
    configurations = _numbered(configuration_name(run) for run in runs)
    data = {
        "names": [printable(run.name) for run in runs],
        "ids": [run.run_id for run in runs],
        "notes": [printable(run.notes)[:_MOST_WORDS] for run in runs],
        "sound": [int(run.sound) for run in runs],
        "diverged": [int(run.diverged) for run in runs],
        "workloads": list(ranked),
        "workload": [place for place, own in enumerate(ranked.values()) for _ in own],
        "configuration": configurations,
        "split": ranking_split(runs[0].metrics if runs else {}),
        "keys": _keys(sweep, runs),
        "colour": printable(_coloured(sweep)),
        "scores": {name: [_digits(run.metrics.get(name)) for run in runs] for name in names},
        "epochs": epochs,
        "curves": {name: [_curve(run, name, epochs) for run in runs] for name in names},
    }
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":  # nothing in a name ends the element or opens another
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    places = {id(run): place for place, run in enumerate(runs)}
    numbers = {id(run): number for run, number in zip(runs, configurations, strict=True)}
    return PageData(Markup(text), places, numbers, len(every), len(epochs))


def _epochs(run: RunRecord, name: str) -> list[int]:
    return [epoch for epoch, _ in run.history.get(name, ())]


def _spaced(epochs: Sequence[int], most: int) -> list[int]:
    """At most so many of the epochs, evenly spaced, with the first and the last."""
    most = max(most, 2)
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[round(place * (len(epochs) - 1) / (most - 1))] for place in range(most)]


def _curve(run: RunRecord, name: str, epochs: Sequence[int]) -> list[float | None]:
    """The values at these epochs, None where there is none to draw, up to the last there is."""
    known = dict(run.history.get(name, ()))
    values = [_digits(known.get(epoch)) for epoch in epochs]
    while values and values[-1] is None:
        values.pop()
    return values


def _digits(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(f"{value:.4g}")


def _numbered(values: Iterable[Hashable]) -> list[int]:
    """Equal values as equal numbers, from 0 as they come."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values]


def _keys(sweep: SweepRecord, runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Each swept key: its choices, their colours, and which choice each run has, -1 for none.

    How runs ended is one more, where they differ in it.
    """
    keys = [_key(key, sweep, runs) for key in sweep.grid]
    endings = [ending(run) for run in runs]
    if len(choices := list(dict.fromkeys(endings))) > 1:
        values = [choices.index(each) for each in endings]
        keys.append({"name": "ended", "choices": choices, "values": values})
    return keys


def _key(key: str, sweep: SweepRecord, runs: Sequence[RunRecord]) -> dict[str, Any]:
    own = [run.swept[key] for run in runs if key in run.swept]
    choices = ascending(distinct([*sweep.grid[key], *own]))
    numbers = {identity(choice): number for number, choice in enumerate(choices)}
    return {
        "name": printable(key),
        "choices": [label(choice) for choice in choices],
        "numbers": choices if all(map(is_number, choices)) else None,
        "values": [numbers[identity(run.swept[key])] if key in run.swept else -1 for run in runs],
        "styles": _styles(key, choices, sweep),
    }


def _styles(key: str, choices: Sequence[Any], sweep: SweepRecord) -> list[tuple[str, int]]:
    """Each choice's colour, and 1 where its line is dashed: as the pictures draw it."""
    from optsweep.report.figures import style  # half a second that a terminal does not pay

    part = next(iter(workloads(sweep).values()), sweep)
    names = [label(choice, 4) for choice in choices]
    if key == style.lines_key(part):
        ranked = (
            label(each.swept[key], 4)
            for each in ranked_configurations(part.runs)
            if key in each.swept
        )
        lines = style.line_styles([*dict.fromkeys(ranked)][: style.MOST_LINES])
    elif key == style.Hue.of(part).key or all(map(is_number, choices)):
        return [(colour, 0) for colour in style.shades(choices)]
    else:
        lines = style.line_styles(names[: style.MOST_LINES])
    return [
        (colour, int(dash != "-"))
        for colour, dash in (lines.get(n, ("#999999", "-")) for n in names)
    ]


def _coloured(sweep: SweepRecord) -> str:
    """What the charts' colours stand for at first: what the lines of the pictures stand for."""
    from optsweep.report.figures import style

    part = next(iter(workloads(sweep).values()), sweep)
    several = [key for key, choices in part.grid.items() if len(choices) > 1]
    return next((key for key in (style.lines_key(part), "lr") if key in several), "")
