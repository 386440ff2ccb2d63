"""Judges tables of scores, one CSV file or a folder of them."""

import json
from pathlib import Path

from optsweep.cli.commands.verdict_settings import REFUSED, VerdictSettings, refused
from optsweep.errors import OptsweepError, SettingsError
from optsweep.system import files
from optsweep.verdict.scores.answer import Answer, as_json
from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.scores.outcome_sentences import answer_lines, sentences
from optsweep.verdict.scores.rows import RowError, TableError, read_table


def judge_tables(given: str, settings: VerdictSettings) -> int:
    """Judges the tables that `given` names; returns the exit code, the most serious of all.

    Raises:
        SettingsError: it names none.
    """
    tables = _tables(given)
    codes = {0}
    for number, table in enumerate(tables):
        try:
            answer, lines = _judge(table, settings, is_one=len(tables) == 1)
        except (OptsweepError, OSError) as error:
            codes.add(refused(error))
        else:
            codes.add(settings.exit_code(answer))
            print(*([""] if number else []), *lines, sep="\n")
    return REFUSED if REFUSED in codes else max(codes)


def _tables(given: str) -> list[Path]:
    """The CSV files that `table=` names."""
    path = Path(given).expanduser()
    if not path.exists():
        raise SettingsError(f"table={given}: there is no such file or folder")
    if not path.is_dir():
        return [path]
    if found := sorted(path.glob("*.csv")):
        return found
    raise SettingsError(f"table={given}: the folder has no file that ends in .csv")


def _judge(table: Path, settings: VerdictSettings, *, is_one: bool) -> tuple[Answer, list[str]]:
    """Judges one table and writes its file; of several tables, only the answers are shown."""
    rows, lines = read_table(table)
    try:
        answer = judge_table(
            rows, margin=settings.margin, higher=settings.higher, lost=settings.lost
        )
    except RowError as error:
        raise TableError(table, str(error), lines[error.index], error.column) from None
    said = {workload.name: sentences(answer, workload) for workload in answer.workloads}
    file = table.with_suffix(".verdict.json")
    text = json.dumps(as_json(answer, said), indent=1, allow_nan=False, ensure_ascii=False)
    files.write(file, text + "\n", durable=False)
    shown = [] if is_one else [f"{table.name}:"]
    for workload in answer.workloads:
        shown += [f"{workload.name}:"] if len(said) > 1 else []
        shown += said[workload.name] if is_one else answer_lines(answer, workload)
    return answer, [*shown, f"verdict  {file}"] if is_one else shown
