"""optsweep: which optimizer and which learning rate to use, and how sure that is."""

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from optsweep.system.lazy import public_names

__version__ = "0.1.0"

# MLflow looks at these when it is imported, by whichever module comes first.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no calls home, least of all offline
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a line for each run

_public = public_names(__name__, {"load_model": "api", "load_sweep": "api", "sweep": "api"})
__getattr__ = _public


class _Package(ModuleType):
    """This module, in which `sweep` is the function, and not the package of that name.

    Python sets a package in the module that holds it; this one is reached by its full name.
    """

    @property
    def sweep(self) -> Callable[..., Any]:
        """Runs a sweep: see `optsweep.api.sweep`."""
        found: Callable[..., Any] = _public("sweep")
        return found

    @sweep.setter
    def sweep(self, package: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
