"""What commands under test have in their environment."""

import os
from collections.abc import Mapping

# What they do not inherit: whoever sets it for this process, users most often do not.
NOT_INHERITED = ("MLFLOW_TRACKING_URI", "PYTHONUNBUFFERED")


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for a command under test, with `changes`."""
    return {
        **{name: value for name, value in os.environ.items() if name not in NOT_INHERITED},
        "OMP_NUM_THREADS": "1",
        **(changes or {}),
    }
