"""The page of a verdict on runs of other programs: one file, without a script or an address.

`write` is given the answer with its sentences and where it is from. Whatever comes from a store is
escaped by the template, `verdict.html.j2`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from optsweep.report.page import Picture, picture_of
from optsweep.report.templates import template
from optsweep.system import files
from optsweep.verdict.rows.logged_rows import judged_rows
from optsweep.verdict.scores.answer import Answer, Workload
from optsweep.verdict.scores.rows import Row

_DRAWN = 6  # pictures, of as many workloads
_ROWS = 100  # of a table


@dataclass(frozen=True)
class VerdictPage:
    """What a page shows: `top` answers each workload by name, `said` is all that is said of it.

    `score` is what judges, `facts` how the runs were read, `command` the line that was typed.
    """

    title: str
    answer: Answer
    rows: Sequence[Row]
    top: Mapping[str, Sequence[str]]
    said: Mapping[str, Sequence[str]]
    notes: Sequence[str]
    score: str
    facts: Mapping[str, str]
    command: str


def write(shown: VerdictPage, path: Path) -> None:
    """Writes the page: the whole of it, or nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    pictures = {each.name: _picture(shown, each) for each in shown.answer.workloads[:_DRAWN]}
    text = template("verdict.html.j2").render(shown=shown, pictures=pictures, most=_ROWS)
    files.write(path, text.encode(errors="replace"))


def _picture(shown: VerdictPage, workload: Workload) -> Picture | None:
    """The scores and differences of a workload as a vector picture."""
    from optsweep.report.figures import verdict  # half a second that a typing error does not pay

    if not verdict.has_picture(workload):
        return None
    seeds = {
        each.name: [
            row.score
            for row in judged_rows(shown.rows, workload.name, each)
            if row.score is not None
        ]
        for each in workload.candidates
    }
    what = shown.score.partition(".")[2]
    figure = verdict.drawn(workload, shown.answer.margin, seeds, f"{what}, by candidate", what)
    title, caption = verdict.caption(workload, what)
    return picture_of(figure, title, caption)
