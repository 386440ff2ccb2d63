"""Judges tables of scores, from whatever program: see --help."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from optsweep.cli.commands.arguments import parse
from optsweep.errors import OptsweepError, SettingsError
from optsweep.system import files
from optsweep.system import project_folder as project
from optsweep.verdict.scores.answer import as_json
from optsweep.verdict.scores.intervals import MARGIN
from optsweep.verdict.scores.judge_table import judge_table
from optsweep.verdict.scores.outcome_sentences import answer_lines, sentences
from optsweep.verdict.scores.rows import LARGEST, RowError, TableError, read_table

HELP = """\
Says which candidate is best, which configurations may be, and how sure that is, from a table of
scores. Writes NAME.verdict.json beside each table.

  {command} table=PATH [NAME=VALUE ...]

  table   a CSV file with the columns candidate, seed, score and optionally configuration, workload,
          phase, chosen_by, status; or a folder of such files, each of which is judged by itself
  higher  false where lower scores are better (default: true)
  margin  a difference that matters in practice, in the unit of the scores (default: {margin})
  lost    what a run counts that did not finish: chance accuracy, as a rule (default: the worst
          finished score of its workload)

docs/verdict.md describes the columns and the file. Exit code 2: a table cannot be read.
"""
_DEFAULTS = {"table": "", "higher": "true", "margin": str(MARGIN), "lost": ""}


@dataclass(frozen=True)
class _Settings:
    """How tables are judged."""

    higher: bool
    margin: float
    lost: float | None

    @classmethod
    def of(cls, options: dict[str, str]) -> "_Settings":
        """The settings as they were typed."""
        if options["higher"] not in ("true", "false"):
            raise SettingsError(f"higher={options['higher']}: type higher=true or higher=false")
        margin = _number("margin", options["margin"])
        if margin <= 0:
            raise SettingsError(f"margin={options['margin']}: type a number above 0")
        lost = _number("lost", options["lost"]) if options["lost"] else None
        return cls(options["higher"] == "true", margin, lost)


def main(arguments: list[str]) -> int:
    """Judges the tables that the arguments name; returns the exit code."""
    if {"--help", "-h", "help"} & set(arguments):
        print(HELP.format(command=project.command("verdict"), margin=MARGIN), end="")
        return 0
    try:
        options = _DEFAULTS | parse(arguments, _DEFAULTS)
        settings = _Settings.of(options)
        tables = _tables(options["table"])
    except OptsweepError as error:
        return _refused(error)
    code = 0
    for number, table in enumerate(tables):
        try:
            lines = _judge(table, settings, is_one=len(tables) == 1)
        except (OptsweepError, OSError) as error:
            code = _refused(error)
        else:
            print(*([""] if number else []), *lines, sep="\n")
    return code


def _refused(error: Exception) -> int:
    text = str(error)
    if isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror or error}"
    print(f"error: {' '.join(text.split())}", file=sys.stderr)
    return 2


def _tables(given: str) -> list[Path]:
    """The CSV files that `table=` names."""
    if not given:
        raise SettingsError("table is missing; type table=PATH, a CSV file or a folder of them")
    path = Path(given).expanduser()
    if not path.exists():
        raise SettingsError(f"table={given}: there is no such file or folder")
    if not path.is_dir():
        return [path]
    if found := sorted(path.glob("*.csv")):
        return found
    raise SettingsError(f"table={given}: the folder has no file that ends in .csv")


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) < LARGEST:
        raise SettingsError(f"{name}={text}: type a number, such as {name}=0.1")
    return number


def _judge(table: Path, settings: _Settings, *, is_one: bool) -> list[str]:
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
    return [*shown, f"verdict  {file}"] if is_one else shown
