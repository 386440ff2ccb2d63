"""Judges tables of scores, or runs in an MLflow store, from whatever program: see --help."""

from optsweep.cli.commands.arguments import parse
from optsweep.cli.commands.verdict_settings import VerdictSettings, refused
from optsweep.errors import OptsweepError, SettingsError
from optsweep.system import project_folder as project
from optsweep.verdict.scores.intervals import MARGIN

HELP = """\
Says which candidate is best, which configurations may be, and how sure that is: from a table of
scores, or from the runs of an MLflow experiment, whatever program wrote them.

  {command} table=PATH [NAME=VALUE ...]
  {command} store=URI experiment=NAME [KEY=SOURCE ...] [NAME=VALUE ...]

  table       a CSV file with the columns candidate, seed, score and optionally configuration,
              workload, phase, chosen_by, status; or a folder of such files, each of which is judged
              by itself. NAME.verdict.json is written beside each

  store       an MLflow store, which stays as it is: a database (sqlite:////path/to/mlflow.db), a
              server (http://host:5000), or a folder of runs in plain files
  experiment  the experiment's name
  candidate   what is compared: params.optimizer
  seed        what repeats share: params.seed
  score       what judges: metrics.test_acc
  configuration, workload, chosen_by, phase
              as a table has them: params.lr,params.weight_decay
  at          which value of a metric counts, last, min or max of its steps (default: last)
  filter      which runs count, in MLflow's words: "params.dataset = 'digits'" (default: all)
  out         folder for verdict.json and report.html (default: {folder}/outputs/verdicts/NAME)

  higher      false where lower scores are better (default: true)
  margin      a difference that matters in practice, in the unit of the scores (default: {margin})
  lost        what a run counts that did not finish: chance accuracy, as a rule (default: the worst
              finished score of its workload)
  decided     true for exit code 3 where it is undecided which candidate is best (default: false)

A SOURCE is params.NAME, metrics.NAME, tags.NAME or attributes.run_name. Without candidate, seed or
score, a complete line is proposed from what varies, and nothing is judged.

docs/verdict.md describes columns, sources and the file. Exit code 2: nothing was judged.
"""
_BOTH = {"higher": "true", "margin": str(MARGIN), "lost": "", "decided": "false"}
_OF_STORES = (
    *("experiment", "candidate", "configuration", "seed", "score", "chosen_by", "workload"),
    *("phase", "at", "filter", "out"),
)
_DEFAULTS = {"table": "", "store": "", **dict.fromkeys(_OF_STORES, ""), **_BOTH}


def main(arguments: list[str]) -> int:
    """Judges what the arguments name; returns the exit code."""
    if {"--help", "-h", "help"} & set(arguments):
        folder = project.folder()
        print(HELP.format(command=project.command("verdict"), margin=MARGIN, folder=folder), end="")
        return 0
    try:
        typed = parse(arguments, _DEFAULTS)
        settings = VerdictSettings.of(_BOTH | typed)
        _check_kind(typed)
        if "table" in typed:
            from optsweep.cli.commands.verdict_tables import judge_tables

            return judge_tables(typed["table"], settings)
        from optsweep.cli.commands.verdict_store import judge_store

        return judge_store(typed, settings)
    except (OptsweepError, OSError) as error:
        return refused(error)


def _check_kind(typed: dict[str, str]) -> None:
    """Makes sure that either tables or a store is named, with what belongs to it.

    Raises:
        SettingsError: both are, or neither.
    """
    if "table" in typed and "store" in typed:
        raise SettingsError("table= and store= are both given; type one")
    if "store" in typed:
        return
    foreign = next((name for name in _OF_STORES if name in typed), None)
    if foreign and "table" in typed:
        raise SettingsError(f"{foreign}= is for store=; a table has columns; leave it out")
    if foreign:
        raise SettingsError(f"store is missing, as {foreign}= is given; type store=URI")
    if "table" not in typed:
        raise SettingsError(
            "table is missing; type table=PATH, a CSV file or a folder of them, or store=URI for "
            "runs in MLflow"
        )
