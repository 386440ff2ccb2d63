"""Makes the report of a sweep again, from what MLflow holds alone: see --help."""

from pathlib import Path

from optsweep.cli.commands.arguments import open_store, run_command
from optsweep.errors import SettingsError
from optsweep.system import project_folder

HELP = """\
Makes the report of a sweep again, from what MLflow holds alone; the sweep's folder may be gone.

  {command} sweep=ID[,ID...] [NAME=VALUE ...]

  sweep                latest, or the id of a sweep's run in MLflow; of several ids, one report of
                       all their runs (default: latest)
  out                  folder for report.html, table.csv, verdict.json and figures/
                       (default: {folder}/outputs/reports/ID)
  open                 true: opens the report in the browser (default: false)
  tracking.uri         address of the MLflow store
                       (default: {uri})
  tracking.experiment  name of the MLflow experiment (default: {experiment})

The tracking defaults are those of conf/config.yaml; MLFLOW_TRACKING_URI names another store.
Exit code 2: the arguments or the store cannot be used.
"""


def main(arguments: list[str]) -> int:
    """Makes the report that the arguments ask for; returns the exit code."""
    own = {"sweep": "latest", "out": "", "open": "false"}
    return run_command("report", HELP, own, arguments, report)


def report(options: dict[str, str]) -> None:
    """Reads the sweeps, writes their report and says where it lies.

    Raises:
        OptsweepError: the store, or what is asked of it, cannot be used.
        OSError: the report cannot be written.
    """
    if options["open"] not in ("true", "false"):
        raise SettingsError(f"open={options['open']}: type open=true or open=false")
    from rich.console import Console  # these imports take seconds: not before a typing error

    from optsweep.records.merging import merge
    from optsweep.report.page import write
    from optsweep.report.terminal_table import sentence, terminal_table
    from optsweep.sweep.display.lines import say
    from optsweep.system.browser import open_page
    from optsweep.tracking.reading import latest_sweep, read_sweep
    from optsweep.verdict.judge_sweep import judge
    from optsweep.verdict.sweep_sentences import few_sentences

    store = open_store(options)
    ids = dict.fromkeys(part.strip() for part in options["sweep"].split(",") if part.strip())
    if not ids:
        raise SettingsError(f"sweep={options['sweep']}: a value is missing; type sweep=latest")
    ids = dict.fromkeys(latest_sweep(store) if each == "latest" else each for each in ids)
    sweep = merge([read_sweep(store, run_id) for run_id in ids])
    name = "+".join(ids) if len(ids) == 1 else "+".join(run_id[:8] for run_id in ids)[:100]
    usual = project_folder.folder() / "outputs" / "reports" / name
    folder = Path(options["out"] or usual).expanduser().absolute()
    verdict = judge(sweep)
    files = write(sweep, folder, verdict)
    console = Console()
    for line in few_sentences(verdict):
        say(console, line)
    console.print(terminal_table(sweep, console.width))
    say(console, sentence(sweep))
    say(console, f"report  {files[-1]}")
    if options["open"] == "true":
        open_page(files[-1], print)
