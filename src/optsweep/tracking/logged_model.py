"""A trained model as a model of MLflow: with a signature and an example, to be served.

It is of MLflow's flavour pyfunc with a loader module: the file of weights and the name of
`models/serving.py`, and no pickle. So nothing runs that a file brings along.
"""

import importlib.metadata
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mlflow import pyfunc
from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array
from numpy.typing import NDArray

from optsweep.models import serving
from optsweep.tracking.errors import explained
from optsweep.tracking.store import Store, quiet

_OUTPUTS = Schema(
    [
        ColSpec(DataType.string, "class"),
        ColSpec(DataType.double, "probability"),
        ColSpec(Array(DataType.double), "logits"),
    ]
)


def log_model(
    store: Store,
    run_id: str,
    name: str,
    weights: Path,
    example: NDArray[np.uint8],
    tags: Mapping[str, str],
    classes: Sequence[str],
) -> str:
    """Logs a model as that of a run; returns its address, as `mlflow models serve` takes it.

    One that the run has already, with these tags, is not logged again.

    Args:
        store: where the run is.
        run_id: the run's id.
        name: what MLflow shows the model as.
        weights: the file that holds it.
        example: images as it takes them, uint8 `[N, C, H, W]`.
        tags: what identifies it.
        classes: their names, which MLflow keeps beside it.

    Raises:
        TrackingError: the store does not answer, or refuses.
    """
    images = Schema([TensorSpec(np.dtype(np.uint8), (-1, *example.shape[1:]))])
    with explained(store.uri), tempfile.TemporaryDirectory() as folder, quiet(logging.ERROR):
        if found := _logged(store, run_id, name, tags):
            return found
        made = store.client.create_logged_model(
            store.experiment_id, name, run_id, dict(tags), model_type="classifier"
        )
        path = Path(folder) / "model"
        pyfunc.save_model(
            str(path),
            loader_module=serving.__name__,
            data_path=str(weights),
            mlflow_model=Model(model_id=made.model_id, run_id=run_id),
            signature=ModelSignature(images, _OUTPUTS),
            input_example=example,
            pip_requirements=_requirements(),
            metadata={"classes": list(classes)},
        )
        store.client.log_model_artifacts(made.model_id, str(path))
        store.client.finalize_logged_model(made.model_id, "READY")
        store.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
    return f"models:/{made.model_id}"


def _logged(store: Store, run_id: str, name: str, tags: Mapping[str, str]) -> str | None:
    """The address of the model with that name and these tags that a run has whole."""
    wanted = f"source_run_id = '{run_id}' AND name = '{name}'"
    for model in store.client.search_logged_models([store.experiment_id], wanted):
        if model.status == LoggedModelStatus.READY and tags.items() <= model.tags.items():
            return f"models:/{model.model_id}"
    return None


def _requirements() -> list[str]:
    """What a server installs that is given an environment of its own."""
    names = ("optsweep", "torch", "torchvision", "mlflow")
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]
