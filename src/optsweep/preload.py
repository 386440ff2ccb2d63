"""What the server that workers are forked from imports, once: a worker starts in milliseconds."""

import importlib

from optsweep import imports

imports.begin()
for name in ("torch", "hydra", "hydra_plugins.optsweep._door", "optsweep.worker"):
    importlib.import_module(name)
