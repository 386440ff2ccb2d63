"""The report of a sweep: table, verdict, pictures, and one page that holds everything.

`write` is given a `SweepRecord`, of one sweep or of several merged, and a folder. The page asks
nothing of a network and runs no script; whatever comes from a person's data or command line is
escaped by the template, `report.html.j2`.
"""

import base64
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from optsweep.records.run import SCORES, RunRecord, SweepRecord, has_score
from optsweep.records.values import SPLIT_NAMES, distinct, label, named, points, printable
from optsweep.report.table_csv import table_csv
from optsweep.report.terminal_table import (
    configurations_by_workload,
    counts,
    mean_and_deviation,
    ranked_by_workload,
    score,
    sentence,
)
from optsweep.system import files
from optsweep.verdict.candidates import workloads
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.ranking import best_run
from optsweep.verdict.scores.answer import Comparison, Score, Workload
from optsweep.verdict.scores.phrases import listed
from optsweep.verdict.scores.settling import MOST_SEEDS
from optsweep.verdict.sweep_sentences import (
    advice_of,
    answer_of,
    outcome,
    outcome_lines,
    reasons_of,
    sentences,
    with_command,
)
from optsweep.verdict.verdict import Details, Verdict, WorkloadDetails, verdict_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# As many of each as a page is read for.
_ROWS, _FAILURES, _CHOICES, _LINES, _DRAWN = 100, 20, 24, 40, 6


class Picture(NamedTuple):
    """A picture in the page: its address, its words, and its width and height in CSS pixels."""

    address: str
    title: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class _Part:
    """One workload on the page: its answer, what else is known of it, and its pictures."""

    workload: Workload
    details: WorkloadDetails
    answer: Sequence[str]
    advice: Sequence[str]
    reasons: Sequence[str]
    picture: Picture | None


def write(sweep: SweepRecord, folder: Path, verdict: Verdict | None = None) -> list[Path]:
    """Writes `table.csv`, `verdict.json`, `figures/*.png` and `report.html`; says which these are.

    Each file is written whole or not at all, and replaces one of the same name.

    Raises:
        OSError: the folder cannot be written.
    """
    from optsweep.report.figures.run import save  # half a second that a terminal does not pay

    verdict = verdict or judge(sweep)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    ranked = [run for own in ranked_by_workload(sweep).values() for run in own]
    judged = json.dumps(verdict_json(verdict, sentences(verdict)), indent=1, default=str)
    written = [
        _put(folder / "table.csv", table_csv(ranked)),
        _put(folder / "verdict.json", judged + "\n"),
    ]
    pictures = {}
    for name, (figure, title, caption) in _drawn(sweep, verdict).items():
        path = folder / "figures" / f"{name}.png"
        save(figure, path)
        written.append(path)
        pictures[name] = _picture(figure, path.read_bytes(), title, caption)
    written.append(_put(folder / "report.html", page(sweep, pictures, verdict)))
    return written


def _drawn(sweep: SweepRecord, verdict: Verdict) -> dict[str, tuple["Figure", str, str]]:
    """The pictures of each workload by name, of several the first six: `verdict`, `verdict-2`."""
    from optsweep.report.figures import sweep as sweep_figures
    from optsweep.report.figures import verdict as verdict_figure

    judged = {workload.name: (workload, details) for workload, details in verdict.parts}
    parts = workloads(sweep)
    drawn: dict[str, tuple[Figure, str, str]] = {}
    for place, (name, part) in enumerate(list(parts.items())[:_DRAWN], start=1):
        end, of = (f"-{place}", f", {name}") if len(parts) > 1 else ("", "")
        workload, details = judged.get(name, (None, None))
        if workload and details and verdict_figure.has_picture(workload):
            title, caption = verdict_figure.caption(workload)
            figure = verdict_figure.picture(verdict, workload, details, part)
            drawn[f"verdict{end}"] = (figure, title + of, caption)
        rates = {}
        if workload and details and details.tuning == "learning rate":
            rates = {each.name: each.not_excluded for each in workload.candidates}
        captions = sweep_figures.captions(sweep)
        for kind, figure in sweep_figures.sweep_figures(part, rates).items():
            drawn[f"{kind}{end}"] = (figure, captions[kind][0] + of, captions[kind][1])
    return drawn


def page(
    sweep: SweepRecord,
    pictures: Mapping[str, Picture] | None = None,
    verdict: Verdict | None = None,
) -> str:
    """The page as HTML, the best runs of each workload first."""
    others = dict(pictures or {})
    verdict = verdict or judge(sweep)
    ranked = ranked_by_workload(sweep)
    runs = [run for own in ranked.values() for run in own]
    grouped = configurations_by_workload(sweep)
    failures = [run for run in runs if run.status != "FINISHED" and (run.error or run.output)]
    most = max(_ROWS // max(len(ranked), 1), 1)
    shown = {name: own[:most] for name, own in ranked.items()}
    shown_groups = {name: own[:most] for name, own in grouped.items()}
    kind = "Search" if sweep.search else "Sweep"
    return _template().render(
        sweep=sweep,
        title=f"{kind} of {_listed(sweep.grid)}" if sweep.grid else kind,
        sentences=sentence(sweep).split("\n"),
        verdict=verdict,
        parts=_parts(verdict, list(ranked), others),
        outcomes=outcome_lines(verdict),
        names=distinct(each.name for own in verdict.answer.workloads for each in own.candidates),
        kinds=counts(sweep),
        reused=sum(run.reused for run in sweep.runs),
        seconds=sum(run.seconds for run in runs if not run.reused),
        keys=list(sweep.grid),
        varied=[key for key in sweep.grid if key != "seed"],
        scores=_scores(runs),
        runs=shown,
        winners={id(best_run(own)) for own in ranked.values()},
        configurations=shown_groups,
        noted={
            "configurations": any(each.notes for own in shown_groups.values() for each in own),
            "runs": any(run.notes for own in shown.values() for run in own),
        },
        configuration_count=sum(map(len, grouped.values())),
        failures=failures[:_FAILURES],
        failure_count=len(failures),
        pictures=list(others.values()),
        most_choices=_CHOICES,
        most_rows=_ROWS,
    )


def _parts(verdict: Verdict, names: Sequence[str], pictures: dict[str, Picture]) -> list[_Part]:
    """What each workload's answer shows, with its picture, which is taken from `pictures`."""
    places = {name: f"-{place}" for place, name in enumerate(names, start=1)}
    return [
        _Part(
            workload,
            details,
            answer_of(verdict, workload, details),
            [
                with_command(verdict, line) if len(names) == 1 else line
                for line in advice_of(verdict, workload, details)
            ],
            reasons_of(verdict, workload, details),
            pictures.pop(f"verdict{places[workload.name] if len(names) > 1 else ''}", None),
        )
        for workload, details in verdict.parts
        if workload.best
    ]


def _scores(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """The columns of each split that any run has scores of, in the table's order."""
    known = {name.split("/")[0] for run in runs for name in run.metrics if "accuracy" in name}
    found: dict[str, list[str]] = {}
    for name in SCORES:
        split, metric = name.split("/")
        if split in known and has_score(name, runs):
            found.setdefault(split, []).append(metric)
    return found


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _picture(figure: "Figure", png: bytes, title: str, caption: str) -> Picture:
    """The figure as a vector picture, or as the PNG file where that is smaller."""
    text = io.BytesIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    kind, content = ("svg+xml", svg) if len(svg) < len(png) else ("png", png)
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(address, title, caption, width, height)


@cache
def _template() -> Template:
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
    return environment.get_template("report.html.j2")


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


def _put(path: Path, text: str) -> Path:
    """Writes a text file: the whole of it, or nothing."""
    files.write(path, text.encode(errors="replace"))
    return path
