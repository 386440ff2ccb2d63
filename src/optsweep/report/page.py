"""The report of a sweep: table, verdict, pictures, and one page that holds everything.

`write` is given a `SweepRecord`, of one sweep or of several merged, and a folder. The page asks
nothing of a network. Its scripts sort, filter and draw; without them it can be read all the same.
Whatever comes from a person's data or command line is escaped by the template, `report.html.j2`.
"""

import base64
import io
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from optsweep.records.run import SweepRecord
from optsweep.records.values import distinct
from optsweep.report.interactive import page_data, scripts
from optsweep.report.table_csv import table_csv
from optsweep.report.tables import ROWS, table_values
from optsweep.report.templates import template
from optsweep.report.terminal_table import counts, ranked_by_workload, sentence
from optsweep.system import files
from optsweep.verdict.candidates import workloads
from optsweep.verdict.judge_sweep import judge
from optsweep.verdict.scores.answer import Workload
from optsweep.verdict.sweep_sentences import (
    advice_of,
    answer_of,
    outcome_lines,
    reasons_of,
    sentences,
    with_command,
)
from optsweep.verdict.verdict import Verdict, WorkloadDetails, verdict_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# As many of each as a page is read for.
_CHOICES, _DRAWN = 24, 6
_MOST_ROWS = 1000  # that can be sorted and filtered
_CHARTED = ("learning_curves", "learning_rates")  # pictures that charts replace


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


def import_figures_soon() -> None:
    """Imports what draws in another thread, while a sweep's runs train: once they have started.

    Before that, whoever starts them would wait for the interpreter's lock.
    """
    soon = threading.Timer(0.5, _import_figures)
    soon.daemon = True
    soon.start()


def _import_figures() -> None:
    from optsweep.report.figures import run, sweep, verdict  # noqa: F401


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
        pictures[name] = picture_of(figure, title, caption, path.read_bytes())
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
    values = table_values(sweep, _MOST_ROWS)
    data = page_data(sweep, values["runs"])
    values |= {"run_places": data.places, "configuration_places": data.configurations}
    return template("report.html.j2").render(
        **values,
        sentences=sentence(sweep).split("\n"),
        verdict=verdict,
        parts=_parts(verdict, list(workloads(sweep)), others),
        outcomes=outcome_lines(verdict),
        names=distinct(each.name for own in verdict.answer.workloads for each in own.candidates),
        kinds=counts(sweep),
        reused=sum(run.reused for run in sweep.runs),
        seconds=sum(run.seconds for run in sweep.runs if not run.reused),
        has_csv=True,
        pictures=others,
        charted=[name for name in others if name.startswith(_CHARTED)],
        data=data,
        scripts=scripts() if data.places else (),
        most_choices=_CHOICES,
        most_rows=ROWS,
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


def picture_of(figure: "Figure", title: str, caption: str, png: bytes | None = None) -> Picture:
    """The figure as a vector picture, or as the PNG file where there is one and it is smaller."""
    text = io.BytesIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    kind, content = ("png", png) if png and len(png) <= len(svg) else ("svg+xml", svg)
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(address, title, caption, width, height)


def _put(path: Path, text: str) -> Path:
    """Writes a text file: the whole of it, or nothing."""
    files.write(path, text.encode(errors="replace"))
    return path
