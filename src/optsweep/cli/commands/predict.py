"""Says of which class pictures are, by a trained model: see --help."""

import re
from functools import partial
from pathlib import Path

from optsweep.cli.commands.arguments import open_store, run_command
from optsweep.errors import SettingsError
from optsweep.system import project_folder

HELP = """\
Says of which class pictures are, by a trained model, and draws them under what it says.

  {command} model=MODEL [NAME=VALUE ...]

  model                latest: the best model of the latest sweep; the id of a sweep or of a run in
                       MLflow; or the folder of either (default: latest)
  pictures             a folder of pictures, one picture, or a pattern such as 'photos/*.jpg'
                       (default: the test samples of the model's own dataset)
  out                  folder for predictions.csv and predictions.png
                       (default: {folder}/outputs/predictions)
  tracking.uri         address of the MLflow store
                       (default: {uri})
  tracking.experiment  name of the MLflow experiment (default: {experiment})

Where folders have names of classes, these are the true classes of the pictures in them.
The tracking defaults are those of conf/config.yaml; MLFLOW_TRACKING_URI names another store.
Exit code 2: the arguments, the model or a picture cannot be used.
"""
_ID = re.compile(r"[0-9a-f]{32}")  # of a run in MLflow


def main(arguments: list[str]) -> int:
    """Predicts what the arguments ask for; returns the exit code."""
    own = {"model": "latest", "pictures": "", "out": ""}
    return run_command("predict", HELP, own, arguments, predict)


def _refuse_early(options: dict[str, str]) -> None:
    """Refuses what does not exist, before anything is imported that takes seconds."""
    model, pictures = options["model"], options["pictures"]
    known = model == "latest" or _ID.fullmatch(model) or Path(model).expanduser().exists()
    if not known:
        raise SettingsError(
            f"model={model}: there is no such folder, and it is no id of a run; type model=latest, "
            "the id that a sweep prints at its end, or a folder"
        )
    is_pattern = any(sign in pictures for sign in "*?[")
    if pictures and not is_pattern and not Path(pictures).expanduser().exists():
        raise SettingsError(
            f"pictures={pictures}: there is no such folder or file; type the path of a folder of "
            "pictures, of one picture, or a pattern in quotes such as 'pictures=photos/*.jpg'"
        )


def predict(options: dict[str, str]) -> None:
    """Predicts, prints the table and says where the picture lies.

    Raises:
        OptsweepError: the model, the pictures or the store cannot be used.
        OSError: the files cannot be written.
    """
    _refuse_early(options)
    from rich.console import Console  # these imports take seconds: not before a typing error

    from optsweep.report.predictions import MOST_ROWS, Predictions, draw, table, write_csv
    from optsweep.sweep.best.finding import find_model
    from optsweep.sweep.best.samples import given_samples, own_samples
    from optsweep.sweep.display.lines import say

    console = Console()
    model = find_model(options["model"], partial(open_store, options))
    typed = options["pictures"]
    samples = given_samples(typed, model) if typed else own_samples(model)
    predicted, probabilities = model.predict(samples.scaled())
    found = Predictions(
        names=samples.names,
        predicted=[model.classes[number] for number in predicted.tolist()],
        probabilities=probabilities.tolist(),
        true=samples.true,
        classes=list(dict.fromkeys([*model.classes, *filter(None, samples.true)])),
    )
    folder = Path(options["out"] or project_folder.folder() / "outputs" / "predictions")
    folder = folder.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(found, folder / "predictions.csv")
    draw(found, samples.first.numpy(), samples.peak, folder / "predictions.png")
    say(console, f"model    {model.spec.model.name}, {len(model.classes)} classes")
    for line in samples.about:
        say(console, line)
    console.print(table(found))
    if len(found.names) > MOST_ROWS:
        say(console, f"the first {MOST_ROWS} of {len(found.names):,}; all are in predictions.csv")
    say(console, found.summary)
    say(console, f"table    {folder / 'predictions.csv'}")
    say(console, f"picture  {folder / 'predictions.png'}")
