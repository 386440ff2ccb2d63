"""The functions that programs and notebooks import from `optsweep`.

    import optsweep

    sweep = optsweep.sweep("optimizer=sgd,adam lr=1e-3,1e-1")
    print(sweep.verdict)

`sweep` runs a sweep, `load_sweep` reads one from MLflow; both return a `LoadedSweep`. `load_model`
loads a trained model. They work in the current folder, as the command `optsweep` does, or in the
folder that `project` names. Nothing heavy is imported before it is needed.
"""

import os
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from optsweep.errors import RunsFailed, SettingsError
from optsweep.system import project_folder
from optsweep.system.redaction import redact

if TYPE_CHECKING:
    import pandas as pd

    from optsweep.models.trained_model import TrainedModel
    from optsweep.records.run import SweepRecord
    from optsweep.tracking.store import Run, Store
    from optsweep.verdict.sweep_sentences import SweepVerdict

_EXPERIMENT = "optsweep"  # as in conf/config.yaml


def sweep(
    overrides: str | Sequence[str],
    *,
    project: str | Path | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
) -> "LoadedSweep":
    """Runs a sweep as the command `optsweep -m OVERRIDES` does, and returns what it found.

        optsweep.sweep("optimizer=sgd,adam lr=1e-3,1e-1 seed=0,1 epochs=3")

    Progress is shown where the caller prints: bars in a terminal, a line for each run in a
    notebook. Ctrl-C ends the sweep in order; `resume=true` among the overrides resumes it. It runs
    in a process of its own, so a script needs no `if __name__ == "__main__":`. A class that is
    defined in a notebook or in that script is out of its reach: options name code in files.

    Args:
        overrides: as typed in a shell after `-m`, or a list of them, unquoted.
        project: the folder that gets `outputs/`, `data/` and `mlflow.db`, and whose `conf/` counts;
            by default the current one.
        tracking_uri: address of the MLflow store, as `tracking.uri=`.
        experiment: name of the MLflow experiment, as `tracking.experiment=`.

    Returns:
        The sweep, also where some of its runs failed.

    Raises:
        SettingsError: an override cannot be used; nothing was trained.
        RunsFailed: no run finished.
        KeyboardInterrupt: it was interrupted; its runs are marked so, and can be resumed.
    """
    from optsweep.execution.command_line import quoted, run_command, without_answer, words

    arguments = ["-m", *words(overrides)]
    if experiment is not None:
        arguments.append(f"tracking.experiment={quoted(experiment)}")
    folder = _folder(project)
    uri = {} if tracking_uri is None else {"MLFLOW_TRACKING_URI": tracking_uri}
    ended = run_command(arguments, folder, uri)
    if ended.answer is None or ended.code not in (0, 1):
        raise without_answer(ended.code, ended.error, shlex.join(arguments))
    found = _attached(ended.answer, folder)
    if not any(run.status == "FINISHED" for run in found.record.runs):
        raise RunsFailed(ended.error or f"no run of sweep {found.id} finished")
    if ended.error:
        print(ended.error, file=sys.stderr)
    return found


def load_sweep(
    sweep: str | Path = "latest",
    *,
    project: str | Path | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
) -> "LoadedSweep":
    """Reads a sweep from MLflow, also one that still runs or whose folder is gone.

        optsweep.load_sweep().runs.head()

    Args:
        sweep: `latest`, the id that a sweep prints at its end, or the sweep's folder.
        project: the folder that holds `mlflow.db`; by default the current one.
        tracking_uri: address of the MLflow store; by default that of MLFLOW_TRACKING_URI, or the
            project's `mlflow.db`.
        experiment: name of the MLflow experiment; by default `optsweep`.

    Raises:
        SettingsError: there is no such store, experiment or sweep.
        TrackingError: the store does not answer or cannot be used.
    """
    folder = _folder(project)
    with project_folder.called_in(folder):
        store = _existing(folder, tracking_uri, experiment or _EXPERIMENT)
        run_id = _id_of(str(sweep), folder, store)
        found = LoadedSweep(run_id, store, folder)
        found.record  # noqa: B018 (what is wrong with it is said here)
    return found


def load_model(
    model: str | Path = "latest",
    *,
    project: str | Path | None = None,
    tracking_uri: str | None = None,
    experiment: str | None = None,
) -> "TrainedModel":
    """Loads a trained model, which takes images as its dataset had them.

        model = optsweep.load_model()
        names = [model.classes[number] for number in model(images).argmax(dim=1)]

    Args:
        model: `latest`, the best model of the latest sweep; the id of a sweep or a run; the folder
            of either; or a sweep's `best/`. The others are those of `load_sweep`.

    Returns:
        A `torch.nn.Module` in evaluation mode, on the CPU. It takes uint8 images `[N, C, H, W]` as
        the dataset had them, or floats in [0, 1], and gives float32 logits `[N, classes]`. It has
        `classes`, their names, and `input_shape`, `(C, H, W)`.

    Raises:
        ModelError: there is no such model, or its file is damaged.
        OptsweepError: there is no such store, or code of one's own cannot be imported.
    """
    from optsweep.sweep.best.finding import find_model

    folder = _folder(project)
    with project_folder.called_in(folder):
        return find_model(
            str(model), lambda: _existing(folder, tracking_uri, experiment or _EXPERIMENT)
        )


class LoadedSweep:
    """A sweep as MLflow holds it; each part is read when it is first asked for.

    `id` is the id of the sweep's run in MLflow, `record` all that is known of it as plain data.
    """

    def __init__(self, run_id: str, store: "Store", project: Path) -> None:
        self.id = run_id
        self._store = store
        self._project = project

    def _called(self) -> AbstractContextManager[None]:
        return project_folder.called_in(self._project)

    @cached_property
    def record(self) -> "SweepRecord":
        """The sweep as plain data: its overrides, its grid and the record of each run."""
        from optsweep.tracking.reading import read_sweep

        with self._called():
            return read_sweep(self._store, self.id)

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """A row for each run, the best first within its workload, as in `table.csv`.

        The columns are `run` (its name), a column for each swept value, the scores of the epoch
        that counts (`val/accuracy`, `test/loss`, ...; NaN where a run has none), `seconds`,
        `status`, `notes` and `run_id`.
        """
        import pandas as pd

        from optsweep.report.table_csv import table_row
        from optsweep.report.terminal_table import ranked_by_workload

        ranked = ranked_by_workload(self.record)
        return pd.DataFrame([table_row(run) for own in ranked.values() for run in own])

    @cached_property
    def history(self) -> "pd.DataFrame":
        """A row for each run and epoch, in the order of the grid.

        The columns are `run`, `run_id`, a column for each swept value, `epoch`, and a column for
        each metric: `train/loss`, `train/accuracy`, `val/loss`, ... To plot a metric over epochs:
        `history.pivot(index="epoch", columns="run", values="val/accuracy").plot()`.
        """
        import pandas as pd

        rows = []
        for run in self.record.runs:
            points = {name: dict(found) for name, found in run.history.items()}
            for epoch in sorted({epoch for found in points.values() for epoch in found}):
                scores = {name: found.get(epoch) for name, found in points.items()}
                own = {"run": run.name, "run_id": run.run_id, **run.swept}
                rows.append({**own, "epoch": epoch, **scores})
        return pd.DataFrame(rows)

    @cached_property
    def verdict(self) -> "SweepVerdict":
        """Which candidate is best and how sure that is; `print` shows the answer."""
        from optsweep.verdict.judge_sweep import judge
        from optsweep.verdict.sweep_sentences import SweepVerdict

        with self._called():
            return SweepVerdict(judge(self.record))

    def report(self) -> Path:
        """The path of `report.html`, which is made from MLflow where the sweep's folder is gone.

        Raises:
            OSError: it cannot be written.
        """
        from optsweep.report.page import write
        from optsweep.sweep.resume import folder_of

        kept = folder_of(self._run())
        if kept and (kept / "report.html").exists():
            return kept / "report.html"
        folder = kept or self._project / "outputs" / "reports" / self.id
        with self._called():
            return write(self.record, folder)[-1]

    def best_model(self) -> "TrainedModel":
        """The sweep's best model: see `load_model`.

        Raises:
            ModelError: it has none, or one for each of several workloads.
        """
        from optsweep.sweep.best.finding import find_model

        with self._called():
            return find_model(self.id, lambda: self._store)

    def _run(self) -> "Run":
        from optsweep.tracking.errors import explained

        with explained(self._store.uri):
            return self._store.client.get_run(self.id)

    def __repr__(self) -> str:
        return f"sweep {self.id}: {len(self.record.runs)} runs\n{self.verdict}"


def _folder(project: str | Path | None) -> Path:
    folder = Path(project or ".").expanduser().absolute()
    if not folder.is_dir():
        raise SettingsError(f"project={folder}: there is no such folder; make it first")
    return folder


def _attached(answer: Mapping[str, str], project: Path) -> LoadedSweep:
    store = _store_class().attach(answer["uri"], answer["experiment_id"])
    return LoadedSweep(answer["sweep"], store, project)


def _store_class() -> "type[Store]":
    with warnings.catch_warnings():  # tqdm's, of a notebook without ipywidgets
        warnings.filterwarnings("ignore", "IProgress not found")
        from optsweep.tracking.store import Store
    return Store


def _existing(project: Path, uri: str | None, experiment: str) -> "Store":
    """The store that is named, or else the project's, with its experiment."""
    usual = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project}/mlflow.db"
    store = _store_class().existing(uri or usual, experiment)
    if store is None:
        raise SettingsError(
            f"{redact(uri or usual)} holds no experiment {experiment}; run a sweep first, or give "
            "tracking_uri=, experiment= or project="
        )
    return store


def _id_of(sweep: str, project: Path, store: "Store") -> str:
    """The id of a sweep that is named by `latest`, its id or its folder."""
    from optsweep.tracking.reading import latest_sweep

    if sweep == "latest":
        return latest_sweep(store)
    folder = (project / sweep).expanduser()
    if not folder.is_dir():
        return sweep
    found = store.find(kind="sweep", folder=str(folder.resolve()))
    if not found:
        raise SettingsError(f"{folder} is the folder of no sweep in {store.uri}")
    return str(found[0].info.run_id)
