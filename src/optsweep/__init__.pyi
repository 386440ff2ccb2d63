"""What type checkers know of the package: the functions that `__init__.py` gives late."""

from optsweep.api import load_model as load_model
from optsweep.api import load_sweep as load_sweep
from optsweep.api import sweep as sweep

__version__: str
