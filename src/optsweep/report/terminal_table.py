"""A sweep as a sentence and as a table on the terminal.

Given a `SweepRecord`, `sentence` says what won, `terminal_table` shows the ranking in the width
that there is: the less important scores give way first. Where seeds were swept, both speak of
configurations, by mean and standard deviation over the seeds.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from rich import box
from rich.cells import cell_len
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from optsweep.records.grouping import Configuration
from optsweep.records.run import NO_TEST, SCORES, RunRecord, SweepRecord, ranking_split
from optsweep.records.values import SPLIT_NAMES, label, printable
from optsweep.verdict.candidates import workloads
from optsweep.verdict.ranking import best_run, ranked_configurations, ranked_runs

MOST_ROWS, MOST_FAILURES = 30, 10

_SHORT = {"accuracy": "acc.", "balanced_accuracy": "bal.", "loss": "loss"}
# What gives way first where the width does not suffice.
_OPTIONAL = (
    "train/loss",
    "train/accuracy",
    "test/loss",
    "seconds",
    "val/loss",
    "test/balanced_accuracy",
    "test/accuracy",
)
_LACKING = "-"  # where a run has no such value
_NOTES = 21  # columns that notes have at least: "pruned after 3 epochs"


def score(value: float | None) -> str:
    """A loss or an accuracy in four digits behind the point; nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.2e}" if 1e4 <= abs(value) < inf else f"{value:.4f}"


def mean_and_deviation(configuration: Configuration, metric: str, between: str = "±") -> str:
    """Mean and standard deviation over the configuration's runs: `0.9722±0.0040`."""
    found = configuration.mean(metric), configuration.deviation(metric)
    return between.join(score(value) for value in found if value is not None)


def repeated(sweep: SweepRecord) -> bool:
    """Whether runs of the sweep differ in seed alone."""
    return "seed" in sweep.grid or bool(sweep.confirm_seeds)


def counts(sweep: SweepRecord) -> dict[str, int]:
    """How many runs ended in each way: finished, pruned, diverged, failed, killed, ..."""
    kinds = Counter(map(ending, sweep.runs))
    order = dict.fromkeys(["finished", "pruned", "diverged", "failed", "killed", *kinds])
    return {kind: kinds[kind] for kind in order if kinds[kind]}


def ending(run: RunRecord) -> str:
    """How a run ended, in a word: finished, pruned, diverged, failed, killed, ..."""
    if run.status != "FINISHED" or run.sound:
        return run.status.lower()
    return "diverged" if run.diverged else "pruned"


def ranked_by_workload(sweep: SweepRecord) -> dict[str, list[RunRecord]]:
    """The runs of each workload, the best first; ranks of different workloads are not compared."""
    return {name: ranked_runs(part.runs) for name, part in workloads(sweep).items()}


def configurations_by_workload(sweep: SweepRecord) -> dict[str, list[Configuration]]:
    """The configurations of each workload, the best first; none where no seeds were swept."""
    if not repeated(sweep):
        return {}
    return {
        name: ranked_configurations(part.runs, sweep.confirm_seeds)
        for name, part in workloads(sweep).items()
    }


def sentence(sweep: SweepRecord) -> str:
    """What ranks first, with its scores, on a line for each workload."""
    parts = workloads(sweep)
    if len(parts) < 2:
        return _sentence(sweep)
    return "\n".join(f"{printable(name)}: {_sentence(part)}" for name, part in parts.items())


def _sentence(sweep: SweepRecord) -> str:
    """What ranks first in a workload; where ranking fell back to test, that too."""
    winner = best_run(sweep.runs)
    if winner is None:
        return _nothing(sweep)
    split = ranking_split(winner.metrics)
    if repeated(sweep):
        configurations = ranked_configurations(sweep.runs, sweep.confirm_seeds)
        words = _best_configuration(configurations, winner, bool(sweep.confirm_seeds))
    else:
        words = _best_run(winner, len(sweep.runs))
    if split == "test":
        words += " Ranked by test, as val_fraction=0 leaves no validation data."
    elif "test/accuracy" not in winner.metrics:
        words += f" {NO_TEST}"
    return printable(words)


def _best_run(winner: RunRecord, count: int) -> str:
    judged = _accuracies({name: f"{value:.4f}" for name, value in winner.metrics.items()})
    first = f"Best of {count} runs" if count > 1 else "The only run"
    return f"{first}: {winner.name}, {', '.join(judged)}."


def _accuracies(values: Mapping[str, str]) -> list[str]:
    """The accuracies on validation and test among scores in words, each after its name."""
    known = [(name, *name.split("/")) for name in SCORES if name in values]
    return [
        f"{SPLIT_NAMES[split]} {metric.replace('_', ' ')} {values[name]}"
        for name, split, metric in known
        if split != "train" and "accuracy" in metric
    ]


def _best_configuration(
    configurations: Sequence[Configuration], winner: RunRecord, is_confirmed: bool
) -> str:
    configuration, count = configurations[0], len(configurations)
    known = [name for name in SCORES if configuration.values(name)]
    judged = _accuracies({name: mean_and_deviation(configuration, name, " ± ") for name in known})
    seeds = len(configuration.sound)
    over = f"over {seeds} seed{'s' * (seeds > 1)}"
    over = f"mean ± standard deviation {over}" if seeds > 1 else over
    first = f"Best of {count} configurations" if count > 1 else "The only configuration"
    first += " by the seeds that chose" if is_confirmed and count > 1 else ""
    first += f": {configuration.name}" if configuration.name else ""
    value = winner.metrics[f"{ranking_split(winner.metrics)}/accuracy"]
    return f"{first}, {', '.join(judged)} ({over}). Best single run: {winner.name}, {value:.4f}."


def _nothing(sweep: SweepRecord) -> str:
    if not sweep.runs:
        return "The sweep holds no runs."
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts(sweep).items())
    advice = "; try a smaller lr" if any(run.diverged for run in sweep.runs) else ""
    return f"No run finished without diverging ({kinds}){advice}."


@dataclass
class _Column:
    """A column's name over two lines and its cells."""

    head: str
    cells: Sequence[str]
    right: bool = False

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in [*self.head.split("\n"), *self.cells])


def terminal_table(sweep: SweepRecord, width: int = 80) -> Table:
    """The best thirty, ranked within their workloads, in `width` columns if swept values allow.

    Below it: what is missing, and why runs failed.
    """
    ranked = ranked_by_workload(sweep)
    grouped = configurations_by_workload(sweep)
    most = max(MOST_ROWS // max(len(ranked), 1), 1)  # of each workload
    shown = [each for own in grouped.values() for each in own[:most]]
    runs = [run for own in ranked.values() for run in own[:most]]
    columns = _configuration_columns(sweep, shown) if shown else _run_columns(sweep, runs)
    _fit(columns, width)
    count = sum(map(len, (grouped or ranked).values()))
    left_out = count - len(shown or runs)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, pad_edge=False)
    table.caption = Text("\n".join(_below(sweep, left_out, bool(shown))))
    table.caption_justify, table.caption_style, table.header_style = "left", "", "bold"
    spaces = [_space(key, place) for place, key in enumerate(columns)]
    for (key, column), space in zip(columns.items(), spaces, strict=True):
        head = Text("\n".join(space + line for line in column.head.split("\n")))
        fixed = key != "notes" and (column.right or column.width <= _NOTES)
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(head, justify=justify, overflow="fold", no_wrap=fixed)
    for row in zip(*(column.cells for column in columns.values()), strict=True):
        table.add_row(*(Text(space + cell) for space, cell in zip(spaces, row, strict=True)))
    return table


def _fit(columns: dict[str, _Column], width: int) -> None:
    """Takes columns away until the others fit the width."""
    notes = columns.pop("notes")
    for key in _OPTIONAL:
        needed = sum(
            column.width + 1 + len(_space(name, place))
            for place, (name, column) in enumerate(columns.items())
        )
        if min(notes.width, _NOTES) + needed > width - 1:
            columns.pop(key, None)
    if any(notes.cells):
        columns["notes"] = notes


def _space(key: str, place: int) -> str:
    """What a column has before it beside the one space of all: scores of a split keep together."""
    return "" if place == 0 or key.endswith(("/loss", "/balanced_accuracy")) else " "


def _run_columns(sweep: SweepRecord, shown: Sequence[RunRecord]) -> dict[str, _Column]:
    swept = {
        f"swept {key}": _Column(_head(key), [_cell(run.swept, key) for run in shown])
        for key in sweep.grid
    } or {"run": _Column("run", [printable(run.name) for run in shown])}
    scores = {name: [score(run.metrics.get(name)) for run in shown] for name in SCORES}
    notes = [_short_notes(run) for run in shown]
    return swept | _last_columns(sweep, scores, [run.seconds for run in shown], notes)


def _configuration_columns(
    sweep: SweepRecord, shown: Sequence[Configuration]
) -> dict[str, _Column]:
    columns = {
        f"swept {key}": _Column(_head(key), [_cell(each.swept, key) for each in shown])
        for key in sweep.grid
        if key != "seed"
    }
    columns["n"] = _Column("seeds", [str(len(each.runs)) for each in shown], right=True)
    scores = {name: [mean_and_deviation(each, name) for each in shown] for name in SCORES}
    seconds, notes = [each.seconds for each in shown], [each.notes for each in shown]
    return columns | _last_columns(sweep, scores, seconds, notes)


def _last_columns(
    sweep: SweepRecord,
    scores: Mapping[str, Sequence[str]],
    seconds: Sequence[float],
    notes: Sequence[str],
) -> dict[str, _Column]:
    """The scores that any run has, the times and the notes."""
    columns = {
        name: _Column(_score_head(name), cells, right=True)
        for name, cells in scores.items()
        if any(name in run.metrics for run in sweep.runs)
    }
    times = [f"{taken:.1f} s" if taken else "" for taken in seconds]
    return columns | {
        "seconds": _Column("time", times, right=True),
        "notes": _Column("notes", notes),
    }


def _head(key: str) -> str:
    """A long dotted name over two lines: the group above, its argument below."""
    group, _, rest = key.partition(".")
    return printable(f"{group}.\n{rest}" if rest else key)


def _score_head(name: str) -> str:
    split, metric = name.split("/")
    return f"{split}\n{_SHORT[metric]}"


def _cell(swept: Mapping[str, object], key: str) -> str:
    return printable(label(swept[key])) if key in swept else _LACKING


def _short_notes(run: RunRecord) -> str:
    words = ["diverged" * run.diverged, run.ending, run.selection, "reused" * run.reused]
    words.append("" if run.status == "FINISHED" else run.status.lower())
    return "; ".join(word for word in words if word)


def _below(sweep: SweepRecord, left_out: int, grouped: bool) -> list[str]:
    lines = []
    if sweep.confirm_seeds and grouped:
        lines.append("ranked by the seeds that chose; means are over these and the fresh ones")
    if left_out > 0:
        lines.append(
            f"and {left_out:,} more {'configurations' if grouped else 'runs'}, in table.csv"
        )
    failed = [run for run in ranked_runs(sweep.runs) if run.status == "FAILED"]
    for run in failed[:MOST_FAILURES]:
        lines.append(printable(f"{run.name}: {run.notes}".replace("\n", " ")))
    if len(failed) > MOST_FAILURES:
        lines.append(f"and {len(failed) - MOST_FAILURES:,} more failed, in table.csv")
    return lines
