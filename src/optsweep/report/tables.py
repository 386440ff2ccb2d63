"""What the tables of a page show: its runs and configurations, the best first, and its failures.

`table_values` is given a `SweepRecord` and returns what `tables.html.j2` needs, title included.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from optsweep.records.run import SCORES, RunRecord, SweepRecord, has_score
from optsweep.report.terminal_table import configurations_by_workload, ranked_by_workload
from optsweep.verdict.ranking import best_run

ROWS, _FAILURES = 100, 20  # as many of each as a page is read for


def table_values(sweep: SweepRecord, most_rows: int = ROWS) -> dict[str, Any]:
    """The sweep, its title, and the rows and columns of its tables.

    Rows beyond the first hundred are hidden until a script shows them.
    """
    ranked = ranked_by_workload(sweep)
    runs = [run for own in ranked.values() for run in own]
    grouped = configurations_by_workload(sweep)
    failures = [run for run in runs if run.status != "FINISHED" and (run.error or run.output)]
    most, plain = (max(rows // max(len(ranked), 1), 1) for rows in (most_rows, ROWS))
    shown = {name: own[:most] for name, own in ranked.items()}
    shown_groups = {name: own[:most] for name, own in grouped.items()}
    kind = "Search" if sweep.search else "Sweep"
    return {
        "sweep": sweep,
        "title": f"{kind} of {_listed(sweep.grid)}" if sweep.grid else kind,
        "plain_rows": plain,
        "run_places": {},
        "configuration_places": {},
        "keys": list(sweep.grid),
        "varied": [key for key in sweep.grid if key != "seed"],
        "scores": _scores(runs),
        "runs": shown,
        "winners": {id(best_run(own)) for own in ranked.values()},
        "configurations": shown_groups,
        "noted": {
            "configurations": any(each.notes for own in shown_groups.values() for each in own),
            "runs": any(run.notes for own in shown.values() for run in own),
        },
        "configuration_count": sum(map(len, grouped.values())),
        "failures": failures[:_FAILURES],
        "failure_count": len(failures),
    }


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
