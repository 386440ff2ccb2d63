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
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from optsweep.records.run import SCORES, RunRecord, SweepRecord
from optsweep.records.values import SPLIT_NAMES, label, printable
from optsweep.report.table_csv import table_csv
from optsweep.report.terminal_table import counts, mean_and_deviation, repeated, score, sentence
from optsweep.system import files
from optsweep.verdict.judge import judge
from optsweep.verdict.ranking import best_run, ranked_configurations, ranked_runs
from optsweep.verdict.sensitivity import Sensitivity
from optsweep.verdict.sentences import at, chosen, few_sentences, points, probability, sentences
from optsweep.verdict.verdict import MOST_SEEDS, Comparison, Estimate, Standing, Verdict, as_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS, _FAILURES, _CHOICES, _LINES = 100, 20, 24, 40  # as many of each as a page is read for


class Picture(NamedTuple):
    """A picture in the page: its address, its words, and its width and height in CSS pixels."""

    address: str
    title: str
    caption: str
    width: int
    height: int


def write(sweep: SweepRecord, folder: Path, verdict: Verdict | None = None) -> list[Path]:
    """Writes `table.csv`, `verdict.json`, `figures/*.png` and `report.html`; says which these are.

    Each file is written whole or not at all, and replaces one of the same name.

    Raises:
        OSError: the folder cannot be written.
    """
    # Half a second that a terminal does not pay.
    from optsweep.report.figures import run as figures
    from optsweep.report.figures import sweep as sweep_figures
    from optsweep.report.figures import verdict as verdict_figure

    verdict = verdict or judge(sweep)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    ranked = ranked_runs(sweep.runs)
    judged = json.dumps(as_json(verdict, sentences(verdict)), indent=1, default=str)
    written = [
        _put(folder / "table.csv", table_csv(ranked)),
        _put(folder / "verdict.json", judged + "\n"),
    ]
    drawn = sweep_figures.sweep_figures(sweep)
    if verdict_figure.has_picture(verdict):
        drawn = {"verdict": verdict_figure.picture(verdict, sweep)} | drawn
    captions = {"verdict": verdict_figure.caption(verdict)} | sweep_figures.captions(sweep)
    pictures = {}
    for name, figure in drawn.items():
        path = folder / "figures" / f"{name}.png"
        figures.save(figure, path)
        written.append(path)
        pictures[name] = _picture(figure, path.read_bytes(), *captions[name])
    written.append(_put(folder / "report.html", page(sweep, ranked, pictures, verdict)))
    return written


def page(
    sweep: SweepRecord,
    ranked: Sequence[RunRecord],
    pictures: Mapping[str, Picture] | None = None,
    verdict: Verdict | None = None,
) -> str:
    """The page as HTML, the runs in the order given."""
    others = dict(pictures or {})
    verdict = verdict or judge(sweep)
    failures = [run for run in ranked if run.status != "FINISHED" and (run.error or run.output)]
    winner = best_run(ranked)
    configurations = ranked_configurations(ranked) if repeated(sweep) else []
    kind = "Search" if sweep.search else "Sweep"
    return _template().render(
        sweep=sweep,
        title=f"{kind} of {_listed(sweep.grid)}" if sweep.grid else kind,
        sentence=sentence(sweep),
        verdict=verdict,
        said=few_sentences(verdict),
        verdict_picture=others.pop("verdict", None),
        timed=[verdict.standing(name) for name in verdict.fastest][:_ROWS],
        candidates=verdict.standings[:_ROWS],
        comparisons=[each for each in verdict.comparisons if each.outcome != "too few seeds"],
        rated=any(each.sensitivity for each in verdict.standings),
        kinds=counts(sweep),
        reused=sum(run.reused for run in sweep.runs),
        seconds=sum(run.seconds for run in ranked if not run.reused),
        keys=list(sweep.grid),
        varied=[key for key in sweep.grid if key != "seed"],
        splits=_splits(ranked),
        runs=ranked[:_ROWS],
        winner=winner,
        configurations=configurations[:_ROWS],
        noted={
            "configurations": any(configuration.notes for configuration in configurations[:_ROWS]),
            "runs": any(run.notes for run in ranked[:_ROWS]),
        },
        configuration_count=len(configurations),
        failures=failures[:_FAILURES],
        failure_count=len(failures),
        pictures=list(others.values()),
        most_choices=_CHOICES,
    )


def _splits(runs: Iterable[RunRecord]) -> dict[str, str]:
    """The splits that any run has scores of, in the table's order, each with its heading."""
    known = {name for run in runs for name in run.metrics}
    order = dict.fromkeys(name.split("/")[0] for name in SCORES)
    return {split: SPLIT_NAMES[split] for split in order if f"{split}/accuracy" in known}


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
        "at": at,
        "points": points,
        "probability": lambda p: probability(p).removeprefix("p = ").removeprefix("p "),
        "needed": _needed,
        "interval": _interval,
        "range": _range,
        "lost": _lost,
        "split_words": SPLIT_NAMES.__getitem__,
        "chosen": lambda swept, key: chosen(swept, key).removeprefix(" at "),
    }
    return environment.get_template("report.html.j2")


def _clean(value: Any) -> Any:
    """Whatever the template writes, without control characters."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _interval(found: Estimate) -> str:
    return "" if found.low is None else f"{score(found.low)} to {score(found.high)}"


def _range(found: Sensitivity) -> str:
    low, high = map(label, found.range or (None, None))
    return "" if found.range is None else low if low == high else f"{low} to {high}"


def _lost(standing: Standing) -> str:
    """How many of all a candidate's runs diverged or did not finish."""
    lost = standing.all_diverged + standing.all_failed
    return f"{lost} of {standing.all_runs}" if lost else ""


def _needed(pair: Comparison) -> str:
    if pair.outcome != "undecided":
        return ""
    return f"> {MOST_SEEDS:,}" if pair.seeds_to_decide is None else f"{pair.seeds_to_decide:,}"


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
