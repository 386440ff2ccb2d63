"""What the server that workers are forked from imports, once: a worker starts in milliseconds."""

import importlib

from optsweep import imports

imports.begin()
# torch._dynamo is what torch's optimizers import when the first of them is made.
for name in ("torch", "torch._dynamo", "hydra", "hydra_plugins.optsweep._door", "optsweep.worker"):
    importlib.import_module(name)
