"""How one call reaches MLflow: what `tracking.py` tells a store, as MLflow's client takes it.

A call is plain data (see `outbox.py`): its kind, its run and its content. `send` gives it to the
client in time that is bounded, and may be given the same call again.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import OperationalError

from optsweep.outbox import Call

log = logging.getLogger(__name__)

_WAIT = 4  # seconds that training waits for a server's answer, twice at most


@dataclass(frozen=True)
class DatasetNote:
    """What MLflow shows of a run's dataset."""

    name: str
    digest: str
    source: str
    shape: Sequence[int]
    samples: Mapping[str, int]


def send(client: MlflowClient, experiment_id: str, call: Call) -> str:
    """Gives the client a call; returns the id of its run, which `create` has from the store."""
    if call["call"] == "create":
        run = client.create_run(experiment_id, call["time"], call["tags"], run_name=call["name"])
        return str(run.info.run_id)
    _SENDERS[call["call"]](client, call)
    return str(call["run_id"])


def is_away(error: Exception) -> bool:
    """Whether a store did not answer, or said that it cannot for now."""
    if isinstance(error, MlflowException):
        status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    elif isinstance(error, RequestException):
        status = 503 if error.response is None else error.response.status_code
    else:
        return isinstance(error, OperationalError)
    return status >= 500 or status in (408, 429)


@contextmanager
def brief(call: Call) -> Iterator[None]:
    """Bounds the time of one call to a server: `_WAIT` seconds and a file's own, twice at most."""
    size = 0
    if call["call"] == "file" and Path(call["path"]).exists():
        size = Path(call["path"]).stat().st_size
    bounds = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_WAIT + size // 2**20),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    }
    kept = {name: os.environ.get(name) for name in bounds}
    os.environ.update(bounds)  # MLflow looks there at each call
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


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
    note = DatasetNote(**call["note"])
    spec = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *note.shape]}}
    dataset = Dataset(
        name=note.name,
        digest=note.digest,
        source_type="local",
        source=json.dumps({"uri": note.source}),
        schema=json.dumps({"mlflow_tensorspec": {"features": json.dumps([spec])}}),
        profile=json.dumps({"num_rows": sum(note.samples.values()), **note.samples}),
    )
    context = InputTag("mlflow.data.context", ", ".join(note.samples))
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


def _send_text(client: MlflowClient, call: Call) -> None:
    client.log_text(call["run_id"], call["text"], call["name"])


def _end(client: MlflowClient, call: Call) -> None:
    client.set_terminated(call["run_id"], call["status"], call["time"])


_SENDERS: Mapping[str, Callable[[MlflowClient, Call], None]] = {
    "reopen": _reopen,
    "params": _send_params,
    "points": _send_points,
    "tags": _send_tags,
    "dataset": _send_dataset,
    "file": _send_file,
    "text": _send_text,
    "end": _end,
}
