"""Sends one call to MLflow.

A call is plain data (see `outbox.py`): its kind, its run and its content. `send` passes it to
MLflow's client, whose calls are bounded in time (`timeouts.py`). The same call may be sent twice.
"""

import json
import logging
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from optsweep.tracking import timeouts
from optsweep.tracking.sending.outbox import Call

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetInfo:
    """What MLflow shows of a run's dataset."""

    name: str
    digest: str
    source: str
    shape: Sequence[int]
    samples: Mapping[str, int]


_READING = ("get_", "search_", "list_", "download_")  # how methods begin that change nothing


class _Client(MlflowClient):
    """MLflow's client, each of whose calls keeps to its limit.

    It remembers where the artifacts of a run lie that it created: MLflow's own reads the whole run
    to learn it.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._artifacts: dict[str, Any] = {}  # by run

    def create_run(self, *args: Any, **kwargs: Any) -> Run:
        """As MLflow's."""
        run: Run = super().create_run(*args, **kwargs)
        place = get_artifact_repository(str(run.info.artifact_uri), self.tracking_uri)
        self._artifacts[run.info.run_id] = place
        return run

    def log_artifact(self, run_id: str, local_path: str, artifact_path: str | None = None) -> None:
        """As MLflow's, of a file."""
        if place := self._artifacts.get(run_id):
            place.log_artifact(local_path, artifact_path)
        else:
            super().log_artifact(run_id, local_path, artifact_path)

    def log_artifacts(self, run_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        """As MLflow's."""
        if place := self._artifacts.get(run_id):
            place.log_artifacts(local_dir, artifact_path)
        else:
            super().log_artifacts(run_id, local_dir, artifact_path)

    def set_terminated(self, run_id: str, *args: Any, **kwargs: Any) -> None:
        """As MLflow's."""
        super().set_terminated(run_id, *args, **kwargs)
        self._artifacts.pop(run_id, None)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            file = Path(args[1]) if name == "log_artifact" else None
            size = file.stat().st_size if file and file.exists() else 0
            longest = timeouts.seconds(name, size, self.tracking_uri)
            if not name.startswith(_READING):
                return timeouts.bounded(longest, timeouts.writing()(found), *args, **kwargs)
            return timeouts.bounded(longest, found, *args, **kwargs)

        return call


def connected(uri: str) -> MlflowClient:
    """MLflow's client for a store, all of whose calls are bounded in time."""
    return timeouts.bounded(timeouts.seconds("open"), _Client, uri)


def send(client: MlflowClient, experiment_id: str, call: Call) -> str:
    """Gives the client a call; returns the id of its run, which `create` has from the store."""
    if call["call"] == "create":
        run = client.create_run(experiment_id, call["time"], call["tags"], run_name=call["name"])
        return str(run.info.run_id)
    _SENDERS[call["call"]](client, call)
    return str(call["run_id"])


def _reopen(client: MlflowClient, call: Call) -> None:
    run_id = call["run_id"]
    client.update_run(run_id, status="RUNNING")
    if "optsweep.error" in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, "optsweep.error")
    _send_tags(client, call)


def _send_params(client: MlflowClient, call: Call) -> None:
    entries = [Param(key, value) for key, value in call["params"].items()]
    for first in range(0, len(entries), 100):
        client.log_batch(call["run_id"], params=entries[first : first + 100])


def _send_points(client: MlflowClient, call: Call) -> None:
    client.log_batch(call["run_id"], metrics=[Metric(*point) for point in call["points"]])


def _send_tags(client: MlflowClient, call: Call) -> None:
    client.log_batch(call["run_id"], tags=[RunTag(*item) for item in call["tags"].items()])


def _send_dataset(client: MlflowClient, call: Call) -> None:
    info = DatasetInfo(**call["dataset"])
    spec = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *info.shape]}}
    dataset = Dataset(
        name=info.name,
        digest=info.digest,
        source_type="local",
        source=json.dumps({"uri": info.source}),
        schema=json.dumps({"mlflow_tensorspec": {"features": json.dumps([spec])}}),
        profile=json.dumps({"num_rows": sum(info.samples.values()), **info.samples}),
    )
    context = InputTag("mlflow.data.context", ", ".join(info.samples))
    given = [DatasetInput(dataset, [context])]
    try:
        client.log_inputs(call["run_id"], datasets=given)
    except MlflowException as error:
        # Runs that start together all find the dataset missing; one of them creates it.
        if not re.search(r"unique constraint|duplicate key", str(error), re.IGNORECASE):
            raise
        client.log_inputs(call["run_id"], datasets=given)


def _send_file(client: MlflowClient, call: Call) -> None:
    if not Path(call["path"]).exists() and call["again"]:
        log.warning("%s is gone and cannot be sent", call["path"])
        return
    client.log_artifact(call["run_id"], call["path"], call["folder"])


def _send_texts(client: MlflowClient, call: Call) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in call["texts"].items():
            Path(folder, Path(name).name).write_text(text, encoding="utf-8")
        client.log_artifacts(call["run_id"], folder, call["folder"])


def _end(client: MlflowClient, call: Call) -> None:
    client.set_terminated(call["run_id"], call["status"], call["time"])


_SENDERS: Mapping[str, Callable[[MlflowClient, Call], None]] = {
    "reopen": _reopen,
    "params": _send_params,
    "points": _send_points,
    "tags": _send_tags,
    "dataset": _send_dataset,
    "file": _send_file,
    "texts": _send_texts,
    "end": _end,
}
