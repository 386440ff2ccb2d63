"""The table of a sweep's runs as a CSV file."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from optsweep.records.run import SCORES, RunRecord, has_score


def table_row(run: RunRecord) -> dict[str, Any]:
    """A run as a row of the table: what is swept, the scores, the time and the notes."""
    return {
        "run": run.name,
        **run.swept,
        **{name: run.metrics.get(name) for name in SCORES if has_score(name, [run])},
        "seconds": round(run.seconds, 3),
        "status": run.status,
        "notes": run.notes,
        "run_id": run.run_id,
    }


def table_csv(ranked: Sequence[RunRecord]) -> str:
    """The table as CSV, a line for each run in the order given."""
    rows = [table_row(run) for run in ranked]
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
