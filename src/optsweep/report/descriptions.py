"""What MLflow's page shows as the description of a sweep: its answer, its picture, its command.

MLflow cuts such a text at 8,000 characters, and shows no picture whose address holds the picture
itself: that of an artifact is asked of the same server.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from optsweep.records.grouping import Configuration
from optsweep.records.run import RunRecord, SweepRecord, ranking_split
from optsweep.records.values import SPLIT_NAMES, label
from optsweep.report.markdown import code, joined, text
from optsweep.report.terminal_table import (
    configurations_by_workload,
    counts,
    mean_and_deviation,
    ranked_by_workload,
    score,
    sentence,
)
from optsweep.system import files
from optsweep.verdict.sweep_sentences import advice_of, answer_of, with_command
from optsweep.verdict.verdict import Verdict

PLACES = 20  # runs whose place is said: a call for each
_ROWS = 10  # of a table
_WIDTH = 600  # pixels of a picture
_LONGEST = 7500  # characters
# The runs of a sweep, the best first, as MLflow's page has it in its own address.
_SEARCH = (
    "searchFilter=tags.mlflow.parentRunId%20%3D%20%27{}%27"
    "&orderByKey=metrics.%60val%2Faccuracy%60&orderByAsc=false"
)
_SHOWN = ("val/accuracy", "test/accuracy")


def of_running_sweep(command: str) -> str:
    """A sweep's description until it ends."""
    return joined(["**This sweep is running.** Its answer follows here.", *_typed(command)])


def of_sweep(
    sweep: SweepRecord, verdict: Verdict, page: str, picture: str | None, folder: str
) -> str:
    """The description of a sweep that has ended.

    Args:
        sweep: what became of it.
        verdict: the judgement on it.
        page: the address of its run, as `page_of` has it.
        picture: the path of a picture among its artifacts.
        folder: the folder that holds its report.
    """
    ended = ", ".join(f"{count:,} {kind}" for kind, count in counts(sweep).items())
    address = f"get-artifact?path={quote(picture or '', safe='')}&run_uuid={sweep.run_id}"
    first = [*_answer(sweep, verdict), f"![the answer as a picture]({address})" * bool(picture)]
    runs = f"{page.rpartition('/')[0]}?{_SEARCH.format(sweep.run_id)}"
    last = [
        f"[{len(sweep.runs):,} runs]({runs}): {ended}.",
        *_typed(sweep.command),
        f"[The report]({page}/artifacts/report.html) lies in this folder too:",
        code(folder),
    ]
    tables = _tables(sweep, page)
    while tables and len(joined([*first, *tables, *last])) > _LONGEST:
        tables.pop()
    return joined([*first, *tables, *last])


def small_copy(picture: Path) -> Path:
    """A copy of a picture beside it, as narrow as MLflow's page needs it: that scales none down.

    Raises:
        OSError: it cannot be written.
    """
    from PIL import Image

    with Image.open(picture) as found:
        small = found.convert("RGB")
    small.thumbnail((_WIDTH, _WIDTH), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, "PNG", optimize=True)
    copy = picture.with_name(f"{picture.stem}-small.png")
    files.write(copy, content.getvalue(), durable=False)
    return copy


def places(sweep: SweepRecord) -> dict[str, str]:
    """The place of each workload's best runs in the ranking, in words, by their ids."""
    found: dict[str, str] = {}
    for name, own in ranked_by_workload(sweep).items():
        of = f" in {text(name)}" if name else ""
        for place, run in enumerate(own[:PLACES], start=1):
            split = ranking_split(run.metrics)
            by = f"{SPLIT_NAMES[split]} accuracy {score(run.metrics.get(f'{split}/accuracy'))}"
            if run.sound:
                found[run.run_id] = f"Place **{place}** of {len(own):,} runs{of}, by {by}."
    return found


def _answer(sweep: SweepRecord, verdict: Verdict) -> list[str]:
    """The answer for each workload with what to type next; else why there is none."""
    said: list[str] = []
    confirming: list[str] = []
    for workload, details in verdict.parts:
        answer = [text(line) for line in answer_of(verdict, workload, details)]
        said += [f"### {text(workload.name)}"] * (len(verdict.parts) > 1)
        said += [f"**{line}**" for line in answer[:1]] + answer[1:]
        for line in advice_of(verdict, workload, details):
            if with_command(verdict, line) == line:
                said.append(text(line))
            else:
                confirming = ["To confirm at fresh seeds, type:", code(verdict.confirming)]
    return [*said, *confirming] or [text(sentence(sweep))]


def _tables(sweep: SweepRecord, page: str) -> list[str]:
    """The best configurations of each workload, or runs where no seeds were swept."""
    ranked: Mapping[str, Sequence[Configuration | RunRecord]] = configurations_by_workload(sweep)
    return [
        _table(sweep, name, own, page)
        for name, own in (ranked or ranked_by_workload(sweep)).items()
        if own
    ]


def _table(
    sweep: SweepRecord, name: str, own: Sequence[Configuration | RunRecord], page: str
) -> str:
    keys = [key for key in sweep.grid if any(key in each.swept for each in own)]
    keys = [key for key in keys if key != "seed" or isinstance(own[0], RunRecord)]
    splits = [f"{SPLIT_NAMES[shown.partition('/')[0]]} accuracy" for shown in _SHOWN]
    notes = ["notes"] if any(each.notes for each in own[:_ROWS]) else []
    head = [f"best {text(name)}".strip(), *map(text, keys), *splits, *notes]
    rows = [
        [_place(place, each, page), *_cells(each, keys)]  # the notes last
        for place, each in enumerate(own[:_ROWS], start=1)
    ]
    lines = [f"| {' | '.join(row[: len(head)])} |" for row in [head, ["---"] * len(head), *rows]]
    more = [f"\nand {len(own) - _ROWS:,} more, in the report"] if len(own) > _ROWS else []
    return "\n".join([*lines, *more])


def _place(place: int, each: Configuration | RunRecord, page: str) -> str:
    if isinstance(each, Configuration) or not each.run_id:
        return str(place)
    return f"[{place}]({page.rpartition('/')[0]}/{each.run_id})"


def _cells(each: Configuration | RunRecord, keys: Sequence[str]) -> list[str]:
    values = [text(label(each.swept[key])) if key in each.swept else "-" for key in keys]
    if isinstance(each, Configuration):
        scores = [mean_and_deviation(each, shown, " ± ") for shown in _SHOWN]
    else:
        scores = [score(each.metrics.get(shown)) for shown in _SHOWN]
    return [*values, *scores, text(each.notes.replace("\n", " "))[:200]]


def _typed(command: str) -> list[str]:
    return ["Typed:", code(command)]
