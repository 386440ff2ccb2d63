"""The templates of the pages, and how they write values.

`template` gives one by its file's name. Whatever comes from a person's data or command line is
escaped.
"""

import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from optsweep.records.values import SPLIT_NAMES, label, named, points, printable
from optsweep.report.terminal_table import mean_and_deviation, score
from optsweep.verdict.scores.answer import Comparison, Score
from optsweep.verdict.scores.phrases import listed
from optsweep.verdict.scores.settling import MOST_SEEDS
from optsweep.verdict.sweep_sentences import outcome
from optsweep.verdict.verdict import Details

_LINES = 40  # as many of a failed run's last ones as a page is read for


@cache
def template(name: str) -> Template:
    """A template of this folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean,
    )
    environment.filters |= {
        "label": label,
        "score": score,
        "mean": lambda configuration, metric: mean_and_deviation(configuration, metric, " ± "),
        "duration": duration,
        "head": lambda rows, most: rows[:most],
        "last_lines": _last_lines,
        "points": points,
        "probability": lambda p: label(p, 2),
        "needed": _needed,
        "interval": _interval,
        "able": lambda names: listed([*names[:3], *(["others"] if len(names) > 3 else [])], "or"),
        "lost": _lost,
        "split_words": SPLIT_NAMES.__getitem__,
        "id": id,
        "outcome": outcome,
        "text": lambda swept, key: named({k: v for k, v in swept.items() if k != key}),
        "number": lambda value: label(value, 3),
    }
    return environment.get_template(name)


def _clean(value: Any) -> Any:
    """Whatever the template writes, without control characters."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _interval(found: Score) -> str:
    return "" if found.low is None else f"{score(found.low)} to {score(found.high)}"


def _lost(details: Details) -> str:
    """How many of all a candidate's runs diverged or did not finish."""
    lost = details.diverged + details.failed
    return f"{lost} of {details.runs}" if lost else ""


def _needed(pair: Comparison) -> str:
    """The fresh seeds that would settle a difference of the margin."""
    if pair.outcome != "undecided" or pair.seeds_low is None:
        return ""
    most = f"{pair.seeds_high:,}" if pair.seeds_high else f"more than {MOST_SEEDS:,}"
    return f"{pair.seeds_low:,} to {most}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: `3.2 s`, `12 min 30 s`, `1 h 20 min`."""
    if not math.isfinite(seconds) or seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _last_lines(text: str) -> str:
    lines = printable(text).rstrip().splitlines()
    return "\n".join(lines[-_LINES:])[-8000:]
