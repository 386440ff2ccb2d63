"""Which test samples runs had right: kept as packed bits, with the number of classes.

A file in the folder of a run holds the run's, a file of a sweep those of its runs that judge.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from optsweep.records.run import RunRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CORRECT = "correct.safetensors"  # the file's name, in a folder and among a sweep's artifacts


_OWN = "correct"  # what a run's own file calls it


def packed(correct: "NDArray[np.bool_]", classes: int) -> bytes:
    """The content of a run's file, which `read_correct` reads; `correct` is bool `[N]`."""
    return _packed({_OWN: (correct, classes)})


def packed_of(runs: Mapping[str, RunRecord]) -> bytes:
    """The content of a sweep's file, which `read_all_correct` reads: of runs by fingerprint."""
    import numpy as np

    nothing = np.zeros(0, bool)
    known = {key: (run.correct, run.classes) for key, run in runs.items()}
    return _packed(
        {
            key: (nothing if correct is None else correct, classes)
            for key, (correct, classes) in known.items()
            if classes is not None
        }
    )


def _packed(known: "Mapping[str, tuple[NDArray[np.bool_], int]]") -> bytes:
    import numpy as np
    from safetensors.numpy import save

    texts = {
        key: json.dumps({"samples": len(bits), "right": int(bits.sum()), "classes": classes})
        for key, (bits, classes) in known.items()
    }
    return save({key: np.packbits(bits) for key, (bits, _) in known.items()}, texts)


def read_correct(record: RunRecord, path: Path) -> None:
    """Puts into a record what a run's file says; a missing, torn or foreign one says nothing."""
    read_all_correct([(_OWN, record)], path)


def read_all_correct(records: Iterable[tuple[str, RunRecord]], path: Path) -> None:
    """Puts into records, each with its fingerprint, what a sweep's file says of them."""
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            texts = file.metadata() or {}
            for key, record in records:
                if key not in texts:
                    continue
                about, bits = json.loads(texts[key]), file.get_tensor(key)
                correct = np.unpackbits(bits, count=int(about["samples"])).astype(bool)
                if correct.sum() == int(about["right"]):
                    # Of a dataset without test data it says how many classes there are.
                    record.correct = correct if len(correct) else None
                    record.classes = int(about["classes"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return
