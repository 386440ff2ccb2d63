"""Which test samples a run had right: kept as packed bits, with the number of classes."""

from pathlib import Path
from typing import TYPE_CHECKING

from optsweep.records.run import RunRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CORRECT = "correct.safetensors"  # the file's name, in a run's folder and among its artifacts


def packed(correct: "NDArray[np.bool_]", classes: int) -> bytes:
    """The content of a file that `read_correct` reads; `correct` is bool `[N]`."""
    import numpy as np
    from safetensors.numpy import save

    about = {"samples": len(correct), "right": int(correct.sum()), "classes": classes}
    texts = {key: str(value) for key, value in about.items()}
    return save({"correct": np.packbits(correct)}, texts)


def read_correct(record: RunRecord, path: Path) -> None:
    """Puts into a record what such a file says; a missing, torn or foreign one says nothing."""
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about, bits = file.metadata() or {}, file.get_tensor("correct")
        correct = np.unpackbits(bits, count=int(about["samples"])).astype(bool)
        if correct.sum() == int(about["right"]):
            # Of a dataset without test data it says how many classes there are.
            record.correct = correct if len(correct) else None
            record.classes = int(about["classes"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return
