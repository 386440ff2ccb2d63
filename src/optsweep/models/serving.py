"""What MLflow serves a trained model with: it names this module in the model that it keeps.

Nothing is unpickled: MLflow calls `_load_pyfunc` with the path of the file of weights.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from optsweep.models.trained_model import TrainedModel, load


class ServedModel:
    """A trained model that takes arrays and gives plain data, which becomes JSON."""

    def __init__(self, model: TrainedModel) -> None:
        self._model = model

    @torch.inference_mode()
    def predict(self, images: NDArray[Any], params: Any = None) -> list[dict[str, Any]]:
        """For each image its class, the probability of that, and the logits of all classes.

        Args:
            images: uint8 `[N, C, H, W]`, as the dataset had them.
            params: what MLflow passes; there are none.
        """
        logits = self._model(torch.from_numpy(np.ascontiguousarray(images)))
        best = logits.softmax(dim=-1).max(dim=-1)
        return [
            {"class": self._model.classes[number], "probability": probability, "logits": own}
            for number, probability, own in zip(
                best.indices.tolist(), best.values.tolist(), logits.tolist(), strict=True
            )
        ]


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(load(Path(path)))
